"""Visits of a subject laid into one space, with the error of doing so."""

from ferrosight.register.images import build_visit_image
from ferrosight.register.pet import register_pet
from ferrosight.register.visits import register_visits

__all__ = ["build_visit_image", "register_pet", "register_visits"]
