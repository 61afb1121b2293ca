"""The proton spectrum of fat, against water."""

from __future__ import annotations

from typing import Final

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ferrosight.physics.constants import GAMMA_HZ_PER_T

#: Chemical shifts of fat's six groups of protons against water, ppm, and their shares of its signal. Assumption: the
#: six peaks in common use for separating water from fat (as in github.com/awetscherek/t2star_inhomogeneity); the
#: publication behind them was not read. The shares are normalised to one where they are used.
FAT_SHIFTS_PPM: Final = (-3.80, -3.40, -2.60, -1.94, -0.39, 0.60)
FAT_SHARES: Final = (0.087, 0.693, 0.128, 0.004, 0.039, 0.048)

#: Susceptibility of fat less that of muscle, SI. Assumption.
FAT_DELTA_CHI: Final = 0.6e-6


def fat_signal(times_s: ArrayLike, b0_t: float) -> NDArray[np.complex128]:
    """Signal of fat against water's, 1 at time 0: Σ share·exp(2πi·shift·γB0·t), of the shape of ``times_s``."""
    hz = np.array(FAT_SHIFTS_PPM) * 1e-6 * GAMMA_HZ_PER_T * b0_t
    shares = np.array(FAT_SHARES) / sum(FAT_SHARES)
    return np.asarray(np.exp(2j * np.pi * np.asarray(times_s)[..., None] * hz) @ shares)
