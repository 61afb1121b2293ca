"""A small part of a preset, two visits a week apart, and what left between them."""

import dataclasses

from ferrosight.simulate import get_preset, simulate_scan

preset = get_preset("mouse-liver-7t")
for visit, day in enumerate((0.0, 7.0)):
    spec = preset.build_spec(seed=1, day=day, shape=(32, 28, 16))
    # quick to run: averages over voxels instead of the k-space acquired, read out at once
    spec = dataclasses.replace(spec, point_spread="box", bandwidth_hz=float("inf"), sub_sampling=4)
    scan, truth = simulate_scan(spec, seed=1, visit=visit)
    table = truth.table.to_pandas()
    labelled = table[table.kind == "labelled"]
    print(f"day {day:g}: {len(labelled)} clusters, {labelled.iron_pg.sum():.1f} pg of iron,", end=" ")
    print(f"{len(table) - len(labelled)} other sources, scan {scan.signal.shape}")
