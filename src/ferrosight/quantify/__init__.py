"""Extended grafts, and moment to iron to cells, with intervals."""

from ferrosight.quantify.cells import quantify_clusters
from ferrosight.quantify.grafts import measure_grafts

__all__ = ["measure_grafts", "quantify_clusters"]
