"""How good a catalogue is where the truth is known."""

from ferrosight.evaluate.catalogues import evaluate_catalogues
from ferrosight.evaluate.match import match_clusters

__all__ = ["evaluate_catalogues", "match_clusters"]
