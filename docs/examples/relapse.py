"""Iron of two clusters over nine weekly scans with a targeted label; one begins to grow after the fourth."""

import numpy as np

from ferrosight.relapse import weigh_evidence
from ferrosight.types.relapse import Measured, StudyDesign, SubjectSeries

rng = np.random.default_rng(1)
true_pg = np.array([12.0 * 2.0 ** np.maximum(np.arange(9) - 3, 0), np.full(9, 15.0)])
iron = Measured(
    "iron",
    values=true_pg + rng.normal(size=true_pg.shape),
    sds=np.ones(true_pg.shape),
    births=np.array([0, 0]),
    positions_mm=np.array([[1.0, 4.0, -2.0], [-3.0, 0.5, 2.0]]),
    reference=np.ones(9),
    reference_rel_err=0.03,
    carry_over_max=0.2,
)
series = SubjectSeries(
    session_ids=tuple(f"d{7 * visit:02d}" for visit in range(9)),
    days=7.0 * np.arange(9),
    protocols=("megre",) * 9,
    measured=(iron,),
    new_candidates=np.zeros(9, dtype=int),
)
evidence = weigh_evidence(series, StudyDesign("targeted", alpha=0.05, test_retest=(1.1, 60)))

print(evidence.table.to_pandas()[["session_id", "e_value", "alarm"]])
print("\n".join(evidence.sentences))
print("grows:", [evidence.members[row] for row in np.flatnonzero(evidence.growing[:, -1])])
