"""From a scan to its field map: the order of the steps."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from ferrosight.errors import AnalysisError
from ferrosight.field.background import remove_background
from ferrosight.field.mask import find_tissue
from ferrosight.field.noise import map_sigma, measure_noise_power
from ferrosight.field.relaxation import EchoFit, fit_echoes
from ferrosight.field.support import Spectra, measure_spectra, noise_autocorrelation
from ferrosight.field.unwrap import unwrap_in_mask
from ferrosight.types import FieldMap, Noise, PhaseSign, Progress, Scan
from ferrosight.types.config import FieldConfig

_STEPS = ("k-space", "noise", "field and relaxation", "background")
#: Relative to the largest magnitude; stands for the noise of data that have none.
_LEAST_SIGMA = 1e-7
#: Voxels at the tissue's rim that are left out of the noise, if half the tissue remains: the step to air, and
#: its ringing, are no noise.
_RIM, _NARROW_RIM = 6, 2
#: SD of a phase that is uniform over the circle: nothing is known less well.
_UNIFORM_PHASE_SD = np.pi / np.sqrt(3)


def measure_field(scan: Scan, config: FieldConfig, *, on_progress: Progress | None = None) -> FieldMap:
    """Measure field (Hz), R2* (1/s), S0, tissue mask and noise of a gradient-echo scan.

    Three or more echoes: one complex exponential per voxel, its phase at TE 0 free. Two: the same, from
    their ratio. One: the unwrapped phase over 2π·TE, which keeps the transmit and receive phase; the local
    field is free of it. A field of one or two echoes is known up to one over TE or the echo spacing.

    With ``scan.phase_sign`` NEGATIVE the field is the stored phase's slope with its sign turned; UNKNOWN is
    treated as POSITIVE. The k-space support always describes the signal as stored. Raises AnalysisError
    where the scan holds no tissue or no noise can be measured.
    """
    signal = scan.signal
    if not signal.any():
        raise AnalysisError("a scan with signal was expected, but every voxel is zero; check the image files.")

    def report(step: int) -> None:
        if on_progress is not None:
            on_progress(_STEPS[min(step, len(_STEPS) - 1)], step, len(_STEPS))

    report(0)
    spectra = measure_spectra(signal)
    report(1)
    mask, sigma = _find_tissue_and_noise(scan, config, spectra)
    noise = Noise(sigma, noise_autocorrelation(spectra), (spectra[0].support, spectra[1].support, spectra[2].support))
    report(2)
    fit = _fit_one_echo(scan, mask, sigma) if len(signal) == 1 else _fit_many_echoes(scan, mask, sigma)
    report(3)
    sign = -1.0 if scan.phase_sign == PhaseSign.NEGATIVE else 1.0
    field_hz, field_hz_err = _in_mask(sign * fit.field_hz, mask), _in_mask(fit.field_hz_err, mask)
    voxel_mm = scan.grid.voxel_mm
    local_hz = remove_background(field_hz, field_hz_err, mask, voxel_mm, width_mm=config.background_mm)
    report(4)
    return FieldMap(
        grid=scan.grid,
        field_hz=field_hz,
        field_hz_err=field_hz_err,
        local_field_hz=local_hz,
        r2star_per_s=_in_mask(fit.r2star_per_s, mask),
        r2star_per_s_err=_in_mask(fit.r2star_per_s_err, mask),
        s0=_in_mask(fit.s0, mask),
        mask=mask,
        noise=noise,
    )


def _in_mask(values: NDArray[np.float64], mask: NDArray[np.bool_]) -> NDArray[np.float32]:
    """One value per voxel of the mask, as an image that is NaN elsewhere."""
    image = np.full(mask.shape, np.nan, dtype=np.float32)
    image[mask] = values
    return image


def _find_tissue_and_noise(
    scan: Scan, config: FieldConfig, spectra: Spectra
) -> tuple[NDArray[np.bool_], NDArray[np.float32]]:
    """Mask (x, y, z), and noise (echo, x, y, z) measured where the tissue is."""
    sigma = np.empty(scan.signal.shape, dtype=np.float32)
    mask = inner = np.ones(scan.grid.shape, dtype=np.bool_)
    for index, echo in enumerate(scan.signal):
        magnitude = np.abs(echo)
        least = _LEAST_SIGMA * float(magnitude.max())
        power = np.maximum(measure_noise_power(echo, spectra), least**2)
        if index == 0:
            mask = find_tissue(
                magnitude,
                map_sigma(power),
                scan.grid.voxel_mm,
                mask_snr=config.mask_snr,
                closing_mm=config.closing_mm,
            )
            if not mask.any():
                raise AnalysisError(
                    f"tissue was expected to exceed {config.mask_snr:g} noise standard deviations somewhere, but "
                    "nowhere does; check the scan, or lower the setting field.mask_snr."
                )
            inner = _without_rim(mask)
        sigma[index] = map_sigma(power, inner)
    return mask, sigma


def _without_rim(mask: NDArray[np.bool_]) -> NDArray[np.bool_]:
    for rim in (_RIM, _NARROW_RIM):
        inner = ndimage.binary_erosion(mask, iterations=rim, border_value=1)
        if np.count_nonzero(inner) >= np.count_nonzero(mask) / 2:
            return np.asarray(inner, dtype=np.bool_)
    return mask


def _fit_one_echo(scan: Scan, mask: NDArray[np.bool_], sigma: NDArray[np.float32]) -> EchoFit:
    turns_to_hz = 1 / (2 * np.pi * float(scan.echo_times_s[0]))
    phase = unwrap_in_mask(np.angle(scan.signal[0]), mask)[mask]
    magnitude = np.abs(scan.signal[0][mask]).astype(np.float64)
    err = np.minimum(sigma[0][mask] / np.maximum(magnitude, 1e-30), _UNIFORM_PHASE_SD)
    unknown = np.full(phase.shape, np.nan)
    return EchoFit(phase * turns_to_hz, err * turns_to_hz, unknown, unknown, magnitude)


def _fit_many_echoes(scan: Scan, mask: NDArray[np.bool_], sigma: NDArray[np.float32]) -> EchoFit:
    gaps = np.diff(scan.echo_times_s)
    gap = float(gaps.min())
    advance = np.zeros(mask.shape, dtype=np.complex64)
    for pair in np.flatnonzero(gaps < 1.01 * gap):
        advance += scan.signal[pair + 1] * np.conj(scan.signal[pair])
    start_hz = unwrap_in_mask(np.angle(advance), mask)[mask] / (2 * np.pi * gap)
    return fit_echoes(scan.signal[:, mask], sigma[:, mask], scan.echo_times_s, start_hz)
