"""Relaxation that many small magnetised bodies cause together."""

from __future__ import annotations

from typing import Final

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ferrosight.physics.constants import GAMMA_RAD_PER_S_T, MU0

#: R2' over γ·μ0·M̄ for point dipoles at random, without diffusion (Yablonskiy & Haacke 1994,
#: doi 10.1002/mrm.1910320610). Papers that write 2π/(3√3) mean it times γμ0M̄/3, the sphere's equatorial shift.
STATIC_DEPHASING_FACTOR: Final = 2 * np.pi / (9 * np.sqrt(3))


def static_dephasing_r2prime_per_s(magnetisation_a_per_m: ArrayLike) -> NDArray[np.float64]:
    """R2' of randomly scattered dipoles in the static dephasing regime, s⁻¹.

    ``magnetisation_a_per_m`` is the moment of all dipoles over the volume of the *whole* sample (A/m), not of
    the particles.
    """
    return np.asarray(
        STATIC_DEPHASING_FACTOR * GAMMA_RAD_PER_S_T * MU0 * np.abs(np.asarray(magnetisation_a_per_m, dtype=np.float64))
    )
