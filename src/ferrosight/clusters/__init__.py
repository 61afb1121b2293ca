"""From field to fitted catalogue: evidence, decoys, candidates, refit, neighbours, verdict."""

from ferrosight.clusters.baseline import describe_baseline, judge_by_baseline, reject_unlabelled
from ferrosight.clusters.find import find_clusters
from ferrosight.clusters.measure_at import measure_at

__all__ = ["describe_baseline", "find_clusters", "judge_by_baseline", "measure_at", "reject_unlabelled"]
