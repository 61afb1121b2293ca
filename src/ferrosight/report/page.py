"""One self-contained page per scan: pictures first, then plots, then tables, then how it was done."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from markupsafe import Markup

from ferrosight.report import charts, methods, numbers, overview, summary
from ferrosight.report.gallery import PatchPictures, draw_patch, legend_ramps
from ferrosight.report.limit_chart import draw_limit_share
from ferrosight.report.orientation import direction_letters
from ferrosight.report.template import RESEARCH_ONLY, Cell, load_template, write_whole
from ferrosight.types import FLAG_INFO, Catalogue, Config, EvidenceMap, FieldMap, LimitMap, Progress, Scan

#: Longer tables of rejected candidates are cut; the TSV beside the page holds all of them.
MAX_REJECTED_ROWS = 400
#: Rejected candidates shown one by one where the gallery has room for them.
MAX_REJECTED_PICTURES = 6


@dataclass(frozen=True)
class ClusterRow:
    """One candidate as the page shows it; all numbers already in words."""

    rank: int
    anchor: str
    cluster_id: str
    position: str
    moment: str
    iron: str
    iron_range: str
    n_cells: str
    n_cells_range: str
    score: str
    p_value: str
    q_value: str
    expected_false: str
    chi2_dof: str
    estimator: str
    cells: tuple[Cell, ...]
    reasons: list[tuple[str, str]]
    remarks: list[tuple[str, str]]


@dataclass(frozen=True)
class GalleryRow:
    """A cluster with its pictures; None where no picture was kept."""

    row: ClusterRow
    pictures: PatchPictures | None


def write_visit_report(
    path: Path | str,
    scan: Scan,
    field_map: FieldMap,
    evidence: EvidenceMap,
    catalogue: Catalogue,
    *,
    limit: LimitMap | None = None,
    config: Config,
    provenance: Mapping[str, object],
    on_progress: Progress | None = None,
) -> None:
    """Write a scan's page to ``path``: whole, or not at all. The folder must exist."""
    page = render_visit_report(
        scan, field_map, evidence, catalogue, limit=limit, config=config, provenance=provenance, on_progress=on_progress
    )
    write_whole(path, page)


def render_visit_report(
    scan: Scan,
    field_map: FieldMap,
    evidence: EvidenceMap,
    catalogue: Catalogue,
    *,
    limit: LimitMap | None = None,
    config: Config,
    provenance: Mapping[str, object],
    on_progress: Progress | None = None,
) -> str:
    """A scan's page as HTML that needs no network and no other file.

    Parameters
    ----------
    scan, field_map, evidence, catalogue
        One visit, all on the same grid.
    limit
        The least iron that could have been found at each place; the page says that it is not known where it is None.
    config : Config
        ``report.gallery_size`` says how many clusters are shown one by one; all settings are listed.
    provenance : mapping
        What made the page (software, versions, input files); shown as it is.
    """
    steps: list[tuple[str, Callable[[], dict[str, Any]]]] = [
        ("overview", lambda: {"magnitude_svg": Markup(overview.draw_magnitude_overview(scan, field_map, catalogue))}),
        ("overview", lambda: {"evidence_svg": Markup(overview.draw_evidence_overview(scan, evidence, catalogue))}),
        ("gallery", lambda: _gallery_context(scan, field_map, catalogue, config)),
        ("plots", lambda: _chart_context(catalogue)),
        ("plots", lambda: _limit_context(limit, scan)),
        ("tables", lambda: _table_context(catalogue)),
        ("text", lambda: _text_context(scan, field_map, catalogue, config, provenance)),
    ]
    context: dict[str, Any] = {}
    for done, (what, draw) in enumerate(steps):
        if on_progress is not None:
            on_progress(f"report: {what}", done, len(steps))
        context |= draw()
    page = load_template("visit.html").render(**context)
    if on_progress is not None:
        on_progress("report", len(steps), len(steps))
    return page


def _text_context(
    scan: Scan, field_map: FieldMap, catalogue: Catalogue, config: Config, provenance: Mapping[str, object]
) -> dict[str, Any]:
    n_accepted = len(catalogue.accepted)
    return {
        "title": visit_title(scan),
        "scan_line": methods.describe_scan(scan),
        "research_only": RESEARCH_ONLY,
        "n_accepted": n_accepted,
        "n_rejected": len(catalogue.clusters) - n_accepted,
        "headline": headline(catalogue),
        "figures": _headline_figures(catalogue),
        "limit": limit_sentence(catalogue, config),
        "warnings": summary.collect_warnings(scan, catalogue),
        "methods": methods.write_methods(scan, field_map, catalogue, config),
        "settings": methods.list_settings(config),
        "provenance": {str(k): str(v) for k, v in provenance.items()},
        "b0_letters": direction_letters(scan.b0_direction),
        "echo_ms": f"{1000 * scan.echo_times_s[overview.display_echo(scan, field_map)]:.4g}",
        "phase_known": catalogue.phase_sign != 0,
        "remarks": [(info.name, info.description) for info in FLAG_INFO.values() if not info.rejects],
        "marks": list(overview.REJECTED_MARKS.values()),
        "notes": [note for note in catalogue.notes if note],
    }


def visit_title(scan: Scan) -> str:
    """``sub-01, ses-d07, run-2``, or "Scan" where a scan has no names."""
    parts = [
        f"{key}-{value}" for key, value in (("sub", scan.subject), ("ses", scan.session), ("run", scan.run)) if value
    ]
    return ", ".join(parts) or "Scan"


def headline(catalogue: Catalogue) -> str:
    """The result in one or two sentences."""
    n_accepted, n_all = len(catalogue.accepted), len(catalogue.clusters)
    looked = f"{numbers.plural(n_all, 'candidate')} {'was' if n_all == 1 else 'were'} examined"
    if not n_all:
        return "No labelled cluster was found: nothing in this scan looked like one, even at first sight."
    if not n_accepted:
        return f"No labelled cluster was found: {looked}, and none was accepted."
    false = summary.expected_false_accepted(catalogue)
    verb = "was" if n_accepted == 1 else "were"
    sentence = f"{numbers.plural(n_accepted, 'cluster')} {verb} accepted out of {numbers.plural(n_all, 'candidate')}."
    if not math.isfinite(false):
        return f"{sentence} How many of them are false could not be told."
    about = "fewer than 0.01" if false < 0.01 else f"about {numbers.format_number(false, 2)}"
    judge = (
        "This scan has too few decoys to tell; by a cautious assumption,"
        if summary.few_decoys(catalogue)
        else "By this scan’s own decoys,"
    )
    return f"{sentence} {judge} {about} false ones are expected among them."


def limit_sentence(catalogue: Catalogue, config: Config) -> str:
    """The smallest cluster that would have been accepted besides those that were, or that the scan cannot tell."""
    n_accepted = len(catalogue.accepted)
    # One more: its q-value is the expected number of false ones over its rank.
    allowed = min(catalogue.q_threshold * (n_accepted + 1), config.clusters.max_expected_false)
    score = summary.score_for_expected(catalogue.null, allowed)
    moment = summary.typical_moment(catalogue, score)
    if len(catalogue.null.curve_scores) and not math.isfinite(score):
        return (
            f"In this scan not even a score of {catalogue.null.curve_scores[-1]:.0f} would have been enough for a lone "
            "cluster: too many of its decoys score high."
        )
    if not math.isfinite(moment):
        return "This scan holds too few candidates to say how small a cluster would have been accepted."
    iron = ""
    if catalogue.ms_am2_per_kg_fe:
        iron = f", {numbers.format_iron(moment / catalogue.ms_am2_per_kg_fe * 1e15)} of iron,"
    which = "one more" if n_accepted else "a lone"
    return (
        f"At a typical place in this scan, {which} cluster of about {numbers.format_moment(moment)}{iron} would just "
        f"have been accepted (score {score:.1f}). Smaller ones, and those in noisier places, may be there unseen."
    )


def _headline_figures(catalogue: Catalogue) -> list[dict[str, str]]:
    accepted = catalogue.accepted
    moment = summary.total_moment(accepted)
    iron, n_cells = (summary.total_quantity(accepted, name) for name in ("iron_pg", "n_cells"))
    false = summary.expected_false_accepted(catalogue)
    opposite = summary.opposite_count(catalogue)
    against = "" if opposite is None else f"{opposite} of opposite polarity at the same score"

    def note(total: summary.Total, interval: str) -> str:
        missing = f" · without {numbers.plural(total.n_missing, 'cluster')}" if total.n_missing else ""
        return "" if interval == numbers.NA else f"95 %: {interval}{missing}"

    return [
        {"name": "Accepted clusters", "value": f"{len(accepted):,}", "note": against},
        {
            "name": "Expected false among them",
            "value": numbers.format_probability(false),
            "note": f"false discovery rate {catalogue.q_threshold:g}",
        },
        {
            "name": "Total iron",
            "value": numbers.format_iron(iron.value),
            "note": note(iron, numbers.format_iron_range(iron.low, iron.high)),
        },
        {
            "name": "Total cells",
            "value": numbers.format_number(n_cells.value),
            "note": note(n_cells, numbers.format_range(n_cells.low, n_cells.high)),
        },
        {
            "name": "Total moment",
            "value": numbers.format_moment(moment.value),
            "note": note(moment, numbers.format_moment_range(moment.low, moment.high)),
        },
    ]


def _chart_context(catalogue: Catalogue) -> dict[str, Any]:
    return {
        "scores_svg": Markup(charts.draw_scores(catalogue)),
        "counts": [
            (charts.class_words(str(name), counted=True), f"{count:,}")
            for name, count in catalogue.null.counts_at_threshold.items()
        ],
        "threshold": numbers.format_number(catalogue.null.score_threshold),
        "n_null": len(catalogue.null.candidates),
        "fit_facts": summary.fit_facts(catalogue),
        "mass_svg": Markup(charts.draw_mass_histogram(catalogue)),
        "chi2_svg": Markup(charts.draw_chi2_histogram(catalogue)),
        "windows_svg": Markup(charts.draw_windows(catalogue)),
        "windows": summary.compare_windows(catalogue),
        "agree_within": f"{summary.AGREE_WITHIN:g}",
    }


def _limit_context(limit: LimitMap | None, scan: Scan) -> dict[str, Any]:
    if limit is None or not np.isfinite(limit.iron_pg).any():
        return {"limit_svg": None}
    return {
        "limit_svg": Markup(overview.draw_limit_overview(limit, scan)),
        "limit_share_svg": Markup(draw_limit_share(limit)),
        "limit_rows": summary.list_limits(limit),
        "limit_cell": numbers.format_iron(limit.iron_per_cell_pg),
        "limit_power": f"{100 * limit.search.power:g}",
        "limit_false": f"{limit.search.false_per_scan:g}",
    }


def _gallery_context(scan: Scan, field_map: FieldMap, catalogue: Catalogue, config: Config) -> dict[str, Any]:
    accepted = np.flatnonzero(catalogue.clusters["status"] == "accepted")
    rejected = np.flatnonzero(catalogue.clusters["status"] != "accepted")
    size = config.report.gallery_size
    patches = {patch.cluster_id: patch for patch in catalogue.patches}
    echo = overview.display_echo(scan, field_map)

    of_all = summary.remarks_of_all(catalogue)

    def show(index: int, rank: int) -> GalleryRow:
        row = cluster_row(catalogue, index, rank, of_all)
        patch = patches.get(row.cluster_id)
        if patch is None:
            return GalleryRow(row, None)
        centre = np.array([catalogue.fits[f"{axis}_voxel"][index] for axis in "ijk"])
        return GalleryRow(row, draw_patch(patch, centre, scan, field_map, catalogue, echo))

    room = min(max(size - len(accepted), 0), MAX_REJECTED_PICTURES)
    pictured = [i for i in rejected if str(catalogue.clusters["cluster_id"][i]) in patches][:room]
    return {
        "gallery": [show(int(index), rank) for rank, index in enumerate(accepted[:size], start=1)],
        "gallery_rejected": [show(int(index), rank) for rank, index in enumerate(pictured, start=1)],
        "ramps": legend_ramps(),
    }


COLUMNS = (
    ("rank", ""),
    ("position", "x, y, z · mm"),
    ("moment", numbers.TABLE_MOMENT_UNIT),
    ("iron", "pg"),
    ("cells", ""),
    ("score", "σ"),
    ("q", ""),
    ("expected false", "per scan"),
    ("χ²/dof", ""),
    ("cluster", ""),
)


def _table_context(catalogue: Catalogue) -> dict[str, Any]:
    accepted = np.flatnonzero(catalogue.clusters["status"] == "accepted")
    rejected = np.flatnonzero(catalogue.clusters["status"] != "accepted")
    shown = rejected[:MAX_REJECTED_ROWS]
    return {
        "columns": COLUMNS,
        "accepted": [cluster_row(catalogue, int(i), rank) for rank, i in enumerate(accepted, start=1)],
        "rejected": [cluster_row(catalogue, int(i), rank) for rank, i in enumerate(shown, start=1)],
        "n_rejected_hidden": len(rejected) - len(shown),
        "reason_counts": _reason_counts(catalogue),
    }


def _reason_counts(catalogue: Catalogue) -> list[tuple[str, str, int]]:
    """Each reason for rejection with its sentence and how many candidates carry it, most frequent first."""
    counts: dict[str, int] = {}
    sentences: dict[str, str] = {}
    for cell in catalogue.clusters["reasons"]:
        for name, sentence in summary.reason_words(str(cell)):
            counts[name] = counts.get(name, 0) + 1
            sentences[name] = sentence
    return [(name, sentences[name], n) for name, n in sorted(counts.items(), key=lambda item: -item[1])]


def cluster_row(catalogue: Catalogue, index: int, rank: int, of_all: frozenset[str] = frozenset()) -> ClusterRow:
    """Row ``index`` of the catalogue in words; ``rank`` counts from 1 among the accepted or the rejected.

    Remarks ``of_all`` are left out, because the page says them once.
    """
    c = {name: values[index] for name, values in catalogue.clusters.columns.items()}
    f = {name: values[index] for name, values in catalogue.fits.columns.items()}
    status = "accepted" if c["status"] == "accepted" else "rejected"
    unit = numbers.TABLE_MOMENT_AM2
    position = ", ".join(
        f"{c[f'{a}_mm']:.2f}".replace("-", "−") if np.isfinite(c[f"{a}_mm"]) else numbers.NA for a in "xyz"
    )
    iron_range = numbers.format_range(c["iron_pg_low"], c["iron_pg_high"])
    cells_range = numbers.format_range(c["n_cells_low"], c["n_cells_high"])
    q_value, false = numbers.format_probability(c["q_value"]), numbers.format_probability(c["expected_false"])
    score = f"{c['score']:.1f}".replace("-", "−") if np.isfinite(c["score"]) else numbers.NA
    chi2 = f"{f['chi2_dof']:.2f}" if np.isfinite(f["chi2_dof"]) else numbers.NA
    moment = numbers.format_pm(c["moment_am2"] / unit, c["moment_am2_err"] / unit)
    table_cells = (
        Cell(str(rank), float(rank)),
        Cell(position, float(c["x_mm"])),
        Cell(moment, float(c["moment_am2"])),
        Cell(_with_range(numbers.format_number(c["iron_pg"]), iron_range), float(c["iron_pg"])),
        Cell(_with_range(numbers.format_number(c["n_cells"]), cells_range), float(c["n_cells"])),
        Cell(score, float(c["score"])),
        Cell(q_value, float(c["q_value"])),
        Cell(false, float(c["expected_false"])),
        Cell(chi2, float(f["chi2_dof"])),
        Cell(str(c["cluster_id"])),
    )
    return ClusterRow(
        rank=rank,
        anchor=f"{status}-{rank}",
        cluster_id=str(c["cluster_id"]),
        position=position,
        moment=numbers.format_moment(c["moment_am2"], c["moment_am2_err"]),
        iron=numbers.format_iron(c["iron_pg"]),
        iron_range=numbers.format_iron_range(c["iron_pg_low"], c["iron_pg_high"]),
        n_cells=numbers.format_number(c["n_cells"]),
        n_cells_range=cells_range,
        score=score,
        p_value=numbers.format_probability(c["p_value"]),
        q_value=q_value,
        expected_false=false,
        chi2_dof=chi2,
        estimator=str(c["estimator"]),
        cells=table_cells,
        reasons=summary.reason_words(str(c["reasons"])),
        remarks=[(name, words) for name, words in summary.reason_words(str(f["remarks"])) if name not in of_all],
    )


def _with_range(value: str, interval: str) -> str:
    return value if interval == numbers.NA else f"{value} ({interval})"
