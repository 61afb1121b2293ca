"""How good a catalogue, or the tracks of a subject, are where the truth is known."""

from ferrosight.evaluate.catalogues import evaluate_catalogues
from ferrosight.evaluate.match import match_clusters
from ferrosight.evaluate.tracking import check_probabilities, score_links

__all__ = ["check_probabilities", "evaluate_catalogues", "match_clusters", "score_links"]
