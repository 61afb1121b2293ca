"""Relapse: evidence that holds however often one looks, and what the clinical rules say of the same visits."""

from ferrosight.relapse.comparators import call_first_visible, call_percist, call_rano, call_recist
from ferrosight.relapse.weigh import weigh_evidence

__all__ = ["call_first_visible", "call_percist", "call_rano", "call_recist", "weigh_evidence"]
