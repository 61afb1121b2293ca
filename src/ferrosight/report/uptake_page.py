"""One self-contained page per uptake experiment, and one per predicted course."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from markupsafe import Markup
from matplotlib.figure import Figure

from ferrosight.report import numbers
from ferrosight.report.svg import to_svg
from ferrosight.report.template import RESEARCH_ONLY, Cell, load_template, write_whole
from ferrosight.report.uptake_chart import draw_course_chart, draw_fit_chart
from ferrosight.report.uptake_panels import draw_cells, draw_comparisons, draw_single_cells, name_quantity
from ferrosight.types.uptake import Comparison, FittedCurve, Quantity, UptakeCourse, UptakeFit

_MODEL = (
    "The mean iron per living cell M follows dM/dt = uptake · dose / (half dose + dose) − (ln 2 / doubling time + "
    "exocytosis) · M. Uptake lasts for the exposure and saturates with the dose; a division halves what a cell holds "
    "and conserves the total; exocytosis begins some time after label was given."
)
_FIT_METHODS = (
    ("Model", _MODEL),
    ("Scatter", "Assays differ from the model by a factor per batch and a factor per measurement, log-normal both; "
     "variances are estimated by restricted maximum likelihood, with the degrees of freedom of each."),
    ("Intervals", "95 %, profile likelihood. An end that the data do not bound is shown as such."),
    ("Effect size", "The ratio of one cell type to another under the same particle, with its 95 % interval: 1 is no "
     "difference. Loads and uptakes are compared at the highest dose that both were given. No correction is made for "
     "how many ratios are looked at."),
    ("Surface", "That of a ball of the cell's diameter; folds of the membrane are not counted."),
)  # fmt: skip
_COURSE_METHODS = (
    ("Model", _MODEL),
    ("Mean of a batch", "The interval holds the spread between batches and what is not known of the kinetics. It is "
     "shared by all cells of a batch and does not average out over them."),
    ("Single cells", "Their spread is that of freshly labelled cells, widened by divisions out of step and by how "
     "vesicles are shared; drawn as log-normal, which is an assumption. It averages out over many cells."),
    ("What iron cannot show", "Growth: division halves the iron per cell and conserves the total. Iron of dead cells, "
     "or in macrophages, looks the same."),
)  # fmt: skip


@dataclass(frozen=True)
class _Section:
    """One part of the page: its heading, sentences, a figure and a table, each of which may be missing."""

    anchor: str
    title: str
    texts: tuple[str, ...] = ()
    svg: str = ""
    caption: str = ""
    columns: tuple[tuple[str, str], ...] = ()
    rows: tuple[tuple[str, tuple[Cell, ...]], ...] = ()


def write_fit_page(
    path: Path | str,
    title: str,
    fits: Sequence[UptakeFit],
    curves: Sequence[FittedCurve],
    comparisons: Sequence[Comparison],
    *,
    provenance: Mapping[str, object],
) -> None:
    """Write an experiment's page to ``path``: whole, or not at all. The folder must exist."""
    write_whole(path, render_fit_page(title, fits, curves, comparisons, provenance=provenance))


def write_course_page(path: Path | str, course: UptakeCourse, *, provenance: Mapping[str, object]) -> None:
    """Write a course's page to ``path``: whole, or not at all. The folder must exist."""
    write_whole(path, render_course_page(course, provenance=provenance))


def render_fit_page(
    title: str,
    fits: Sequence[UptakeFit],
    curves: Sequence[FittedCurve],
    comparisons: Sequence[Comparison],
    *,
    provenance: Mapping[str, object],
) -> str:
    """Dose and time curves with the assays, what the cells are like, how they compare, and every quantity, as HTML."""
    cells = list(dict.fromkeys(fit.cell_type for fit in fits))
    comparisons = _list_once(comparisons)
    particles = list(dict.fromkeys(fit.particle for fit in fits))
    sections = [
        _Section(
            "curves",
            "Dose and time",
            svg=_inline(draw_fit_chart(curves), "Iron per cell against dose and against time", "curves"),
            caption="Marks: assays. Lines: the fit. Bands: 95 % interval of the mean over batches; single batches "
            "scatter more.",
        ),
        _Section(
            "cells",
            "The cells",
            svg=_inline(draw_cells(fits), "Diameter, surface and doubling time of each cell type", "cells"),
            caption="What uptake and dilution rest on, with 95 % intervals. Surface is that of a ball.",
        ),
        _compare_section(cells, comparisons),
        *(_fit_section(number, fit) for number, fit in enumerate(fits, start=1)),
    ]
    n_assays = sum(fit.n_iron for fit in fits)
    return _render(
        "how cells take up and lose a label",
        title,
        f"{numbers.plural(n_assays, 'assay')} of iron; {' and '.join(cells)}; {', '.join(particles)}.",
        [_load_figure(fit) for fit in fits],
        sections,
        _FIT_METHODS,
        tuple(dict.fromkeys(f"{fit.title}: {note}" for fit in fits for note in fit.notes)),
        provenance,
    )


def render_course_page(course: UptakeCourse, *, provenance: Mapping[str, object]) -> str:
    """Iron per cell on each imaging day: the batch's mean with its interval, single cells, and the table, as HTML."""
    table = course.table
    columns = (
        ("day", ""), ("iron per cell", "pg"), ("95 % interval", "pg"), ("between batches", ""), ("between cells", ""),
        ("iron left", ""),
    )  # fmt: skip
    rows = []
    for i in range(len(table)):
        row = {name: float(table[name][i]) for name in table.schema.names}
        cells = (
            Cell(f"{row['day']:g}", row["day"]),
            _number_cell(row["iron_per_cell_pg"]),
            Cell(_range(row["iron_per_cell_pg_low"], row["iron_per_cell_pg_high"]), row["iron_per_cell_pg_low"]),
            *(Cell(_percent(row[name]), row[name]) for name in ("batch_rel_sd", "cell_cv", "iron_left")),
        )
        rows.append(("", cells))
    sections = [
        _Section(
            "course",
            "Iron per cell",
            svg=_inline(draw_course_chart(course), "Iron per cell against days since labelling", "course"),
            caption="The mean over cells, with the interval in which another batch's mean lies, and single cells.",
        ),
        _Section(
            "cells",
            "Cell by cell, on each imaging day",
            svg=_inline(draw_single_cells(course), "Distribution of iron over single cells on each day", "single"),
            caption="Each shape: how iron is distributed over the living cells of an average batch. Thick: the middle "
            "half; thin: 95 %; dot: the mean.",
        ),
        _Section("days", "Day by day", columns=columns, rows=tuple(rows)),
    ]
    picked = sorted({0, len(table) - 1})
    figures = [
        {
            "name": f"iron per cell, day {table['day'][i]:g}",
            "value": f"{numbers.format_number(float(table['iron_per_cell_pg'][i]))} pg",
            "note": _range(float(table["iron_per_cell_pg_low"][i]), float(table["iron_per_cell_pg_high"][i])),
        }
        for i in picked
    ]
    headline = f"{course.source}. {numbers.plural(len(table), 'imaging day')}."
    return _render(
        "iron per cell on imaging days", "Predicted load", headline, figures, sections, _COURSE_METHODS,
        course.notes, provenance,
    )  # fmt: skip


def _render(
    kicker: str,
    title: str,
    headline: str,
    figures: Sequence[Mapping[str, str]],
    sections: Sequence[_Section],
    methods: Sequence[tuple[str, str]],
    notes: Sequence[str],
    provenance: Mapping[str, object],
) -> str:
    return load_template("uptake.html").render(
        kicker=kicker,
        title=title,
        headline=headline,
        figures=figures,
        sections=sections,
        methods=methods,
        warnings=(),
        notes=notes,
        research_only=RESEARCH_ONLY,
        provenance={str(key): str(value) for key, value in provenance.items()},
    )


def _list_once(comparisons: Sequence[Comparison]) -> list[Comparison]:
    """What does not depend on the particle comes once, and last."""
    of_particles = [one for one in comparisons if one.name not in ("diameter", "surface")]
    of_cells = {(one.name, one.larger, one.smaller): one for one in comparisons if one not in of_particles}
    return [*of_particles, *(replace(one, particle="any particle") for one in of_cells.values())]


def _compare_section(cells: Sequence[str], comparisons: Sequence[Comparison]) -> _Section:
    if not comparisons:
        text = "One cell type alone: nothing to compare." if len(cells) < 2 else "No particle was given to two of them."
        return _Section("comparison", "Cell types compared", (text,))
    rows = tuple(
        ("", (Cell(one.particle), Cell(name_quantity(one.name)), Cell(f"{one.larger} / {one.smaller}"),
              _number_cell(one.ratio), Cell(_range(one.low, one.high), one.low),
              Cell("yes" if one.low > 1 else "no", None)))
        for one in comparisons
    )  # fmt: skip
    return _Section(
        "comparison",
        "Cell types compared",
        svg=_inline(draw_comparisons(comparisons), "Ratios between cell types", "ratios"),
        caption="Effect size: how many times larger a quantity is in the first cell type than in the second, with its "
        "95 % interval; at 1 there is no difference.",
        columns=(("particle", ""), ("quantity", ""), ("cells", ""), ("ratio", ""), ("95 % interval", ""),
                 ("differs", "")),
        rows=rows,
    )  # fmt: skip


def _fit_section(number: int, fit: UptakeFit) -> _Section:
    batches = f"{fit.n_batches} batch{'es' if fit.n_batches > 1 else ''}" if fit.n_batches else "batches not named"
    spread = _percent(math.sqrt(math.expm1(fit.batch_log_sd**2)))
    about = f"{numbers.plural(fit.n_iron, 'assay')} of iron, {batches}; spread between batches {spread}."
    advice = tuple(f"{one.meaning.rstrip('.')}: {one.advice}" for one in fit.quantities if one.advice)
    rows = tuple(("", _quantity_cells(one)) for one in fit.quantities)
    columns = (("quantity", ""), ("value", ""), ("95 % interval", ""), ("unit", ""))
    return _Section(f"fit-{number}", fit.title, (about, *advice), columns=columns, rows=rows)


def _quantity_cells(one: Quantity) -> tuple[Cell, ...]:
    interval = "not determined" if math.isnan(one.value) else _range(one.low, one.high)
    return Cell(one.meaning.rstrip(".")), _number_cell(one.value), Cell(interval, one.low), Cell(one.unit)


def _load_figure(fit: UptakeFit) -> dict[str, str]:
    load = next(one for one in fit.quantities if one.name == "load")
    at = f"{fit.reference_dose_ug_per_ml:g} µg/mL, {fit.longest_exposure_h:g} h"
    return {
        "name": fit.title,
        "value": f"{numbers.format_number(load.value)} pg",
        "note": f"{_range(load.low, load.high)}; {at}",
    }


def _inline(figure: Figure, alt: str, name: str) -> Markup:
    return Markup(to_svg(figure, alt, name))


def _number_cell(value: float) -> Cell:
    return Cell(numbers.format_number(value), value)


def _range(low: float, high: float) -> str:
    end = "∞" if math.isinf(high) else numbers.format_number(high)
    return f"{numbers.format_number(low)} to {end}"


def _percent(value: float) -> str:
    return numbers.NA if math.isnan(value) else f"{value:.0%}"
