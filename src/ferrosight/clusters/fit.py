"""The full complex fit of sources in their windows, neighbours included.

Nothing is unwrapped and nothing is masked for being dark: void and lobes are one model. Neighbours already
explained enter a window as a fixed factor, computed once per source on a cube of voxels around it.
"""

from __future__ import annotations

from dataclasses import dataclass, fields, replace
from functools import cached_property
from typing import Any

import numpy as np
from numba import njit, prange
from numpy.typing import NDArray

from ferrosight.clusters.starts import N_FOLLOWED, descend_from_best, find_starts, tabulate_starts
from ferrosight.clusters.windows import (
    MAX_STEPS,
    N_BACKGROUND,
    N_PARAMETERS,
    copy_into,
    descend,
    invert,
    measure_chi2,
    measure_phase_chi2,
)
from ferrosight.physics.cluster_signal import SignalTable
from ferrosight.physics.fine_cells import cell_average
from ferrosight.physics.table_reading import interpolate_signal

#: Half width, in voxels, of the cube on which a source's factor is kept for its neighbours.
BLOCK_HALF = 8
#: Relative error of a moment that remains at any signal: the tabulated point spread against simulated truth.
TABLE_REL_SD = 0.005
#: What a run of fits does: go on from where the sources are, search for a start first, or search only.
_CONTINUE, _SEARCH, _START = 0, 1, 2
_MAX_MOVES = 3


@dataclass(frozen=True)
class WindowData:
    """What every fit of a scan shares.

    ``signal`` complex64 (echo, x, y, z) in units of one real channel's noise; ``weights`` float32 of the same
    shape, 0 outside the mask; ``ratios`` (echo,) echo times over the first; ``tables`` one per pattern, on
    the same ``voxels`` (n, 3); ``model_error`` the relative error of a source's factor, by which voxels near
    a neighbour lose weight. ``origin`` (3,) is the scan's first voxel within these padded arrays.
    """

    signal: NDArray[np.complex64]
    weights: NDArray[np.float32]
    ratios: NDArray[np.float64]
    tables: tuple[SignalTable, ...]
    voxels: NDArray[np.int64]
    basis: NDArray[np.float32]
    origin: NDArray[np.int64]
    model_error: float = 0.0

    @cached_property
    def starts(self) -> tuple[NDArray[np.complex64], ...]:
        """Per pattern, the signals that a search starts from (sign, echo, start, voxel)."""
        return tuple(tabulate_starts(table, self.ratios) for table in self.tables)

    @property
    def edges(self) -> NDArray[np.float64]:
        """Voxel edges (3,) in cube-root-of-voxel-volume units."""
        return self.tables[0].edges


@dataclass(frozen=True)
class Sources:
    """Fitted sources, a row each.

    ``patterns`` (n,) index of the pattern; ``centres`` (n, 3) the windows' middle voxels in the padded
    arrays; ``shifts`` (n, 3) positions relative to them, voxels; ``q`` p/V at the first echo, signed;
    ``covariance`` (n, 4, 4) of (q, shift) for the measured noise; ``chi2`` and ``chi2_background`` with and
    without the source; ``chi2_phase`` of the residual field that all echoes share; ``n_data`` window voxels
    used; ``steps`` -1 where the fit failed.
    """

    patterns: NDArray[np.int64]
    centres: NDArray[np.int64]
    shifts: NDArray[np.float64]
    q: NDArray[np.float64]
    covariance: NDArray[np.float64]
    chi2: NDArray[np.float64]
    chi2_background: NDArray[np.float64]
    chi2_phase: NDArray[np.float64]
    n_data: NDArray[np.int64]
    steps: NDArray[np.int64]
    n_echoes: int

    def __post_init__(self) -> None:
        # Compiled loops are compiled anew, for half a minute, for any other order of the numbers in memory.
        for name in ("centres", "shifts", "covariance"):
            object.__setattr__(self, name, np.ascontiguousarray(getattr(self, name)))

    def __len__(self) -> int:
        return len(self.q)

    @property
    def positions(self) -> NDArray[np.float64]:
        """Fractional voxel indices (n, 3) in the padded arrays."""
        return np.asarray(self.centres + self.shifts, dtype=np.float64)

    @property
    def dof(self) -> NDArray[np.float64]:
        """Real degrees of freedom left by background and source."""
        free = 2.0 * self.n_echoes * (self.n_data - N_BACKGROUND) - N_PARAMETERS
        return np.asarray(np.maximum(free, 1.0), dtype=np.float64)

    @property
    def misfit(self) -> NDArray[np.float64]:
        """χ²/dof of all data or of the field that the echoes share, whichever is larger.

        Structure that the model lacks is a field, the same in every echo: over all data it hides behind the
        noise of many echoes, but a source's strength is mistaken by as much as it is in the field.
        """
        of_field = self.chi2_phase / np.maximum(self.n_data - N_BACKGROUND - N_PARAMETERS, 1)
        return np.asarray(np.fmax(self.chi2 / self.dof, of_field), dtype=np.float64)

    @property
    def score(self) -> NDArray[np.float64]:
        """Root of the likelihood ratio over the misfit, in standard deviations; 0 where the fit failed."""
        gain = np.maximum(self.chi2_background - self.chi2, 0.0)
        with np.errstate(invalid="ignore", divide="ignore"):
            score = np.sqrt(gain / self.misfit)
        return np.where((self.steps >= 0) & np.isfinite(score), score, 0.0)

    def pick(self, rows: NDArray[np.int64] | NDArray[np.bool_]) -> Sources:
        """The rows of an index or mask array."""
        arrays: dict[str, Any] = {f.name: getattr(self, f.name)[rows] for f in fields(self) if f.name != "n_echoes"}
        return replace(self, **arrays)

    def join(self, other: Sources) -> Sources:
        """These rows, then the other's."""
        arrays: dict[str, Any] = {
            f.name: np.concatenate([getattr(self, f.name), getattr(other, f.name)])
            for f in fields(self)
            if f.name != "n_echoes"
        }
        return replace(self, **arrays)


def unfitted(
    patterns: NDArray[np.int64], signs: NDArray[np.int64], centres: NDArray[np.int64], n_echoes: int
) -> Sources:
    """Sources to be fitted: only pattern, sign (in ``q``) and place are known."""
    n = len(patterns)
    nothing = np.full(n, np.nan)
    return Sources(
        np.asarray(patterns, dtype=np.int64),
        np.asarray(centres, dtype=np.int64).reshape(n, 3),
        np.zeros((n, 3)),
        np.asarray(signs, dtype=np.float64),
        np.full((n, N_PARAMETERS, N_PARAMETERS), np.nan),
        nothing,
        nothing.copy(),
        nothing.copy(),
        np.zeros(n, np.int64),
        np.full(n, -1, np.int64),
        n_echoes,
    )


@dataclass(frozen=True)
class Neighbours:
    """Factors of explained sources: ``centres`` and ``positions`` (n, 3), ``blocks`` complex64 (n, echo, m, m, m)."""

    centres: NDArray[np.int64]
    blocks: NDArray[np.complex64]
    positions: NDArray[np.float64]


def draw_neighbours(data: WindowData, sources: Sources) -> Neighbours:
    """Every source's factor on a cube around it."""
    width = 2 * BLOCK_HALF + 1
    blocks = np.ones((len(sources), len(data.ratios), width, width, width), np.complex64)
    for pattern, table in enumerate(data.tables):
        rows = np.flatnonzero(sources.patterns == pattern)
        if len(rows):
            part = np.empty((len(rows), *blocks.shape[1:]), np.complex64)
            own = (table.values, table.matrix, table.edges)
            _fill_blocks(sources.shifts[rows], sources.q[rows], data.ratios, own, data.voxels, BLOCK_HALF, part)
            blocks[rows] = part
    return Neighbours(sources.centres, blocks, sources.positions)


def no_neighbours(data: WindowData) -> Neighbours:
    """Nothing explained yet."""
    return Neighbours(
        np.zeros((0, 3), np.int64), np.ones((0, len(data.ratios), 1, 1, 1), np.complex64), np.zeros((0, 3))
    )


def multiply_blocks(shape: tuple[int, ...], neighbours: Neighbours) -> NDArray[np.complex64]:
    """Product of all factors over the whole (echo, x, y, z) volume."""
    product = np.ones(shape, np.complex64)
    half = neighbours.blocks.shape[-1] // 2
    for centre, block in zip(neighbours.centres, neighbours.blocks, strict=True):
        low = np.maximum(centre - half, 0)
        high = np.minimum(centre + half + 1, shape[1:])
        a, b = low - (centre - half), high - (centre - half)
        product[:, low[0] : high[0], low[1] : high[1], low[2] : high[2]] *= block[
            :, a[0] : b[0], a[1] : b[1], a[2] : b[2]
        ]
    return product


def fit_sources(
    data: WindowData, sources: Sources, neighbours: Neighbours, own: NDArray[np.int64] | None = None, *, search: bool
) -> Sources:
    """Fit every source in its own window, its place followed where it moves to the next voxel.

    ``own`` (n,) is each source's own row among the neighbours, -1 where it is not one of them. ``search``
    starts from the best of a grid of strengths and positions, otherwise the fit goes on from where the sources are.
    """
    return _run_fits(data, sources, neighbours, own, _SEARCH if search else _CONTINUE)


def start_sources(data: WindowData, sources: Sources, neighbours: Neighbours) -> Sources:
    """The best start of every source on its grid of strengths and positions, not yet refined."""
    return _run_fits(data, sources, neighbours, None, _START)


def _run_fits(
    data: WindowData, sources: Sources, neighbours: Neighbours, own: NDArray[np.int64] | None, mode: int
) -> Sources:
    n = len(sources)
    own = np.full(n, -1, np.int64) if own is None else own
    centres = sources.centres.copy()
    shifts, q = sources.shifts.copy(), sources.q.copy()
    covariance = np.full((n, N_PARAMETERS, N_PARAMETERS), np.nan)
    numbers = np.full((n, 5), np.nan)
    for pattern, table in enumerate(data.tables):
        rows = np.flatnonzero(sources.patterns == pattern)
        if not len(rows):
            continue
        parts = [array[rows] for array in (centres, shifts, q, covariance, numbers)]
        _fit_many(
            (data.signal, data.weights),
            data.model_error,
            (neighbours.centres, neighbours.blocks),
            own[rows],
            data.ratios,
            (table.values, table.matrix, table.edges),
            data.starts[pattern],
            (data.voxels, data.basis),
            mode,
            tuple(parts),
        )
        for array, part in zip((centres, shifts, q, covariance, numbers), parts, strict=True):
            array[rows] = part
    n_data, steps = (np.nan_to_num(numbers[:, k], nan=-1).astype(np.int64) for k in (3, 4))
    chi2, chi2_background, chi2_phase = numbers[:, 0], numbers[:, 1], numbers[:, 2]
    return Sources(
        sources.patterns,
        centres,
        shifts,
        q,
        covariance,
        chi2,
        chi2_background,
        chi2_phase,
        n_data,
        steps,
        sources.n_echoes,
    )


@njit(cache=True, fastmath=True, parallel=True)
def _fill_blocks(shifts, q, ratios, table, voxels, half, blocks):  # type: ignore[no-untyped-def]
    """Factor of every source on a cube of voxels around it: the table near, the voxel's mean phase far."""
    values, matrix, edges = table
    n = len(voxels)
    for f in prange(len(q)):
        signal = np.empty(n, np.complex64)
        slopes = np.empty((N_PARAMETERS, n), np.complex64)
        for e in range(len(ratios)):
            strength = q[f] * ratios[e]
            for i in range(-half, half + 1):
                for j in range(-half, half + 1):
                    for k in range(-half, half + 1):
                        blocks[f, e, i + half, j + half, k + half] = cell_average(
                            strength,
                            matrix,
                            0.0,
                            (i - shifts[f, 0]) * edges[0],
                            (j - shifts[f, 1]) * edges[1],
                            (k - shifts[f, 2]) * edges[2],
                            edges[0],
                            edges[1],
                            edges[2],
                        )
            interpolate_signal(values, matrix, edges, voxels, strength, shifts[f], signal, slopes)
            for v in range(n):
                blocks[f, e, voxels[v, 0] + half, voxels[v, 1] + half, voxels[v, 2] + half] = signal[v]


@njit(cache=True, fastmath=True)
def cut_window(signal, weights, centre, voxels, data, weight):  # type: ignore[no-untyped-def]
    """Copy a window out of the volumes; voxels outside the image get weight 0. Returns the voxels used."""
    n_echoes, nx, ny, nz = signal.shape
    used = 0
    for v in range(len(voxels)):
        i, j, k = centre[0] + voxels[v, 0], centre[1] + voxels[v, 1], centre[2] + voxels[v, 2]
        inside = 0 <= i < nx and 0 <= j < ny and 0 <= k < nz
        for e in range(n_echoes):
            data[e, v] = signal[e, i, j, k] if inside else 0.0
            weight[e, v] = weights[e, i, j, k] if inside else 0.0
        if inside and weights[0, i, j, k] > 0.0:
            used += 1
    return used


@njit(cache=True, fastmath=True)
def multiply_neighbours(centre, voxels, own, block_centres, blocks, other):  # type: ignore[no-untyped-def]
    """Product (echo, voxel) over a window of the factors of all sources near it but number ``own``."""
    other[:] = 1.0
    for b in range(len(block_centres)):
        if b != own:
            multiply_neighbour(centre, voxels, block_centres[b], blocks[b], other)


@njit(cache=True, fastmath=True)
def multiply_neighbour(centre, voxels, block_centre, block, other):  # type: ignore[no-untyped-def]
    """Multiply ``other`` (echo, voxel) by the factor of one source, if that is near."""
    half = block.shape[1] // 2
    reach = half + 4
    dx = centre[0] - block_centre[0]
    dy = centre[1] - block_centre[1]
    dz = centre[2] - block_centre[2]
    if max(abs(dx), abs(dy), abs(dz)) > reach:
        return
    for v in range(len(voxels)):
        i, j, k = dx + voxels[v, 0], dy + voxels[v, 1], dz + voxels[v, 2]
        if max(abs(i), abs(j), abs(k)) <= half:
            for e in range(other.shape[0]):
                other[e, v] *= block[e, i + half, j + half, k + half]


@njit(cache=True, fastmath=True)
def discount_neighbours(data, other, model_error, weight):  # type: ignore[no-untyped-def]
    """Lower the weight of voxels that a neighbour changes: its factor is known to ``model_error`` only."""
    for e in range(data.shape[0]):
        power = 0.0
        total = 0.0
        for v in range(data.shape[1]):
            if weight[e, v] > 0.0:
                power += data[e, v].real ** 2 + data[e, v].imag ** 2
                total += 1.0
        power *= model_error * model_error / max(total, 1.0)
        for v in range(data.shape[1]):
            change = other[e, v] - 1.0
            weight[e, v] /= 1.0 + power * (change.real**2 + change.imag**2)


@njit(cache=True, fastmath=True)
def open_window(volumes, model_error, neighbours, own, voxels, centre, opened):  # type: ignore[no-untyped-def]
    """Fill ``opened`` (data, others' factor, weight), each (echo, voxel), for a window's middle voxel.

    The others are all of ``neighbours`` (centres, blocks) but number ``own``. Returns the voxels used.
    """
    data, other, weight = opened
    used = cut_window(volumes[0], volumes[1], centre, voxels, data, weight)
    multiply_neighbours(centre, voxels, own, neighbours[0], neighbours[1], other)
    discount_neighbours(data, other, model_error, weight)
    return used


@njit(cache=True, fastmath=True, parallel=True)
def _fit_many(volumes, model_error, neighbours, own, ratios, table, starts, window, mode, found):  # type: ignore[no-untyped-def]
    """Fit every row of ``found`` (centres, shifts, q, covariance, numbers), in place."""
    voxels, basis = window
    centres, shifts, q, covariance, numbers = found
    shape = volumes[0].shape
    n_echoes = shape[0]
    n = len(voxels)
    for f in prange(len(q)):
        data = np.empty((n_echoes, n), np.complex64)
        weight = np.empty((n_echoes, n), np.float32)
        other = np.empty((n_echoes, n), np.complex64)
        gram = np.empty((N_PARAMETERS, N_PARAMETERS))
        best = np.empty((N_FOLLOWED, 1 + 3))
        shift = shifts[f].copy()
        centre = centres[f].copy()
        strength = q[f]
        chi2, steps, used = -1.0, -1, 0
        for attempt in range(_MAX_MOVES):
            used = open_window(volumes, model_error, neighbours, own[f], voxels, centre, (data, other, weight))
            if used < 3 * N_BACKGROUND:
                steps = -1
                break
            arrays = (data, other, weight, ratios, table, voxels, basis)
            if attempt == 0 and mode != _CONTINUE:
                sign = 1.0 if strength > 0 else -1.0
                n_starts, chi2 = find_starts(data, other, weight, basis, starts[int(sign > 0)], ratios[-1], best)
                strength = sign * best[0, 0]
                copy_into(shift, best[0, 1:])
                steps = 0
                if mode == _START:
                    break
                strength, chi2, steps = descend_from_best(*arrays, sign, best[:n_starts], shift, gram)
            else:
                strength, chi2, steps = descend(*arrays, strength, shift, gram, MAX_STEPS)
            if steps < 0 or attempt == _MAX_MOVES - 1:
                break
            moved = False
            for axis in range(3):
                whole = int(np.round(shift[axis]))
                inside = centre[axis] + whole
                if abs(shift[axis]) > 0.55 and 0 <= inside < shape[axis + 1]:
                    centre[axis] = inside
                    shift[axis] -= whole
                    moved = True
            if not moved:
                break
        copy_into(centres[f], centre)
        copy_into(shifts[f], shift)
        q[f] = strength
        numbers[f, 0] = chi2
        numbers[f, 3] = used
        numbers[f, 4] = steps
        if steps >= 0:
            numbers[f, 1] = measure_chi2(data, other, weight, ratios, table, voxels, basis, 0.0, shift)
            if mode != _START:
                numbers[f, 2] = measure_phase_chi2(data, other, weight, ratios, table, voxels, basis, strength, shift)
                invert(gram, strength, covariance[f])
