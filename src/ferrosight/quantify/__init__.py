"""Extended grafts, and moment to iron to cells, with intervals."""

from ferrosight.quantify.cells import Factor, find_factors, limit_clusters, quantify_clusters, quantify_moments
from ferrosight.quantify.graft_baseline import measure_grafts_before
from ferrosight.quantify.graft_regions import GraftRegion, find_graft_regions, measure_regions
from ferrosight.quantify.grafts import measure_grafts

__all__ = [
    "Factor",
    "GraftRegion",
    "find_factors",
    "find_graft_regions",
    "limit_clusters",
    "measure_grafts",
    "measure_grafts_before",
    "measure_regions",
    "quantify_clusters",
    "quantify_moments",
]
