"""One cluster of 40 pg in a small scan: simulated, found, weighed and counted."""

import ferrosight as fs
from ferrosight.simulate import Point, ScanSpec, build_affine, simulate_scan

shape = (32, 30, 24)
spec = ScanSpec(
    shape=shape,
    affine=build_affine(shape, (0.1, 0.1, 0.1)),
    echo_times_s=(0.004, 0.008, 0.012),
    b0_t=7.0,
    sources=(Point((0.12, -0.25, 0.08), moment_am2=40 * 9.36e-14, iron_pg=40.0),),
    snr=40.0,
    point_spread="kspace",
)
scan, truth = simulate_scan(spec, seed=1)

catalogue = fs.analyse_scan(scan, label="ferumoxides", iron_per_cell=fs.IronPerCell(10.9, 1.9, "my own assay"))
found = catalogue.accepted.to_pandas()

print(truth.table.to_pandas()[["x_mm", "y_mm", "z_mm", "iron_pg"]])
print(found[["x_mm", "y_mm", "z_mm", "score", "expected_false"]])
print(found[["iron_pg", "iron_pg_low", "iron_pg_high", "n_cells", "n_cells_low", "n_cells_high"]].round(1))
for note in catalogue.notes:
    print("-", note)
