"""From a section to the body that it was cut from. A model, with assumptions that no single section can check:

- the body is a sphere, cut at a place that is uniform along its diameter;
- the section is thin against the body, and its thickness is known;
- particles lie as densely elsewhere in the body as in the section, and all of those in the section are seen.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

#: A sphere of diameter D is cut u of its radius from the middle, u uniform: the section's diameter is D·sqrt(1 - u²).
#: Its cube is D³ times 3π/16 on average, its sixth power D⁶ times 16/35.
_MEAN_CUBE = 3 * math.pi / 16
_CUBE_CV = math.sqrt(16 / 35 - _MEAN_CUBE**2) / _MEAN_CUBE


@dataclass(frozen=True)
class WholeBody:
    """A body's volume (µm³) and its number of particles, each with one standard deviation."""

    volume_um3: float
    volume_um3_err: float
    n_particles: float
    n_particles_err: float


def estimate_whole_body(
    area_nm2: float, area_nm2_err: float, n_particles: float, n_particles_err: float, section_nm: float | None
) -> WholeBody:
    """The body that a section of ``area_nm2`` with ``n_particles`` was cut from.

    Its volume is π/6 over 3π/16 times the cube of the section's diameter, so that the mean over cuts of one sphere is
    right; one cut alone leaves 56 % of error. Numbers are the section's times volume over area times thickness; NaN
    without ``section_nm``. Average over many bodies: one says little.
    """
    diameter_um = math.sqrt(4 * area_nm2 / math.pi) * 1e-3
    volume = math.pi / 6 / _MEAN_CUBE * diameter_um**3
    area_relative = area_nm2_err / area_nm2 if math.isfinite(area_nm2_err) else 0.0
    relative = math.hypot(_CUBE_CV, 1.5 * area_relative)
    if section_nm is None or not math.isfinite(n_particles):
        return WholeBody(volume, volume * relative, math.nan, math.nan)
    whole = n_particles * volume * 1e9 / (area_nm2 * section_nm)
    of_number = n_particles_err / n_particles if n_particles else 0.0
    return WholeBody(volume, volume * relative, whole, whole * math.hypot(relative, of_number))
