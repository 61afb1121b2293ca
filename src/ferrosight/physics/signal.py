"""Pieces of the gradient-echo signal."""

from __future__ import annotations

from typing import Final

import numpy as np
from numpy.typing import ArrayLike, NDArray

#: Contrast of a single cell in balanced SSFP per iron and per volume, µL pg⁻¹ (Heyn 2005, doi 10.1002/mrm.20356).
BSSFP_CONTRAST_UL_PER_PG: Final = 6.2e-5


def gradient_echo_signal(
    s0: ArrayLike,
    r2star_per_s: ArrayLike,
    field_hz: ArrayLike,
    echo_times_s: ArrayLike,
    *,
    phase_offset_rad: ArrayLike = 0.0,
    phase_sign: int = 1,
) -> NDArray[np.complex128]:
    """S0·exp(−R2*·TE)·exp(i[φ0 ± 2πf·TE]) for every echo: (echo, ...) complex.

    ``s0``, ``r2star_per_s``, ``field_hz`` (above the scanner's frequency) and ``phase_offset_rad`` are maps of
    any common shape, or numbers. ``phase_sign`` −1 is for scanners whose phase falls where the field is stronger.
    """
    shape = np.broadcast_shapes(*(np.shape(a) for a in (s0, r2star_per_s, field_hz, phase_offset_rad)))
    times = np.asarray(echo_times_s, dtype=np.float64).reshape((-1,) + (1,) * len(shape))
    # in place: at scanner sizes every copy of an echo is a tenth of a gigabyte
    result = np.empty((len(times), *shape), dtype=np.complex128)
    result.real = -times * np.asarray(r2star_per_s)
    result.imag = 2 * np.pi * phase_sign * times * np.asarray(field_hz) + np.asarray(phase_offset_rad)
    np.exp(result, out=result)
    result *= np.asarray(s0)
    return result


def bssfp_single_cell_limit_pg(voxel_volume_ul: float, snr: float) -> float:
    """Least iron in one cell that balanced SSFP shows at five times the noise, pg: 5·v/(K·SNR) (Heyn 2005)."""
    return 5 * voxel_volume_ul / (BSSFP_CONTRAST_UL_PER_PG * snr)
