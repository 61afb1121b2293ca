"""Hypotheses and matching: clusters of all visits into tracks, with splits and merges."""

from ferrosight.link.link import link_detections

__all__ = ["link_detections"]
