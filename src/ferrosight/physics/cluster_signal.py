"""What a voxel shows of a magnetised point: the average of exp(i phase) over the acquisition's point spread.

Outside a cluster the phase at echo time TE is p·(3cos²θ-1)/r³ with p = γ(μ0/4π)·m·TE. A voxel holds

    F(Δ) = ∫ PSF(Δ - u) exp(i p K(u)) du,      K(u) = uᵀ Q u / |u|⁵,

with Q the symmetric traceless matrix of an l = 2 pattern: the dipole's, or one of the four others that
serve as decoys. In units of the voxel, F depends on p/V, on the sub-voxel offset and on B0's direction
only, so that one interpolated table serves every echo, mass and cluster of a scan. ``integrate_signal``
is the slow, obvious reference that the table is tested against.

Two point spreads: ``box``, the average over the voxel, and ``kspace``, the Dirichlet kernel of the k-space
that was acquired. Both are separable, so that a table is three small matrix products per level of p/V.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numba import njit, prange
from numpy.typing import NDArray

from ferrosight.physics.fine_cells import displace_cells, draw_cells
from ferrosight.physics.patterns import HALF as HALF
from ferrosight.physics.patterns import PATTERNS as PATTERNS
from ferrosight.physics.patterns import WIDTH as WIDTH
from ferrosight.physics.patterns import pattern_matrix as pattern_matrix
from ferrosight.physics.patterns import voxel_edges as voxel_edges
from ferrosight.physics.patterns import window_voxels as window_voxels
from ferrosight.physics.point_spread import PointSpreadKind as PointSpreadKind
from ferrosight.physics.point_spread import Readout as Readout
from ferrosight.physics.point_spread import Supports as Supports
from ferrosight.physics.point_spread import point_spread_weights as point_spread_weights
from ferrosight.physics.table_reading import (
    FIRST_NODE,
    LOG_STEP,
    N_LEVELS,
    N_NODES,
    NODES_PER_VOXEL,
    Q_MIN,
    demodulating_phase,
)
from ferrosight.physics.trigonometry import sin_cos

#: Fine cells per voxel edge, where the source is weak (by point spread: a box has edges to resolve) and where
#: it is not. Each cell holds its own average to first order in the phase gradient, which is why so few suffice
#: (see the convergence test).
CELLS_WEAK = {"box": 12, "kspace": 8}
CELLS_STRONG = 6
_WEAK_Q = 1.0
#: Voxels beyond the window that the point spread still brings into a voxel.
_MARGIN = {"box": 0.5, "kspace": 3.0}


@dataclass(frozen=True)
class SignalTable:
    """Interpolation table of F for one pattern on one voxel lattice.

    ``values`` complex64 (level, node, node, node, voxel): F less its demodulating phase, with the source at
    sub-voxel positions from -0.75 to 0.75 voxels along each axis; ``voxels`` int64 (voxel, 3) are the
    window's voxels relative to its middle one; ``edges`` (3,) are voxel edges in units of the cube root of
    the voxel's volume.
    """

    pattern: str
    kind: PointSpreadKind
    matrix: NDArray[np.float64]
    edges: NDArray[np.float64]
    voxels: NDArray[np.int64]
    values: NDArray[np.complex64]


def q_levels() -> NDArray[np.float64]:
    """|p|/V (N_LEVELS,) at which tables hold values."""
    return np.asarray(Q_MIN * np.exp(LOG_STEP * np.arange(N_LEVELS)), dtype=np.float64)


def build_signal_table(
    pattern: str,
    voxel_mm: Sequence[float],
    b0_in_array: NDArray[np.float64],
    kind: PointSpreadKind,
    supports: Supports,
    voxels: NDArray[np.int64],
    *,
    core_edges: float = 0.0,
    readout: Readout | None = None,
    levels: slice = slice(None),
    refine: int = 1,
) -> SignalTable:
    """Tabulate F of one pattern for the voxels of a window.

    ``core_edges`` is the radius inside which the field stops growing, in cube-root-of-voxel-volume units;
    ``levels`` fills only some levels of |p|/V (the others are NaN); ``refine`` multiplies the fine cells per
    voxel, to show that they suffice.
    """
    edges = voxel_edges(voxel_mm)
    matrix = pattern_matrix(pattern, b0_in_array)
    at = _offset_indices(voxels)
    values = np.empty((N_LEVELS, N_NODES, N_NODES, N_NODES, len(voxels)), np.complex64)
    values[sorted(set(range(N_LEVELS)) - set(range(N_LEVELS)[levels]))] = np.nan
    for level in range(N_LEVELS)[levels]:
        q = float(q_levels()[level])
        coarse, offsets = _tabulate_level(q, matrix, edges, kind, supports, voxels, core_edges, readout, refine)
        _demodulate(coarse, q, matrix, edges, *offsets)
        _gather_windows(coarse, at[0], at[1], at[2], values[level])
    values.setflags(write=False)
    return SignalTable(pattern, kind, matrix, edges, voxels, values)


def _tabulate_level(
    q: float,
    matrix: NDArray[np.float64],
    edges: NDArray[np.float64],
    kind: PointSpreadKind,
    supports: Supports,
    voxels: NDArray[np.int64],
    core_edges: float,
    readout: Readout | None,
    refine: int,
) -> tuple[NDArray[np.complex64], list[NDArray[np.float64]]]:
    """F - 1 on the lattice of all offsets that a window needs, and those offsets per axis, voxels."""
    cells_per_voxel = refine * (CELLS_WEAK[kind] if q < _WEAK_Q else CELLS_STRONG)
    spans = np.abs(voxels).max(axis=0) + abs(FIRST_NODE)
    counts = [round(2 * (span + _MARGIN[kind]) * cells_per_voxel) // 2 * 2 for span in spans]
    # A displacement works along the last axis: the box is drawn with the readout there.
    last = 2 if readout is None else readout.axis
    order = [axis for axis in range(3) if axis != last] + [last]
    turned, steps = np.ascontiguousarray(matrix[np.ix_(order, order)]), edges[order]
    fine = draw_cells(q, turned, core_edges, steps, tuple(counts[axis] for axis in order), cells_per_voxel)
    if readout is not None and readout.voxels_per_rad != 0.0:
        per_rad = readout.voxels_per_rad * cells_per_voxel
        fine = displace_cells(fine, q, turned, core_edges, steps / cells_per_voxel, per_rad)
    offsets, weights = [], []
    for span, count, support in zip(spans, counts, supports, strict=True):
        offsets.append(np.arange(round(2 * span * NODES_PER_VOXEL) + 1) / NODES_PER_VOXEL - span)
        cells = (np.arange(count) - 0.5 * count + 0.5) / cells_per_voxel
        weights.append(point_spread_weights(kind, support, offsets[-1], cells))
    coarse = _apply_separable(fine, [weights[axis] for axis in order])
    return np.ascontiguousarray(coarse.transpose(np.argsort(order))), offsets


def _offset_indices(voxels: NDArray[np.int64]) -> list[NDArray[np.int64]]:
    """Per axis, index (node, voxel) into the offsets: voxel - node position, counted in node steps."""
    nodes = np.arange(N_NODES)[:, None]
    half = np.abs(voxels).max(axis=0)
    return [NODES_PER_VOXEL * (voxels[None, :, axis] + half[axis]) + (N_NODES - 1 - nodes) for axis in range(3)]


def _apply_separable(fine: NDArray[np.float32], weights: list[NDArray[np.complex64]]) -> NDArray[np.complex64]:
    """Weigh a box of cells (real or imaginary, cells) along each axis: complex64 (offset, offset, offset)."""
    if all(np.abs(weight.imag).max() <= 1e-7 for weight in weights):
        one, two, three = (np.ascontiguousarray(weight.real) for weight in weights)
        real, imag = (_weigh_box(part, one, two, np.ascontiguousarray(three.T)) for part in fine)
        return np.asarray(real + 1j * imag, dtype=np.complex64)
    first, second, third = weights
    return np.asarray(_weigh_box(fine[0] + np.complex64(1j) * fine[1], first, second, np.ascontiguousarray(third.T)))


@njit(cache=True, parallel=True)
def _weigh_box(cells, first, second, third):  # type: ignore[no-untyped-def]
    """Weigh cells along each axis by (offset, cell), the last by its transpose; real or complex throughout.

    Plane by plane on all threads: BLAS works on one thread here.
    """
    n = len(cells)
    planes = np.empty((n, len(second), third.shape[1]), cells.dtype)
    for i in prange(n):
        np.dot(second, np.dot(cells[i], third), planes[i])
    flat = planes.reshape(n, -1)
    out = np.empty((len(first), flat.shape[1]), cells.dtype)
    n_parts = (len(first) + 7) // 8
    for part in prange(n_parts):
        np.dot(first[part * 8 : (part + 1) * 8], flat, out[part * 8 : (part + 1) * 8])
    return out.reshape(len(first), len(second), third.shape[1])


@njit(cache=True, fastmath=True, parallel=True)
def _demodulate(coarse, q, matrix, edges, x, y, z):  # type: ignore[no-untyped-def]
    """Turn F - 1 on a lattice of offsets into F · exp(-i demodulating phase), in place."""
    for i in prange(len(x)):
        for j in range(len(y)):
            for k in range(len(z)):
                phase = demodulating_phase(q, matrix, x[i] * edges[0], y[j] * edges[1], z[k] * edges[2])
                sine, cosine = sin_cos(phase)
                coarse[i, j, k] = (1.0 + coarse[i, j, k]) * complex(cosine, -sine)


@njit(cache=True, parallel=True)
def _gather_windows(coarse, at_x, at_y, at_z, out):  # type: ignore[no-untyped-def]
    """Fill ``out`` (node, node, node, voxel) from the lattice of all offsets, at each node's indices (node, voxel)."""
    for part in prange(N_NODES * N_NODES):
        a, b = part // N_NODES, part % N_NODES
        for c in range(N_NODES):
            for v in range(out.shape[3]):
                out[a, b, c, v] = coarse[at_x[a, v], at_y[b, v], at_z[c, v]]


def integrate_signal(
    q: float,
    offset_voxels: Sequence[float],
    matrix: NDArray[np.float64],
    edges: NDArray[np.float64],
    kind: PointSpreadKind,
    supports: Supports,
    *,
    core_edges: float = 0.0,
    cells_per_voxel: int = 48,
    reach_voxels: float = 8.0,
) -> complex:
    """F at one offset (3,) of a voxel from the source, by adding up exp(i q K) over a very fine lattice.

    Slow and obvious: no table, no interpolation, no first-order cell average.
    """
    half = 0.5 if kind == "box" else reach_voxels
    n = round(2 * half * cells_per_voxel)
    fine = (np.arange(n) - 0.5 * n + 0.5) / cells_per_voxel
    total = 0.0j
    # Cells are centred on the voxel; positions relative to the source are offset + fine.
    axes = [(offset + fine) * edge for offset, edge in zip(offset_voxels, edges, strict=True)]
    weights = [point_spread_weights(kind, support, np.zeros(1), fine)[0].astype(np.complex128) for support in supports]
    yy, zz = np.meshgrid(axes[1], axes[2], indexing="ij")
    plane = weights[1][:, None] * weights[2][None, :]
    for x, weight in zip(axes[0], weights[0], strict=True):
        points = np.stack([np.full_like(yy, x), yy, zz], axis=-1)
        r = np.maximum(np.linalg.norm(points, axis=-1), 1e-9)
        form = np.einsum("...a,ab,...b->...", points, matrix, points)
        kernel = form / (r**2 * np.maximum(r, core_edges) ** 3)
        total += weight * complex(np.sum(plane * (np.exp(1j * q * kernel) - 1.0)))
    return 1.0 + total
