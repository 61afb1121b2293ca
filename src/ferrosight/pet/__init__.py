"""Positron emission: uptake values, hot spots and their activity."""

from ferrosight.pet.find import find_hot_spots, measure_hot_spots_at, measure_peak
from ferrosight.pet.image import build_pet_image
from ferrosight.pet.joint import Opinion, judge_jointly, name_findings
from ferrosight.pet.point_spread import measure_point_spread, state_point_spread
from ferrosight.pet.suv import compute_suv, correct_decay, lean_mass_kg

__all__ = [
    "Opinion",
    "build_pet_image",
    "compute_suv",
    "correct_decay",
    "find_hot_spots",
    "judge_jointly",
    "lean_mass_kg",
    "measure_hot_spots_at",
    "measure_peak",
    "measure_point_spread",
    "name_findings",
    "state_point_spread",
]
