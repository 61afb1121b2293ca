"""Which part of k-space was acquired, found in the data, and how that correlates the noise.

Along one array axis the noise of an image has a spectrum of its own: flat where k-space was acquired,
empty where lines were filled with zeros, sloping where a filter was applied. The tissue hides it, so it is
taken off first: second differences along the *other two* axes remove what is smooth without touching the
spectrum along this one, and a low quantile over the lines ignores the few that still hold an edge or a
dipole. What is left is the noise's spectrum, and emptiness is a step in it. Low energy at high k is thereby
never mistaken for emptiness: a full acquisition of a smooth object leaves a flat spectrum.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ferrosight.types import AxisSupport

#: Quantile over lines; that of an exponential variable is scaled back to its mean.
_QUANTILE = 0.25
#: Below this many samples an axis is too short to show a step.
_MIN_SAMPLES = 8
#: A band is empty when it lies this far below its surroundings, dB.
_MIN_DEPTH_DB = 7.0
#: The edge of the acquired lines is where the spectrum has fallen by this much, dB.
_EDGE_DB = 10.0
#: The narrowest empty band (7/8 partial Fourier leaves 0.125) and acquired band, as fractions of the axis.
_MIN_EMPTY, _MIN_ACQUIRED = 0.06, 0.25
#: Thresholds are tried this far down from the highest level, dB: noise is never deeper below the tissue.
_SPAN_DB = 45.0
#: Noise power that falls by more than this towards some line was filtered, dB.
_FILTER_DB = 10.0
#: Lines that are used at most along one axis: enough for 1 %, and quick on a large volume.
_MAX_LINES = 40_000


@dataclass(frozen=True)
class AxisSpectrum:
    """The noise along one axis: the k-space acquired, and the normalised noise power of every line.

    ``power`` has one value per k-space line, DC at index n // 2, and sums to 1; it was seen through
    ``taper``, a window over the n voxels that keeps the ends of a cropped image from leaking into the rest.
    """

    support: AxisSupport
    power: NDArray[np.float64]
    taper: NDArray[np.float64]

    def correlation(self, lag: int) -> complex:
        """E[n(x + lag) n*(x)] / E[|n|²] of the complex noise n, lag in voxels."""
        n = len(self.power)
        lines = np.arange(n) - n // 2
        seen = np.sum(self.power * np.exp(2j * np.pi * lines * lag / n))
        kept = np.sum(self.taper[abs(lag) :] * self.taper[: n - abs(lag)]) / np.sum(self.taper**2)
        return complex(seen / kept)


#: One spectrum per array axis.
Spectra = tuple[AxisSpectrum, AxisSpectrum, AxisSpectrum]


def measure_spectra(signal: NDArray[np.complex64]) -> Spectra:
    """Noise spectrum and acquired k-space along each array axis of ``signal`` (echo, x, y, z)."""
    x, y, z = (_measure_axis(signal, axis) for axis in (1, 2, 3))
    return x, y, z


def noise_autocorrelation(spectra: Spectra) -> NDArray[np.float64]:
    """Correlation of one real channel with itself at lags of up to two voxels, (5, 5, 5).

    An axis too short to be measured counts as white.
    """
    x, y, z = (np.array([s.correlation(lag) for lag in range(-2, 3)]) for s in spectra)
    lags = np.einsum("i,j,k->ijk", x, y, z).real
    return np.asarray(lags / lags[2, 2, 2], dtype=np.float64)


def _measure_axis(signal: NDArray[np.complex64], axis: int) -> AxisSpectrum:
    n = signal.shape[axis]
    levels = _noise_power_of_lines(signal, axis) if n >= _MIN_SAMPLES else None
    if levels is None:
        # White, as far as anybody can tell.
        return AxisSpectrum(AxisSupport(), np.full(_MIN_SAMPLES, 1 / _MIN_SAMPLES), _hann(_MIN_SAMPLES))
    plain, tapered = levels
    band = _find_step(10 * np.log10(plain))
    if band is None:
        return AxisSpectrum(AxisSupport(), _shape_of_whole(tapered), _hann(n))
    support = _place(band[0] / n - 0.5, band[1] / n - 0.5, _peak_frequency(signal, axis), 1.5 / n)
    return AxisSpectrum(support, _shape_of_band(tapered, *band), _hann(n))


def _hann(n: int) -> NDArray[np.float64]:
    return np.asarray(np.sin(np.pi * (np.arange(n) + 0.5) / n) ** 2, dtype=np.float64)


def _noise_power_of_lines(
    signal: NDArray[np.complex64], axis: int
) -> tuple[NDArray[np.float64], NDArray[np.float64]] | None:
    """Noise power of each k-space line along ``axis``, relative, or None where nothing is usable.

    First as stored, which keeps the edges sharp to a line; then tapered, which keeps a crop's ends out.
    """
    n = signal.shape[axis]
    windows = (np.ones(n), _hann(n))
    logs: list[list[NDArray[np.float64]]] = [[], []]
    for echo in signal:
        lines = _lines_without_structure(echo, axis - 1)
        if lines is None:
            continue
        for window, log in zip(windows, logs, strict=True):
            spectrum = np.fft.fftshift(np.fft.fft(lines * window.astype(np.float32), axis=-1), axes=-1)
            power = np.quantile(np.abs(spectrum) ** 2, _QUANTILE, axis=0).astype(np.float64)
            if power.max() > 0:
                log.append(np.log(np.maximum(power / power.max(), 1e-12)))
    if not logs[0] or not logs[1]:
        return None
    return np.exp(np.mean(logs[0], axis=0)), np.exp(np.mean(logs[1], axis=0))


def _lines_without_structure(echo: NDArray[np.complex64], axis: int) -> NDArray[np.complex64] | None:
    """Lines (line, n) along ``axis`` after second differences along the other axes, gaps set to zero.

    Voxels that are exactly zero (masked by someone) are no noise; lines more than half empty are left out.
    """
    lines = np.moveaxis(echo, axis, -1)
    present = lines != 0
    for other in (0, 1):
        if lines.shape[other] >= _MIN_SAMPLES // 2:
            lines = _second_difference(lines, other)
            present = present[_window(other, 0, -2)] & present[_window(other, 1, -1)] & present[_window(other, 2, None)]
    lines = np.where(present, lines, 0).reshape(-1, lines.shape[-1])
    usable = np.flatnonzero(present.reshape(lines.shape).mean(axis=1) > 0.5)
    if len(usable) < 2:
        return None
    return np.asarray(lines[usable[:: -(-len(usable) // _MAX_LINES)]])


def _second_difference(values: NDArray[np.complex64], axis: int) -> NDArray[np.complex64]:
    """Second difference that also removes a uniform phase slope along ``axis``."""
    step = np.vdot(values[_window(axis, 0, -1)], values[_window(axis, 1, None)])
    turn = np.complex64(np.exp(-1j * np.angle(step)))
    before, here, after = (values[_window(axis, a, b)] for a, b in ((0, -2), (1, -1), (2, None)))
    return np.asarray(after * turn - 2 * here + before * np.conj(turn), dtype=np.complex64)


def _window(axis: int, start: int, stop: int | None) -> tuple[slice, ...]:
    return (slice(None),) * axis + (slice(start, stop),)


def _peak_frequency(signal: NDArray[np.complex64], axis: int) -> float:
    """Frequency of the object itself along ``axis``, cycles per voxel."""
    ahead, behind = signal[_window(axis, 1, None)], signal[_window(axis, 0, -1)]
    return float(np.angle(np.vdot(behind, ahead)) / (2 * np.pi))


def _shape_of_whole(level: NDArray[np.float64]) -> NDArray[np.float64]:
    """Noise power per line, summing to 1, of an axis without an empty band: white unless plainly filtered.

    A gentle slope is what remains of the tissue; noise itself slopes only under a strong k-space filter.
    """
    shape = np.minimum(level / np.quantile(level, 0.9), 1.0)
    if shape.min() > 10 ** (-_FILTER_DB / 10):
        shape = np.ones_like(level)
    return np.asarray(shape / shape.sum(), dtype=np.float64)


def _shape_of_band(level: NDArray[np.float64], low: float, high: float) -> NDArray[np.float64]:
    """Noise power per line, summing to 1, of a band (low, high) in lines: flat but for what its edges show.

    Each edge is measured against the lines just inside it, so that tissue left at the centre does not count.
    """
    n, width = len(level), high - low
    near = max(2, n // 20)
    inward = np.mod(np.arange(n) + 0.5 - low, n)
    inward = np.where(inward > (width + n) / 2, inward - n, inward)
    shape = np.ones(n)
    for depth in (inward, width - inward):
        inside = np.median(level[(depth > 1.5) & (depth < 1.6 + near)])
        edge = (depth < min(2 + near, width / 2)) & (depth <= width - depth)
        shape[edge] = np.minimum(level[edge] / inside, 1.0)
    return np.asarray(shape / shape.sum(), dtype=np.float64)


def _find_step(level_db: NDArray[np.float64]) -> tuple[float, float] | None:
    """The acquired band (low, high), in lines and cyclic, from every line's noise; None: no band is empty.

    Bands are the cyclic runs below a threshold; the one that counts drops steepest at its shallower side.
    """
    n = len(level_db)
    best, band = _MIN_DEPTH_DB, None
    for threshold in np.arange(level_db.max() - 1, max(level_db.min(), level_db.max() - _SPAN_DB), -1.0):
        start, length = _longest_run(level_db < threshold)
        if length < max(2, _MIN_EMPTY * n) or length > (1 - _MIN_ACQUIRED) * n:
            continue
        # Turned so that the empty band comes first; mirrored, its other edge is found the same way.
        turned = np.roll(level_db, -start)
        rise, rise_db = _edge(turned, length)
        fall, fall_db = _edge(np.roll(turned, -length)[::-1], length)
        if min(rise_db, fall_db) > best:
            best = min(rise_db, fall_db)
            band = (start + rise, start + n + length - fall)
    return band


def _edge(level_db: NDArray[np.float64], length: int) -> tuple[float, float]:
    """Where the empty band, the first ``length`` lines, ends, in lines; and by how much the level rises, dB.

    Both sides are measured close to the edge: a filter, or the object itself, falls too slowly to matter.
    """
    near = max(2, len(level_db) // 20)
    empty = float(np.median(level_db[max(length - 1 - near, 0) : length - 1]))
    inside = float(np.median(level_db[length + 1 : length + 1 + near]))
    drop = min(_EDGE_DB, max(inside - empty, 0.0) / 2)
    # Nothing below twice the drop counts, so that a perfect step lies midway between two lines.
    seen = np.maximum(level_db[: length + 1 + near], inside - 2 * drop)
    below = np.flatnonzero(seen[:-1] <= inside - drop)
    last = int(below[-1]) if len(below) else length - 1
    step = seen[last + 1] - seen[last]
    fraction = (inside - drop - seen[last]) / step if step > 0 else 0.0
    return float(last + 0.5 + fraction), inside - empty


def _place(low: float, high: float, peak: float, slack: float) -> AxisSupport:
    """The band (low, high) as an AxisSupport: shifts of whole cycles and slack taken off.

    A phase slope across the image may have pushed the acquired window over the edge of k-space. Such a band
    has no ``low < high`` as stored: it is then given relative to the object's own frequency ``peak``.
    """
    low, high = low - np.floor(low + 0.5), high - np.floor(low + 0.5)
    if low > 0.5 - slack:
        low, high = low - 1, high - 1
    if high > 0.5 + slack:
        low, high = low - peak, high - peak
        turns = np.round((low + high) / 2)
        low, high = low - turns, high - turns
    return AxisSupport(max(float(low), -0.5), min(float(high), 0.5))


def _longest_run(below: NDArray[np.bool_]) -> tuple[int, int]:
    """Start and length of the longest cyclic run of True."""
    n = len(below)
    if below.all() or not below.any():
        return 0, n if below.all() else 0
    first_gap = int(np.argmin(below))
    turned = np.roll(below, -first_gap)
    edges = np.flatnonzero(np.diff(np.concatenate([[0], turned.astype(np.int8), [0]])))
    starts, stops = edges[::2], edges[1::2]
    best = int(np.argmax(stops - starts))
    return int((starts[best] + first_gap) % n), int(stops[best] - starts[best])
