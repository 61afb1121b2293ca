"""The noise of a reconstructed PET image, measured in the image: how strong where, how correlated, how skewed.

Iterative reconstruction makes noise that grows with the activity, is correlated over neighbours and has a longer tail
above than below. Nothing here takes it to be white, constant or Gaussian.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.fft import fftn, ifftn, irfftn, next_fast_len, rfftn
from scipy.ndimage import binary_erosion, binary_fill_holes, gaussian_filter, label

from ferrosight.errors import AnalysisError
from ferrosight.types.pet import PetResponse

Array = NDArray[np.float64]
_SIGMA_PER_FWHM = 1 / math.sqrt(8 * math.log(2))
#: Widths of smoothing, in point spreads: of the background, of the noise's level.
_BACKGROUND_FWHM, _LEVEL_FWHM = 2.5, 4.0
#: Where the background changes by more than this share of itself over a point spread, it is an edge and no noise.
_STEEP = 0.15
#: The body is where the smoothed image exceeds this share of its bright part.
_BODY_SHARE = 0.2
#: A variance is taken to grow with a mean of at least this share of the body's median.
_LEAST_SHARE = 0.1
#: Fewer voxels than this tell no noise.
_LEAST_VOXELS = 500
#: Residuals beyond this many standard deviations are sources, not noise.
_CLIP = 3.5
#: Share of a Gaussian's variance within ``_CLIP``.
_KEPT = 1 - 2 * _CLIP * math.exp(-(_CLIP**2) / 2) / math.sqrt(2 * math.pi) / math.erf(_CLIP / math.sqrt(2))
#: Longest lag at which noise is taken to be correlated, in point spreads.
_LAG_FWHM = 2.5


@dataclass(frozen=True)
class PetNoise:
    """Noise of one image.

    ``body`` bool, ``background`` and ``sigma`` float64 (x, y, z) are where the subject is, the smooth activity and the
    noise's standard deviation, in the image's unit. ``correlation`` (2n+1 …) is the autocorrelation of noise over sigma
    at lags of whole voxels, ``skewness`` the third standardised moment of a voxel.
    """

    body: NDArray[np.bool_]
    background: Array
    sigma: Array
    correlation: Array
    skewness: float


def measure_noise(image: Array, voxel_mm: tuple[float, float, float], response: PetResponse) -> PetNoise:
    """Measure the noise of ``image`` (x, y, z).

    Raises
    ------
    AnalysisError
        Where the image holds no body large enough to tell noise from it.
    """
    widths = np.array([fwhm / edge for fwhm, edge in zip(response.fwhm_mm, voxel_mm, strict=True)])
    body = find_body(image, widths)
    inner = binary_erosion(body, iterations=max(1, round(float(widths.min()))))
    if np.count_nonzero(inner) < _LEAST_VOXELS:
        raise AnalysisError(
            f"a PET image needs a body of some hundred voxels to measure its noise in, but {int(inner.sum())} were "
            "found; scan more of the subject, or mask less of it."
        )
    kept, flat = body.copy(), inner
    sigmas = _SIGMA_PER_FWHM * _BACKGROUND_FWHM * widths
    for _ in range(3):
        background = _smooth_within(image, kept, sigmas)
        floor = np.maximum(background, _LEAST_SHARE * float(np.median(background[body])))
        flat = _find_flat(background, inner, widths)
        # Noise is what differs from a background that hardly knows the voxel itself.
        residual = (image - background) / np.sqrt(floor)
        level = _smooth_within(residual**2, flat & kept, _SIGMA_PER_FWHM * _LEVEL_FWHM * widths)
        kept = body & (np.abs(residual) <= _CLIP * np.sqrt(np.maximum(level, 1e-30)))
    # Variance over mean varies slowly; the variance itself follows the activity.
    sigma = np.sqrt(np.maximum(level / _KEPT, 1e-30) * floor)
    measured = flat & kept
    scaled = np.where(measured, (image - background) / sigma, 0.0)
    correlation, lost = _autocorrelate(scaled, measured, widths, sigmas)
    values = scaled[measured]
    skewness = float(((values - values.mean()) ** 3).mean() / values.std() ** 3)
    return PetNoise(body, background, sigma * math.sqrt(lost), correlation, skewness)


def _find_flat(background: Array, inside: NDArray[np.bool_], fwhm_voxels: Array) -> NDArray[np.bool_]:
    """Where the background is no edge; everywhere inside, if that leaves too little."""
    slopes = np.gradient(background)
    rise = np.sqrt(sum((slope * width) ** 2 for slope, width in zip(slopes, fwhm_voxels, strict=True)))
    flat = inside & (rise <= _STEEP * np.maximum(background, 0.0))
    return np.asarray(flat if np.count_nonzero(flat) >= _LEAST_VOXELS else inside)


def find_body(image: Array, fwhm_voxels: Array) -> NDArray[np.bool_]:
    """The largest connected part brighter than a fifth of the bright part's median, with its holes filled."""
    smooth = gaussian_filter(image, _SIGMA_PER_FWHM * fwhm_voxels)
    bright = smooth[smooth > 0.5 * np.percentile(smooth, 95)]
    if not bright.size:
        return np.zeros(image.shape, np.bool_)
    labels, n = label(smooth > _BODY_SHARE * np.median(bright))
    if not n:
        return np.zeros(image.shape, np.bool_)
    largest = labels == 1 + np.bincount(labels.ravel())[1:].argmax()
    return np.asarray(binary_fill_holes(largest), dtype=np.bool_)


def _smooth_within(image: Array, inside: NDArray[np.bool_], sigmas: Array) -> Array:
    """Gaussian mean of the voxels inside; far from any, the mean of all."""
    weight = gaussian_filter(inside.astype(np.float64), sigmas, mode="constant")
    total = gaussian_filter(np.where(inside, image, 0.0), sigmas, mode="constant")
    return np.asarray(np.where(weight > 1e-6, total / np.maximum(weight, 1e-6), float(image[inside].mean())))


def _autocorrelate(scaled: Array, inside: NDArray[np.bool_], fwhm_voxels: Array, sigmas: Array) -> tuple[Array, float]:
    """Autocorrelation of the noise, and its variance over that of the residual.

    Taking a smooth background off takes a little off the variance too, and makes distant voxels slightly
    anticorrelated; both are undone in the spectrum, down to the frequencies that the background keeps.
    """
    lags = [min(math.ceil(_LAG_FWHM * width), (n - 1) // 2) for width, n in zip(fwhm_voxels, scaled.shape, strict=True)]
    padded = [next_fast_len(n + lag, real=True) for n, lag in zip(scaled.shape, lags, strict=True)]
    product = irfftn(np.abs(rfftn(np.where(inside, scaled, 0), padded)) ** 2, padded)
    overlap = irfftn(np.abs(rfftn(inside.astype(np.float64), padded)) ** 2, padded)
    measured = product / np.maximum(overlap, 1.0)
    chosen = np.ix_(*[np.arange(-lag, lag + 1) for lag in lags])
    window = np.asarray(measured[chosen])
    # The residual of white noise of power p has autocorrelation p (δ - 2 g + g ⋆ g), with g the background's weights.
    taken = 2 * _gaussian_window(lags, sigmas) - _gaussian_window(lags, math.sqrt(2) * sigmas)
    middle = tuple(lags)
    corrected = window + taken * window[middle] / (1 - taken[middle])
    return np.asarray(corrected / corrected[middle]), float(corrected[middle] / window[middle])


def _gaussian_window(lags: list[int], sigmas: Array) -> Array:
    """A Gaussian of unit sum over all lags, at those of the window."""
    profiles = [
        np.exp(-(np.arange(-lag, lag + 1) ** 2) / (2 * sigma**2)) / math.sqrt(2 * math.pi * sigma**2)
        for lag, sigma in zip(lags, sigmas, strict=True)
    ]
    return np.asarray(np.einsum("i,j,k->ijk", *profiles), dtype=np.float64)


def correlation_spectrum(correlation: Array, shape: tuple[int, ...]) -> Array:
    """Power spectrum (shape) of noise with this autocorrelation, nowhere below a hundredth of its mean."""
    embedded = np.zeros(shape)
    lags = [n // 2 for n in correlation.shape]
    places = np.ix_(*[np.arange(-lag, lag + 1) % n for lag, n in zip(lags, shape, strict=True)])
    embedded[places] = correlation
    spectrum = np.asarray(fftn(embedded).real)
    return np.asarray(np.maximum(spectrum, 1e-2 * spectrum.mean()))


def correlation_matrix(correlation: Array, ijk: NDArray[np.int_]) -> Array:
    """Correlation (n, n) between voxels ``ijk`` (n, 3), positive definite."""
    span = np.ptp(ijk, axis=0) + 1
    shape = tuple(next_fast_len(int(2 * max(n, lag + 1))) for n, lag in zip(span, correlation.shape, strict=True))
    table = np.asarray(ifftn(correlation_spectrum(correlation, shape)).real)
    # With the zero lag in the middle, two voxels' place in the table is the difference of what each counts.
    middle = np.array(shape) // 2
    table = np.fft.fftshift(table)
    steps = np.array([shape[1] * shape[2], shape[2], 1])
    counted = ijk @ steps
    matrix = table.ravel()[counted[:, None] - counted[None] + middle @ steps]
    return np.asarray(matrix / table[tuple(middle)])
