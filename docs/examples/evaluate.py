"""Any detector against a known truth: here one that finds what is heavy enough, and a vein."""

import numpy as np

from ferrosight.evaluate import evaluate_catalogues
from ferrosight.types import CLUSTERS, TRUTH, KnownVisit, Table

rng = np.random.default_rng(4)
visits = []
for subject in ("01", "02", "03"):
    places = rng.uniform(-8.0, 8.0, (41, 3))  # mm; the last is a vein
    iron_pg = np.append(np.exp(rng.uniform(np.log(0.5), np.log(50.0), 40)), np.nan)
    axis = np.zeros((41, 3))
    axis[-1] = (0.0, 0.0, 2.0)  # from its middle to its end
    truth = Table(
        TRUTH,
        {
            **{f"{name}_mm": places[:, k] for k, name in enumerate("xyz")},
            **{f"axis_{name}_mm": axis[:, k] for k, name in enumerate("xyz")},
            "iron_pg": iron_pg,
            "kind": np.array(["labelled"] * 40 + ["vein"]),
        },
    )
    score = np.append(4.0 * iron_pg[:-1], 9.0) + rng.normal(size=41)
    found_at = places + 0.5 * axis + 0.01 * rng.normal(size=(41, 3))
    measured = np.append(iron_pg[:-1] + 0.25 * rng.normal(size=40), 12.0)
    clusters = Table(
        CLUSTERS,
        {
            **{f"{name}_mm": found_at[:, k] for k, name in enumerate("xyz")},
            "iron_pg": measured,
            "iron_pg_low": measured - 0.49,
            "iron_pg_high": measured + 0.49,
            "score": score,
            "status": np.where(score > 6.0, "accepted", "rejected"),
        },
    )
    visits.append(KnownVisit(f"sub-{subject}", clusters, truth))

evaluation = evaluate_catalogues(visits, match_mm=0.1)
for mass in evaluation.detection.by_mass:
    found = mass.recall
    print(
        f"about {mass.median:4.1f} pg: found {found.count:2d} of {found.total:2d} ({found.low:.0%} to {found.high:.0%})"
    )
for one in evaluation.detection.confusers:
    print(f"false on {one.kind}: {one.accepted.value:.2g} per scan ({one.accepted.low:.2g} to {one.accepted.high:.2g})")
(coverage,) = evaluation.calibration.coverage
print(f"95 % intervals that hold the truth: {coverage.covered.value:.1%} of {coverage.covered.total}")
