"""From field to fitted catalogue: evidence, decoys, candidates, refit, neighbours, verdict."""

from ferrosight.clusters.find import find_clusters
from ferrosight.clusters.measure_at import measure_at

__all__ = ["find_clusters", "measure_at"]
