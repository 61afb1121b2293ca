"""From tissue and bodies to noiseless echoes: readout, chemical shift and motion on top of the point spread."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from scipy import fft

from ferrosight.physics.fat import fat_signal
from ferrosight.simulate.background import Tissue, tissue_signal
from ferrosight.simulate.bodies import Body
from ferrosight.simulate.point_spread import apply_bodies
from ferrosight.simulate.spec import ScanSpec

ComplexArray = NDArray[np.complex128]
FloatArray = NDArray[np.float64]

#: Error of the signal, as a share, that the sampling of a readout in time may leave at the largest displacement.
_READOUT_TOLERANCE = 0.01

#: Displacement by a body's field, voxels, up to which the sampling in time holds. What moves further is next to a body,
#: and dephases there.
_BODY_VOXELS = 1.0


def acquire_echoes(spec: ScanSpec, tissue: Tissue, bodies: Sequence[Body]) -> ComplexArray:
    """The echoes (echo, x, y, z) without noise.

    Notes
    -----
    A line k (cycles per voxel) of the readout is acquired at TE + k/bandwidth. The images at a few times of
    the readout, where its decay and phase are exact, are combined line by line with the weights of polynomial
    interpolation between those times (Chebyshev's nodes). A field of f Hz so moves signal by f/bandwidth
    voxels along the readout, and decay blurs it. Fat's shifts are the same for all fat, and are exact.
    """
    if math.isinf(spec.bandwidth_hz):
        return _move(_acquire_together(spec, tissue, bodies, np.array(spec.echo_times_s)), spec)
    echoes = [_acquire_readout(spec, tissue, bodies, echo) for echo in range(len(spec.echo_times_s))]
    return _move(np.stack(echoes), spec)


def _acquire_together(spec: ScanSpec, tissue: Tissue, bodies: Sequence[Body], times_s: FloatArray) -> ComplexArray:
    """Images (time, x, y, z), each as if all of its k-space were acquired at its time."""
    result = _image(spec, tissue, bodies, times_s, is_fat=False)
    if tissue.fat is not None:
        chemical = _chemical(spec, times_s)
        result += chemical[:, None, None, None] * _image(spec, tissue, bodies, times_s, is_fat=True)
    return result


def _acquire_readout(spec: ScanSpec, tissue: Tissue, bodies: Sequence[Body], echo: int) -> ComplexArray:
    """One echo (x, y, z), each line of its readout at its own time."""
    axis = spec.readout_axis
    after_s, nodes_s = _line_times(spec, echo), _choose_times(spec)
    times_s = spec.echo_times_s[echo] + nodes_s
    weights = _interpolation_weights(nodes_s, after_s)
    shape = [1, 1, 1, 1]
    shape[0], shape[axis + 1] = weights.shape
    weights = weights.reshape(shape)
    lines = (fft.fft(_image(spec, tissue, bodies, times_s, is_fat=False), axis=axis + 1) * weights).sum(axis=0)
    if tissue.fat is not None:
        fat = (fft.fft(_image(spec, tissue, bodies, times_s, is_fat=True), axis=axis + 1) * weights).sum(axis=0)
        lines += fat * _chemical(spec, spec.echo_times_s[echo] + after_s).reshape(shape[1:])
    return np.asarray(fft.ifft(lines, axis=axis))


def _image(
    spec: ScanSpec, tissue: Tissue, bodies: Sequence[Body], times_s: FloatArray, *, is_fat: bool
) -> ComplexArray:
    return apply_bodies(
        tissue_signal(spec, tissue, times_s, is_fat=is_fat),
        bodies,
        np.array(spec.grid.voxel_mm) * 1e-3,
        int(spec.phase_sign) * times_s,
        spec.point_spread,
        spec.support,
        spec.sub_sampling,
    )


def _chemical(spec: ScanSpec, times_s: FloatArray) -> ComplexArray:
    signal = fat_signal(times_s, spec.b0_t)
    return signal if spec.phase_sign > 0 else signal.conj()


def _line_times(spec: ScanSpec, echo: int) -> FloatArray:
    """When each line of the readout (numpy's FFT order) is acquired, seconds after the echo time."""
    # The k-space of conjugated images runs backwards. So chosen, a stronger field moves signal up the axis.
    way = -int(spec.phase_sign) * (-1 if spec.is_bipolar and echo % 2 else 1)
    return np.asarray(way * fft.fftfreq(spec.shape[spec.readout_axis]) / spec.bandwidth_hz)


def _choose_times(spec: ScanSpec) -> FloatArray:
    """The times of a readout at which images are made, seconds after the echo time.

    As many as are enough: interpolation of exp(ix), |x| ≤ z, between n nodes errs by 2(z/2)^n/n!.
    """
    voxels = spec.background_hz / spec.bandwidth_hz + (_BODY_VOXELS if spec.sources else 0.1)
    n, error = 1, math.inf
    while error > _READOUT_TOLERANCE:
        n += 1
        error = 2 * (math.pi * voxels / 2) ** n / math.factorial(n)
    nodes = np.cos(np.pi * (np.arange(n) + 0.5) / n)
    return np.asarray(nodes / (2 * spec.bandwidth_hz))


def _interpolation_weights(nodes: FloatArray, wanted: FloatArray) -> FloatArray:
    """Lagrange's weights (node, wanted)."""
    ratios = [
        [(wanted - other) / (node - other) for j, other in enumerate(nodes) if j != i] for i, node in enumerate(nodes)
    ]
    return np.asarray(np.prod(ratios, axis=1))


def _move(echoes: ComplexArray, spec: ScanSpec) -> ComplexArray:
    """The echoes with all that is in them moved by ``motion_mm``, periodic."""
    moves = np.array(spec.motion_mm).reshape(-1, 3) @ spec.grid.axes / np.array(spec.grid.voxel_mm)
    for echo, move in enumerate(moves):
        for axis in np.flatnonzero(move).tolist():
            shape = [-1 if a == axis else 1 for a in range(3)]
            ramp = np.exp(-2j * np.pi * fft.fftfreq(spec.shape[axis]) * move[axis]).reshape(shape)
            echoes[echo] = fft.ifft(fft.fft(echoes[echo], axis=axis) * ramp, axis=axis)
    return echoes
