"""What a protocol could show, before the scan; and where in a scan 100 cells would have been found, after it."""

import numpy as np

from ferrosight.field import measure_field
from ferrosight.limits import change_scan_time, find_limit, map_limit
from ferrosight.physics.labels import get_label, magnetisation_am2_per_kg_fe
from ferrosight.simulate import ScanSpec, build_affine, simulate_scan
from ferrosight.types import Config, Protocol, Search

PG_PER_CELL = 0.02  # an assumption: a weak load

protocol = Protocol(
    b0_t=7.0, echo_times_s=(0.004, 0.008, 0.012), voxel_mm=(0.1, 0.1, 0.15), snr=30.0, r2star_per_s=30.0
)
search = Search(power=0.9, false_per_scan=1.0, positions=1e5)
ms = magnetisation_am2_per_kg_fe(get_label("ferumoxides"), protocol.b0_t)  # A m² per kg of iron
for times_as_long in (1, 4):
    limit = find_limit(change_scan_time(protocol, times_as_long), search)
    iron_pg = limit.moment_am2 / ms * 1e15
    print(f"scan time × {times_as_long}: {iron_pg:.2f} pg = {iron_pg / PG_PER_CELL:.0f} cells")

shape = (40, 36, 30)
spec = ScanSpec(
    shape=shape,
    affine=build_affine(shape, protocol.voxel_mm),
    echo_times_s=protocol.echo_times_s,
    b0_t=protocol.b0_t,
    snr=protocol.snr,
    r2star_per_s=protocol.r2star_per_s,
    point_spread="kspace",
    receive_variation=0.6,  # a surface coil: far from it the signal is weak
)
scan, _ = simulate_scan(spec, seed=1)
limit_map = map_limit(scan, measure_field(scan, Config().field), ms, Config().limits)
cells = limit_map.iron_pg / PG_PER_CELL
print(f"smallest cluster: {np.nanmin(cells):.0f} to {np.nanmax(cells):.0f} cells")
print(f"100 cells would have been found in {np.mean(cells <= 100):.0%} of the scan")
