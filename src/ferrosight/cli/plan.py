"""``ferrosight plan``: how early a serial study would call a relapse, before anything is scanned."""

from __future__ import annotations

import dataclasses
import math
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from ferrosight.cli.limit import parse_times, parse_voxel
from ferrosight.cli.output import print_json, print_table
from ferrosight.errors import InputError

if TYPE_CHECKING:
    from ferrosight.types import Protocol
    from ferrosight.types.plan import Comparison, Plan, PlanDesign


def plan(
    b0_t: Annotated[float, typer.Option(help="Field strength, T; along the voxel's third edge.")] = 7.0,
    echo_times_ms: Annotated[str, typer.Option(help="Echo times, ms.", metavar="TE,...")] = "4,8,12,16",
    voxel_mm: Annotated[str, typer.Option(help="Voxel edges as acquired, mm.", metavar="X,Y,Z")] = "0.1,0.1,0.1",
    snr: Annotated[float, typer.Option(help="Tissue signal at TE 0 over the noise of one real channel.")] = 30.0,
    r2star: Annotated[float, typer.Option(help="R2* of the tissue, 1/s.")] = 30.0,
    positions: Annotated[float, typer.Option(help="Voxels that are searched.")] = 2e6,
    label: Annotated[str, typer.Option(help="Iron-oxide label: an id of `ferrosight labels`, or a TOML file.")] = (
        "ferumoxytol"
    ),
    iron_per_cell_pg: Annotated[
        float, typer.Option(help="Iron that one cell binds after each dose, pg (the default is an assumption).")
    ] = 1.0,
    study_kind: Annotated[
        str, typer.Option(help="targeted: particles given again before each scan. Others cannot be planned.")
    ] = "targeted",
    visits: Annotated[int, typer.Option(help="Scans per animal, the first on the day the relapse begins.")] = 12,
    interval_days: Annotated[float, typer.Option(help="Days between scans.")] = 7.0,
    start_cells: Annotated[float, typer.Option(help="Cells from which the relapse grows.")] = 10.0,
    doubling_days: Annotated[float, typer.Option(help="Doubling time of the cells, days.")] = 7.0,
    other_doubling_days: Annotated[
        float | None, typer.Option(help="Doubling time under another treatment: adds a comparison.")
    ] = None,
    animals_per_group: Annotated[int, typer.Option(help="Animals per treatment, for the comparison's power.")] = 10,
    noise_over_ideal: Annotated[
        float,
        typer.Option(
            help="Noise of a measurement over the ideal observer's; in smooth simulated tissue 1.5 was measured, in "
            "textured 2.3."
        ),
    ] = 2.3,
    carry_over: Annotated[float, typer.Option(help="Share of iron that stays from one scan to the next.")] = 0.1,
    alpha: Annotated[float, typer.Option(help="Chance of ever raising a false alarm, at most.")] = 0.05,
    simulated: Annotated[int, typer.Option(help="Animals that are simulated.")] = 200,
    seed: Annotated[int, typer.Option(help="Seed of the simulation.", min=0)] = 0,
    plot: Annotated[Path | None, typer.Option(help="Draw it; .svg, .pdf or .png.", metavar="FILE")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
) -> None:
    """Say how early a serial study would call a relapse, and how far ahead of rules of size.

    Everything is simulated: no lead time of labelled-cell surveillance has been published.
    """
    from ferrosight.physics.labels import get_label, magnetisation_am2_per_kg_fe
    from ferrosight.types import Protocol, Search
    from ferrosight.types.plan import PlanDesign

    _check_kind(study_kind)
    if plot is not None:
        from ferrosight.report.svg import check_figure_path

        check_figure_path(plot)
    protocol = Protocol(b0_t, parse_times(echo_times_ms, ","), parse_voxel(voxel_mm, ","), snr, r2star)
    known = get_label(label)
    design = PlanDesign(
        protocol=protocol,
        search=Search(0.9, 0.01, positions),
        ms_am2_per_kg_fe=magnetisation_am2_per_kg_fe(known, b0_t),
        iron_per_cell_pg=iron_per_cell_pg,
        n_visits=visits,
        interval_days=interval_days,
        doubling_days=doubling_days,
        start_cells=start_cells,
        alpha=alpha,
        noise_over_ideal=noise_over_ideal,
        carry_over=carry_over,
        n_animals=simulated,
    )
    plans, comparison = _simulate(design, other_doubling_days, animals_per_group, seed)
    if plot is not None:
        _draw(plot, plans, _describe(protocol, known.name, design))
    if as_json:
        print_json(_as_plain(plans, comparison, seed))
        return
    for one in plans:
        _show(one)
    if comparison is not None:
        _show_comparison(comparison)
    for note in _notes(design):
        print(f"- {note}")
    if plot is not None:
        print(f"plot: {plot}", file=sys.stderr)


def _check_kind(kind: str) -> None:
    if kind != "targeted":
        raise InputError(
            f"--study-kind expects targeted, but was given {kind!r}: iron of cells labelled beforehand cannot show "
            "growth, however often it is scanned; plan with particles that seek the cells, PET, or volumes."
        )


def _simulate(
    design: PlanDesign, other_doubling_days: float | None, group_size: int, seed: int
) -> tuple[list[Plan], Comparison | None]:
    import numpy as np

    from ferrosight.study.relapse_plan import compare_treatments, plan_study

    if group_size < 2:
        raise InputError(f"--animals-per-group must be at least 2, but is {group_size}.")
    designs = [design]
    if other_doubling_days is not None:
        designs.append(dataclasses.replace(design, doubling_days=other_doubling_days))
    plans = [plan_study(one, np.random.default_rng(seed)) for one in designs]
    return plans, compare_treatments(plans[0], plans[1], group_size) if len(plans) > 1 else None


def _show(plan: Plan) -> None:
    rows = [
        ["one noise SD of a measurement", f"{plan.cells_per_sd:.3g}", "cells"],
        ["found from", f"{plan.cells_found:.3g}", "cells"],
        ["cells at the alarm, median", _number(plan.cells_at_alarm), "cells"],
        ["relapses called by the last scan", f"{100 * plan.called[-1]:.0f}", "%"],
        ["false alarms without growth", f"{100 * plan.false_alarms:.1f}", "%"],
    ]
    rows += [
        [f"ahead of {lead.rule}", f"{_number(lead.lead_days)} d, {_number(lead.lead_doublings)}", "doublings"]
        for lead in plan.leads
    ]
    print_table([f"doubling in {plan.design.doubling_days:g} days", "value", "unit"], rows)
    print()
    days = [
        [f"{day:g}", f"{100 * one:.0f} %", f"{100 * low:.0f} to {100 * high:.0f} %"]
        for day, one, low, high in zip(plan.days, plan.called, plan.called_low, plan.called_high, strict=True)
    ]
    print_table(["day", "called", "95 % interval"], days)
    print()


def _show_comparison(comparison: Comparison) -> None:
    rows = [
        ["animals per group for 80 % power", _number(comparison.animals_per_group), "animals"],
        [f"power with {comparison.group_size} per group", f"{100 * comparison.power:.0f}", "%"],
    ]
    print_table(["two treatments, by the time to alarm", "value", "unit"], rows)
    print()


def _notes(design: PlanDesign) -> list[str]:
    return [
        "Simulated: an ideal observer's noise, times what was said; nothing else moves, bleeds or is inflamed.",
        f"Each cell binds {design.iron_per_cell_pg:g} pg of iron after every dose, and "
        f"{design.cells_per_mm3:.3g} cells fill a cubic millimetre (an assumption).",
        f"If nothing grew, the chance of an alarm ever would be at most {design.alpha:g}.",
    ]


def _as_plain(plans: list[Plan], comparison: Comparison | None, seed: int) -> dict[str, Any]:
    """Plain values for JSON; what is not known is null."""
    rows = [
        {
            "doubling_days": plan.design.doubling_days,
            "days": plan.days.tolist(),
            "called": plan.called.tolist(),
            "called_low": plan.called_low.tolist(),
            "called_high": plan.called_high.tolist(),
            "cells_per_noise_sd": plan.cells_per_sd,
            "cells_found": plan.cells_found,
            "cells_at_alarm": _known(plan.cells_at_alarm),
            "false_alarms": plan.false_alarms,
            "leads": [
                {
                    "rule": lead.rule,
                    "median_day": lead.median_day,
                    "lead_days": _known(lead.lead_days),
                    "lead_doublings": _known(lead.lead_doublings),
                }
                for lead in plan.leads
            ],
        }
        for plan in plans
    ]
    content: dict[str, Any] = {"seed": seed, "alpha": plans[0].design.alpha, "plans": rows, "comparison": None}
    if comparison is not None:
        content["comparison"] = {
            "earlier": comparison.earlier,
            "animals_per_group": _known(comparison.animals_per_group),
            "group_size": comparison.group_size,
            "power": comparison.power,
        }
    return content


def _draw(path: Path, plans: list[Plan], subtitle: str) -> None:
    from ferrosight.report.plan_chart import write_plan_chart

    named = [(f"doubling in {plan.design.doubling_days:g} days", plan) for plan in plans]
    write_plan_chart(path, named, "How early a relapse would be called", subtitle)


def _describe(protocol: Protocol, label: str, design: PlanDesign) -> str:
    voxel = " × ".join(f"{edge:g}" for edge in protocol.voxel_mm)
    return (
        f"{protocol.b0_t:g} T · voxel {voxel} mm · SNR {protocol.snr:.3g} · {label}, "
        f"{design.iron_per_cell_pg:g} pg per cell\n"
        f"a scan every {design.interval_days:g} days · from {design.start_cells:g} cells, doubling in "
        f"{design.doubling_days:g} days · {design.n_animals} simulated animals; band: 95 % interval"
    )


def _number(value: float) -> str:
    return "n/a" if math.isnan(value) else f"{value:.3g}"


def _known(value: float) -> float | None:
    return None if math.isnan(value) else value
