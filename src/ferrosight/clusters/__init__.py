"""From field to fitted catalogue: evidence, decoys, candidates, refit, neighbours, verdict."""

from ferrosight.clusters.find import find_clusters

__all__ = ["find_clusters"]
