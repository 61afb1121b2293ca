"""How early would a relapse be called with the presets' protocols, against rules of size? Simulated at catalogue level.

    uv run python benchmarks/relapse_lead.py [--seed N] [--animals 1000]

For each preset as many subjects with a relapse as without, planned by ``ferrosight.study.relapse_plan``: particles
given again before each scan, of which a cell binds 1 pg of iron (an assumption), a scan every week (mouse) or month
(human), doubling in as many days with 20 % spread (assumptions), the ideal observer's noise times 2.3 (measured in
textured simulated tissue). The relapse starts from an eighth of the cells that would be found, but at least one.
"""

from __future__ import annotations

import argparse
import dataclasses
import secrets
import time
from typing import Any

import numpy as np

from _command import print_table, write_results
from _relapse_subjects import IRON_PER_CELL_PG, START_SHARE, build_protocol, build_search
from ferrosight.physics.labels import get_label, magnetisation_am2_per_kg_fe
from ferrosight.simulate import PRESET_LABEL_ID, get_preset
from ferrosight.study.relapse_plan import plan_study
from ferrosight.study.resources import peak_memory_mb
from ferrosight.types.plan import PlanDesign

#: Preset, days between scans and doubling time, visits.
CASES = (("mouse-brain-9t", 7.0, 16), ("human-brain-3t", 30.0, 16))
LEAST_DOUBLINGS = 5.0


def main() -> None:
    """Simulate, print, write."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--seed", type=int, default=secrets.randbelow(2**31))
    parser.add_argument("--animals", type=int, default=1000)
    options = parser.parse_args()
    print(f"seed {options.seed}")
    start = time.perf_counter()
    rng = np.random.default_rng(options.seed)
    cases = [run_case(*case, options.animals, rng) for case in CASES]
    for case in cases:
        print_table(case["shown"])
    print_table({"wall time, s": round(time.perf_counter() - start), "peak memory, MB": round(peak_memory_mb() or 0)})
    details = [{"what": what, "measured": value} for case in cases for what, value in case["shown"].items()]
    measured = {row["what"]: row["measured"] for row in details if "ahead of first visible" in row["what"]}
    everything = {"seed": options.seed, "cases": cases}
    command = f"uv run python benchmarks/relapse_lead.py --seed {options.seed}"
    write_results("relapse_lead", command, measured, everything, details)


def run_case(name: str, days: float, visits: int, animals: int, rng: np.random.Generator) -> dict[str, Any]:
    """One preset's plan, in words and numbers."""
    preset = get_preset(name)
    design = PlanDesign(
        protocol=build_protocol(preset),
        search=build_search(preset),
        ms_am2_per_kg_fe=magnetisation_am2_per_kg_fe(get_label(PRESET_LABEL_ID), preset.scan.b0_t),
        iron_per_cell_pg=IRON_PER_CELL_PG,
        n_visits=visits,
        interval_days=days,
        doubling_days=days,
        n_animals=animals,
    )
    found = plan_study(dataclasses.replace(design, n_animals=10), rng).cells_found
    plan = plan_study(dataclasses.replace(design, start_cells=max(START_SHARE * found, 1.0)), rng)
    visible, large = plan.leads
    held = visible.lead_doublings >= LEAST_DOUBLINGS
    title = f"{name}, {animals:,} subjects each"
    return {
        "preset": name,
        "called": plan.called.tolist(),
        "days": plan.days.tolist(),
        "shown": {
            f"{title}: found from": f"{plan.cells_found:.3g} cells",
            f"{title}: cells at the alarm, median": f"{plan.cells_at_alarm:.3g}",
            f"{title}: called within {plan.days[-1]:g} d": f"{100 * plan.called[-1]:.1f} %",
            f"{title}: false alarms": f"{100 * plan.false_alarms:.2f} %",
            f"{title}: alarm ahead of first visible lesion at 1 mm³": (
                f"{visible.lead_days:.0f} d, {visible.lead_doublings:.1f} doublings" + ("" if held else "; MISSED")
            ),
            f"{title}: alarm ahead of a new lesion of 10 mm": (
                f"{large.lead_days:.0f} d, {large.lead_doublings:.1f} doublings"
            ),
        },
    }


if __name__ == "__main__":
    main()
