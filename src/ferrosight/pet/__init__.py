"""Positron emission: uptake values, hot spots and their activity."""
