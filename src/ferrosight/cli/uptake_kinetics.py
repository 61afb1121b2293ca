"""``ferrosight uptake fit`` and ``predict``: from assays to the load on each imaging day."""

from __future__ import annotations

import math
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from ferrosight.cli.output import print_json, print_table
from ferrosight.errors import InputError

if TYPE_CHECKING:
    from ferrosight.types.uptake import Comparison, Fate, Quantity, Rate, UptakeCourse, UptakeFit
    from ferrosight.uptake.assays import Experiment
    from ferrosight.uptake.targeted import Spread

_HOURS = 24.0


def fit(
    assays: Annotated[Path, typer.Argument(help="A TSV of assays; its columns are in the documentation.")],
    out: Annotated[Path | None, typer.Option(help="Write the fits, for `uptake predict`.", metavar="FILE.json")] = None,
    plot: Annotated[
        Path | None, typer.Option(help="Draw load against dose and time; .svg, .pdf or .png.", metavar="FILE")
    ] = None,
    page: Annotated[
        Path | None, typer.Option(help="Write the experiment's page, all figures and tables.", metavar="FILE.html")
    ] = None,
    exocytosis_onset_h: Annotated[
        float, typer.Option(help="When exocytosis begins, hours after label was given.", min=0.0)
    ] = 48.0,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
) -> None:
    """Fit how cells take up and lose a label, per cell type and particle.

    Every quantity has its 95 % interval; what the assays do not determine is said to be so, with the experiment
    that would. Cell types with the same particle are compared.
    """
    from ferrosight.io.uptake_file import read_assays, write_fits
    from ferrosight.uptake.assays import sort_experiments
    from ferrosight.uptake.kinetics import fit_kinetics
    from ferrosight.uptake.quantities import compare_cell_types

    _check_paths(out, ".json", plot, page)
    experiments = sort_experiments(read_assays(assays))
    fits = [fit_kinetics(experiment, exocytosis_onset_h=exocytosis_onset_h) for experiment in experiments]
    comparisons = compare_cell_types(fits)
    if out is not None:
        write_fits(fits, out)
    if plot is not None:
        _draw_fits(plot, fits, experiments)
    if page is not None:
        _write_fit_page(page, assays, fits, experiments, comparisons)
    if as_json:
        print_json({"fits": [_fit_as_plain(one) for one in fits], "comparisons": [_plain(one) for one in comparisons]})
    else:
        for one in fits:
            _show_fit(one)
        _show_comparisons(comparisons)
    for path in (out, plot, page):
        if path is not None:
            print(f"written: {path}", file=sys.stderr)


def predict(
    out: Annotated[Path, typer.Argument(help="Where the course is written, a TSV.", metavar="OUT.tsv")],
    fits: Annotated[
        Path | None, typer.Option("--fit", help="What `uptake fit --out` wrote.", metavar="FILE.json")
    ] = None,
    cell_type: Annotated[str | None, typer.Option(help="Which cells of the fit; needed if it has several.")] = None,
    particle: Annotated[str | None, typer.Option(help="Which particle of the fit; needed if it has several.")] = None,
    dose_ug_per_ml: Annotated[float | None, typer.Option(help="Iron in the medium, µg/mL.")] = None,
    exposure_h: Annotated[float | None, typer.Option(help="How long the cells were in it, h.")] = None,
    days: Annotated[
        str, typer.Option(help="Imaging days since labelling.", metavar="D,...")
    ] = "0,1,2,3,5,7,10,14,21,28",
    doubling_time_h: Annotated[
        str | None, typer.Option(help="Where the cells were put, h; that of the fit by default.", metavar="MEAN[,SD]")
    ] = None,
    exocytosis_per_day: Annotated[str | None, typer.Option(help="Instead of the fit's.", metavar="MEAN[,SD]")] = None,
    death_per_day: Annotated[float, typer.Option(help="Rate at which cells die.")] = 0.0,
    cell_cv: Annotated[float, typer.Option(help="Relative spread of iron between freshly labelled cells.")] = 0.5,
    endosomes: Annotated[
        float | None, typer.Option(help="Vesicles of label in a freshly labelled cell; many by default.")
    ] = None,
    division_share: Annotated[
        float, typer.Option(help="Chance of a vesicle to go to the first daughter: 0.5 symmetric, 1 all to one.")
    ] = 0.5,
    receptors_per_cell: Annotated[
        str | None, typer.Option(help="Targeted label instead of a fit: receptors.", metavar="MEAN[,SD]")
    ] = None,
    particles_per_receptor: Annotated[
        str | None, typer.Option(help="Targeted: particles on each receptor.", metavar="MEAN[,SD]")
    ] = None,
    iron_per_particle_pg: Annotated[
        str | None, typer.Option(help="Targeted: iron of a particle, pg.", metavar="MEAN[,SD]")
    ] = None,
    specific_share: Annotated[
        str | None,
        typer.Option(help="Targeted: share of the iron on target cells, not in macrophages.", metavar="MEAN[,SD]"),
    ] = None,
    loss_per_day: Annotated[float, typer.Option(help="Targeted: rate at which label leaves.")] = 0.0,
    plot: Annotated[Path | None, typer.Option(help="Draw the course; .svg, .pdf or .png.", metavar="FILE")] = None,
    page: Annotated[
        Path | None, typer.Option(help="Write the course's page, single cells included.", metavar="FILE.html")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
) -> None:
    """Predict iron per cell on imaging days, for `run --uptake` and `limit --uptake`."""
    _check_paths(out, ".tsv", plot, page)
    wanted = _read_numbers("days", days)
    targeted = {
        "receptors_per_cell": receptors_per_cell,
        "particles_per_receptor": particles_per_receptor,
        "iron_per_particle_pg": iron_per_particle_pg,
    }
    given = [name for name, text in targeted.items() if text is not None]
    if (fits is None) == (not given):
        raise InputError(
            "a course is predicted from --fit or from --receptors-per-cell and its like; give one of both."
        )
    if fits is None:
        course = _predict_targeted(targeted, specific_share, loss_per_day, cell_cv, wanted)
    else:
        from ferrosight.types.uptake import Division, Fate

        fate = Fate(
            _read_doubling(doubling_time_h),
            _read_exocytosis(exocytosis_per_day),
            death_per_day / _HOURS,
            cell_cv,
            Division(math.inf if endosomes is None else endosomes, division_share),
        )
        course = _predict_from_fit(fits, cell_type, particle, dose_ug_per_ml, exposure_h, fate, wanted)
    _write_and_show(course, out, plot, page, as_json=as_json)


def _predict_from_fit(
    path: Path,
    cell_type: str | None,
    particle: str | None,
    dose_ug_per_ml: float | None,
    exposure_h: float | None,
    fate: Fate,
    days: list[float],
) -> UptakeCourse:
    from ferrosight.io.uptake_file import read_fits
    from ferrosight.types.uptake import Labelling
    from ferrosight.uptake.predict import predict_course

    fitted = read_fits(path)
    if dose_ug_per_ml is None or exposure_h is None:
        raise InputError("a prediction from a fit needs --dose-ug-per-ml and --exposure-h; give both.")
    return predict_course(_pick(fitted, cell_type, particle), Labelling(dose_ug_per_ml, exposure_h), fate, days)


def _predict_targeted(
    texts: dict[str, str | None], specific_share: str | None, loss_per_day: float, cell_cv: float, days: list[float]
) -> UptakeCourse:
    from ferrosight.uptake.targeted import TargetedLabel, predict_targeted

    missing = [f"--{name.replace('_', '-')}" for name, text in texts.items() if text is None]
    if missing:
        raise InputError(f"a targeted label needs {', '.join(missing)}, too.")
    factors = {name: _read_spread(name, text or "") for name, text in texts.items()}
    share, share_sd = (1.0, 0.0) if specific_share is None else _read_pair("specific-share", specific_share)
    return predict_targeted(
        TargetedLabel(
            **factors, specific_share=share, specific_share_sd=share_sd, loss_per_day=loss_per_day, cell_cv=cell_cv
        ),
        days,
    )


def _write_and_show(course: UptakeCourse, out: Path, plot: Path | None, page: Path | None, *, as_json: bool) -> None:
    from ferrosight.io.uptake_file import write_course

    table = course.table
    written = [*write_course(course, out)]
    if plot is not None:
        from ferrosight.report.uptake_chart import write_course_chart

        write_course_chart(plot, course)
        written.append(plot)
    if page is not None:
        from ferrosight.report.uptake_page import write_course_page

        write_course_page(page, course, provenance=_provenance("uptake predict", out))
        written.append(page)
    if as_json:
        numbers = [{name: float(table[name][i]) for name in table.schema.names} for i in range(len(table))]
        rows = [{name: number if math.isfinite(number) else None for name, number in row.items()} for row in numbers]
        print_json({"source": course.source, "rows": rows, "notes": list(course.notes)})
    else:
        print(f"{course.source}\n")
        headings = ["day", "iron per cell, pg", "95 % interval", "between cells", "iron left"]
        shown = ("day", "iron_per_cell_pg", "iron_per_cell_pg_low", "iron_per_cell_pg_high", "cell_cv", "iron_left")
        rows_shown = [
            [
                f"{day:g}", f"{mean:.3g}", f"{low:.3g} to {high:.3g}", f"{cv:.0%}", f"{left:.0%}",
            ]
            for day, mean, low, high, cv, left in zip(*(table[name] for name in shown), strict=True)
        ]  # fmt: skip
        print_table(headings, rows_shown)
        for note in course.notes:
            print(f"- {note}")
    for path in written:
        print(f"written: {path}", file=sys.stderr)


def _pick(fits: Sequence[UptakeFit], cell_type: str | None, particle: str | None) -> UptakeFit:
    found = [one for one in fits if cell_type in (None, one.cell_type) and particle in (None, one.particle)]
    if len(found) != 1:
        known = "; ".join(one.title for one in fits)
        raise InputError(
            f"--cell-type and --particle must name one of the fits ({known}), but fit {len(found)} of them; give both."
        )
    return found[0]


def _draw_fits(path: Path, fits: Sequence[UptakeFit], experiments: Sequence[Experiment]) -> None:
    from ferrosight.report.uptake_chart import write_fit_chart
    from ferrosight.uptake.curves import trace_curves

    write_fit_chart(path, [c for one, e in zip(fits, experiments, strict=True) for c in trace_curves(one, e)])


def _write_fit_page(
    path: Path,
    assays: Path,
    fits: Sequence[UptakeFit],
    experiments: Sequence[Experiment],
    comparisons: Sequence[Comparison],
) -> None:
    from ferrosight.report.uptake_page import write_fit_page
    from ferrosight.uptake.curves import trace_curves

    curves = [c for one, e in zip(fits, experiments, strict=True) for c in trace_curves(one, e)]
    title = assays.stem.replace("_", " ")
    write_fit_page(path, title, fits, curves, comparisons, provenance=_provenance("uptake fit", assays))


def _provenance(command: str, file: Path) -> dict[str, str]:
    from ferrosight import __version__

    return {"command": f"ferrosight {command}", "file": file.name, "ferrosight": __version__}


def _show_fit(one: UptakeFit) -> None:
    batches = f"{one.n_batches} batches" if one.n_batches else "batches not named"
    print(f"{one.title}: {one.n_iron} assays of iron, {batches}\n")
    rows = [
        [q.meaning.rstrip("."), _number(q.value), "n/a" if math.isnan(q.value) else _interval(q), q.unit]
        for q in one.quantities
    ]
    print_table(["", "value", "95 % interval", "unit"], rows)
    print(f"\nspread between batches: {math.sqrt(math.expm1(one.batch_log_sd**2)):.0%}")
    for q in one.quantities:
        if q.advice:
            what = "is not determined" if math.isnan(q.value) else "is not bounded on both sides"
            print(f"- {q.meaning.rstrip('.')} {what}. {q.advice}")
    for note in one.notes:
        print(f"- {note}")
    print()


def _show_comparisons(comparisons: Sequence[Comparison]) -> None:
    if not comparisons:
        return
    rows = [
        [one.particle, one.name.replace("_", " "), f"{one.larger} / {one.smaller}", f"{one.ratio:.3g}",
         f"{one.low:.3g} to {one.high:.3g}"]
        for one in comparisons
    ]  # fmt: skip
    print_table(["particle", "quantity", "cells", "ratio", "95 % interval"], rows)


def _fit_as_plain(one: UptakeFit) -> dict[str, Any]:
    return {
        "cell_type": one.cell_type,
        "particle": one.particle,
        "n_iron": one.n_iron,
        "n_batches": one.n_batches,
        "reference_dose_ug_per_ml": one.reference_dose_ug_per_ml,
        "batch_rel_sd": math.sqrt(math.expm1(one.batch_log_sd**2)),
        "quantities": [_plain(quantity) for quantity in one.quantities],
        "not_determined": [q.name for q in one.quantities if q.advice],
        "notes": list(one.notes),
    }


def _plain(one: Quantity | Comparison) -> dict[str, Any]:
    """Fields as JSON has them: what is not finite is null."""
    return {
        name: None if isinstance(value, float) and not math.isfinite(value) else value
        for name, value in vars(one).items()
    }


def _number(value: float) -> str:
    return "n/a" if math.isnan(value) else "∞" if math.isinf(value) else f"{value:.3g}"


def _interval(quantity: Quantity) -> str:
    return f"{_number(quantity.low)} to {_number(quantity.high)}"


def _check_paths(out: Path | None, ending: str, plot: Path | None, page: Path | None) -> None:
    """Before anything is computed, not after."""
    if page is not None and (page.suffix.lower() != ".html" or not page.parent.is_dir()):
        raise InputError(f"a page must be a .html file in a folder that exists, but {page} was asked for.")
    if out is not None and out.suffix.lower() != ending:
        raise InputError(f"the output must be a {ending} file, but {out} was asked for.")
    if plot is not None:
        from ferrosight.report.svg import check_figure_path

        check_figure_path(plot)


def _read_numbers(name: str, text: str) -> list[float]:
    try:
        return [float(part) for part in text.split(",")]
    except ValueError:
        raise InputError(f"--{name} expects numbers between commas, but was given {text!r}.") from None


def _read_pair(name: str, text: str) -> tuple[float, float]:
    """``MEAN[,SD]``."""
    values = _read_numbers(name, text)
    if len(values) > 2 or not all(math.isfinite(value) for value in values) or min(values) < 0:
        raise InputError(f"--{name} expects MEAN or MEAN,SD, neither negative, but was given {text!r}.")
    return values[0], values[1] if len(values) == 2 else 0.0


def _read_spread(name: str, text: str) -> Spread:
    from ferrosight.uptake.targeted import Spread

    mean, sd = _read_pair(name.replace("_", "-"), text)
    if mean == 0:
        raise InputError(f"--{name.replace('_', '-')} must be positive, but is 0.")
    return Spread(mean, sd / mean)


def _read_doubling(text: str | None) -> Rate | None:
    from ferrosight.types.uptake import Rate

    if text is None:
        return None
    mean, sd = _read_pair("doubling-time-h", text)
    if mean == 0:
        raise InputError(
            "--doubling-time-h must be positive, but is 0; for cells that do not divide give a long one, such as 1e9."
        )
    return Rate(math.log(2) / mean, math.log(2) / mean * sd / mean)


def _read_exocytosis(text: str | None) -> Rate | None:
    from ferrosight.types.uptake import Rate

    if text is None:
        return None
    mean, sd = _read_pair("exocytosis-per-day", text)
    return Rate(mean / _HOURS, sd / _HOURS)
