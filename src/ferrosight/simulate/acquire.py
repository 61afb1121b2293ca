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
from ferrosight.simulate.point_spread import SeenBodies, see_bodies
from ferrosight.simulate.spec import ScanSpec

ComplexArray = NDArray[np.complex128]
FloatArray = NDArray[np.float64]

#: Error of the signal, as a share, that the sampling of a readout in time may leave at the largest displacement.
_READOUT_TOLERANCE = 0.02

#: Displacement by a body's field, voxels, up to which the sampling in time holds. What moves further is next to a body,
#: and dephases there.
_BODY_VOXELS = 0.6


def acquire_echoes(spec: ScanSpec, tissue: Tissue, bodies: Sequence[Body]) -> ComplexArray:
    """The echoes (echo, x, y, z) without noise.

    Notes
    -----
    A line k (cycles per voxel) of the readout is acquired at TE + k/bandwidth. The images at a few times of
    the readout, where its decay and phase are exact, are combined line by line with the weights of polynomial
    interpolation between those times (Chebyshev's nodes). A field of f Hz so moves signal by f/bandwidth
    voxels along the readout, and decay blurs it. Fat's shifts are the same for all fat, and are exact.
    """
    nodes_s = np.zeros(1) if math.isinf(spec.bandwidth_hz) else _choose_times(spec)
    times_s = np.add.outer(np.array(spec.echo_times_s), nodes_s)
    seen = see_bodies(
        bodies,
        spec.shape,
        np.array(spec.grid.voxel_mm) * 1e-3,
        int(spec.phase_sign) * times_s.ravel(),
        spec.point_spread,
        spec.sub_sampling,
    )
    echoes = np.empty((len(times_s), *spec.shape), dtype=np.complex128)
    for echo in range(len(times_s)):
        echoes[echo] = _read_out(spec, tissue, seen, echo, nodes_s)
    return _move(echoes, spec)


def _read_out(spec: ScanSpec, tissue: Tissue, seen: SeenBodies, echo: int, nodes_s: FloatArray) -> ComplexArray:
    """One echo (x, y, z), each line of its readout at its own time."""
    axis, time_s = spec.readout_axis, spec.echo_times_s[echo]
    after_s = _line_times(spec, echo)
    weights = _interpolation_weights(nodes_s, after_s)
    shape = [1, 1, 1]
    shape[axis] = -1
    total = np.zeros(spec.shape, dtype=np.complex128)
    kinds = (False, True) if tissue.fat is not None else (False,)
    for node, (node_s, weight) in enumerate(zip(nodes_s, weights, strict=True)):
        at_node = np.array([time_s + node_s])
        backgrounds = np.concatenate([tissue_signal(spec, tissue, at_node, is_fat=is_fat) for is_fat in kinds])
        images = seen.acquire(echo * len(nodes_s) + node, backgrounds, spec.support)
        for is_fat, image in zip(kinds, images, strict=True):
            chemical = _chemical(spec, time_s + after_s) if is_fat else np.ones_like(after_s)
            lines = fft.fft(image, axis=axis, overwrite_x=True)
            lines *= (weight * chemical).reshape(shape)
            total += lines
    return np.asarray(fft.ifft(total, axis=axis, overwrite_x=True))


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
