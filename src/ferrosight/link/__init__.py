"""Hypotheses and matching: clusters of all visits into tracks, with splits and merges."""

from ferrosight.link.link import link_detections
from ferrosight.link.places import place_tracks

__all__ = ["link_detections", "place_tracks"]
