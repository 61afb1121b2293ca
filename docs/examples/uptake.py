"""Two cell types, the same three particles: an experiment that is simulated, fitted and compared."""

import numpy as np

from ferrosight.cells.load import surface_um2, trace_load, uptake_rate
from ferrosight.report.uptake_page import write_course_page, write_fit_page
from ferrosight.types import Table
from ferrosight.types.uptake import ASSAYS, Fate, Labelling
from ferrosight.uptake.assays import sort_experiments
from ferrosight.uptake.curves import trace_curves
from ferrosight.uptake.kinetics import fit_kinetics
from ferrosight.uptake.predict import predict_course
from ferrosight.uptake.quantities import compare_cell_types

# All of these are assumptions, chosen to be plausible: diameter (µm) and doubling time (h) of the cells; full uptake
# (pg/h per 1000 µm² of surface) and dose of half uptake (µg/mL) of the particles, the same for both cell types.
CELLS = {"MSC": (20.0, 48.0), "MAPC": (14.0, 24.0)}
PARTICLES = {"Endorem": (0.4, 60.0), "magnetoliposomes": (1.2, 25.0), "C-200": (0.8, 80.0)}
DESIGN = [(10, 24, 0), (25, 24, 0), (50, 24, 0), (100, 24, 0), (200, 24, 0), (50, 24, 24), (50, 24, 72), (50, 24, 144)]

rng = np.random.default_rng(2013)
rows = []
for cells, (diameter, doubling) in CELLS.items():
    for particle, (full, half) in PARTICLES.items():
        for batch in range(5):
            level = np.exp(rng.normal(0, 0.17))
            for dose, exposure, chase in DESIGN:
                rate = uptake_rate(full * surface_um2(diameter) / 1000, dose, half)
                load = trace_load(rate, np.log(2) / doubling, 0.003, exposure, chase, 48.0)
                measured = float(load * level * np.exp(rng.normal(0, 0.1)))
                rows.append((cells, particle, f"b{batch}", "icp", dose, exposure, chase, measured, np.nan, np.nan))
    for _ in range(4):
        rows.append((cells, "", "", "", *[np.nan] * 4, diameter * np.exp(rng.normal(0, 0.05)), np.nan))
        rows.append((cells, "", "", "", *[np.nan] * 5, doubling * np.exp(rng.normal(0, 0.08))))

assays = Table.from_rows(ASSAYS, [dict(zip(ASSAYS.names, row, strict=True)) for row in rows])
experiments = sort_experiments(assays)
fits = [fit_kinetics(experiment) for experiment in experiments]
comparisons = compare_cell_types(fits)
for one in comparisons:
    if one.name != "uptake":
        said = f"{one.larger} / {one.smaller} {one.ratio:.2f} ({one.low:.2f} to {one.high:.2f})"
        print(f"{one.particle + ', ' + one.name.replace('_', ' '):<38} {said}")

course = predict_course(fits[0], Labelling(50.0, 24.0), Fate(), [0, 7, 14])
print(f"\n{course.source}")
print(course.table.to_pandas()[["day", "iron_per_cell_pg", "batch_rel_sd", "cell_cv"]].round(3).to_string(index=False))

curves = [curve for fit, experiment in zip(fits, experiments, strict=True) for curve in trace_curves(fit, experiment)]
write_fit_page("uptake_fit.html", "Two cell types, three particles", fits, curves, comparisons, provenance={})
write_course_page("uptake_course.html", course, provenance={})
