"""Moment to iron to cells, with intervals."""

from ferrosight.quantify.cells import quantify_clusters

__all__ = ["quantify_clusters"]
