"""The table against sums over fine lattices that share nothing with it but the definition of F."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from ferrosight.physics.cluster_signal import (
    HALF,
    PATTERNS,
    PointSpreadKind,
    Readout,
    SignalTable,
    Supports,
    build_signal_table,
    integrate_signal,
    pattern_matrix,
    point_spread_weights,
    voxel_edges,
    window_voxels,
)
from ferrosight.physics.dipole import harmonic_pattern
from ferrosight.physics.fine_cells import cell_average
from ferrosight.physics.table_reading import N_LEVELS, Q_MAX, Q_MIN, interpolate_roughly, interpolate_signal
from ferrosight.types import AxisSupport

FULL: Supports = (AxisSupport(), AxisSupport(), AxisSupport())
FILLED: Supports = (AxisSupport(-0.25, 0.25), AxisSupport(), AxisSupport(-1 / 3, 1 / 3))
PARTIAL: Supports = (AxisSupport(), AxisSupport(-0.25, 0.5), AxisSupport(-0.4, 0.3))

#: Voxel edges in mm and B0 along the array's axes.
LATTICES = {
    "cubes": ((0.1, 0.1, 0.1), (0.0, 0.0, 1.0)),
    "flat": ((0.0546875, 0.0363281, 0.0363281), (0.8, 0.6, 0.0)),
    "oblique": ((0.06, 0.1, 0.08), (0.48, 0.6, 0.64)),
}
ACQUISITIONS: dict[str, tuple[PointSpreadKind, Supports]] = {
    "box": ("box", FULL),
    "full": ("kspace", FULL),
    "filled": ("kspace", FILLED),
    "partial": ("kspace", PARTIAL),
}

#: Two stand for all where time counts.
SOME_ACQUISITIONS = [
    pytest.param(name, marks=() if name in ("box", "partial") else pytest.mark.slow) for name in ACQUISITIONS
]

ComplexArray = NDArray[np.complex128]
FloatArray = NDArray[np.float64]


@pytest.fixture
def rng(request: pytest.FixtureRequest) -> np.random.Generator:
    """One stream per test, the same every time: named after the test, not picked."""
    return np.random.default_rng(list(request.node.nodeid.encode()))


@dataclass(frozen=True)
class Case:
    """One lattice under one acquisition, and the voxels looked at."""

    voxel_mm: tuple[float, float, float]
    b0: FloatArray
    kind: PointSpreadKind
    supports: Supports
    voxels: NDArray[np.int64]

    def build(self, pattern: str, *strengths: float, **options: Any) -> SignalTable:
        """A table of the levels between which these strengths are interpolated, and no others."""
        per_log = (N_LEVELS - 1) / np.log(Q_MAX / Q_MIN)
        at = [int(np.log(max(abs(q), Q_MIN) / Q_MIN) * per_log) for q in strengths]
        low = [min(max(level, 1), N_LEVELS - 3) - 1 for level in at]
        levels = slice(min(low), max(low) + 4)
        return build_signal_table(
            pattern, self.voxel_mm, self.b0, self.kind, self.supports, self.voxels, levels=levels, **options
        )

    def integrate(self, pattern: str, q: float, shift: FloatArray) -> ComplexArray:
        """F of every voxel by brute force."""
        matrix, edges = pattern_matrix(pattern, self.b0), voxel_edges(self.voxel_mm)
        if self.kind == "kspace":
            return sum_lattices(q, shift, matrix, edges, self.supports, self.voxels)
        return np.array([integrate_signal(q, v - shift, matrix, edges, "box", FULL) for v in self.voxels])


def make_case(lattice: str, acquisition: str, radius: float = 2.0) -> Case:
    voxel_mm, b0 = LATTICES[lattice]
    kind, supports = ACQUISITIONS[acquisition]
    return Case(voxel_mm, np.array(b0), kind, supports, window_voxels(voxel_mm, radius))


def interpolate(table: SignalTable, q: float, shift: FloatArray) -> tuple[ComplexArray, ComplexArray]:
    signal = np.empty(len(table.voxels), np.complex64)
    slopes = np.empty((4, len(table.voxels)), np.complex64)
    interpolate_signal(table.values, table.matrix, table.edges, table.voxels, q, shift, signal, slopes)
    return signal.astype(complex), slopes.astype(complex)


def sum_lattices(
    q: float, shift: FloatArray, matrix: FloatArray, edges: FloatArray, supports: Supports, voxels: NDArray[np.int64]
) -> ComplexArray:
    """``integrate_signal`` under truncated k-space for all voxels at once: point samples on a lattice that is
    fine within 3 voxels of the source's own and coarse to 11."""
    near, far, coarse_cells = 3, 11, 6
    fine_cells = 16 if abs(q) < 1 else 24 if abs(q) < 25 else 40
    steps = np.arange(-HALF, HALF + 1)
    total = np.zeros((len(steps),) * 3, complex)
    for half, cells in ((near, fine_cells), (far, coarse_cells)):
        axis = (np.arange(2 * half * cells) + 0.5) / cells - half
        apart = steps[:, None] - axis[None, :]
        weights = [
            one.width / cells * np.sinc(one.width * apart) * np.exp(1j * np.pi * (one.low + one.high) * apart)
            for one in supports
        ]
        rows, y, z = ((axis - moved) * edge for moved, edge in zip(shift, edges, strict=True))
        y, z = np.meshgrid(y, z, indexing="ij")
        flat = matrix[1, 1] * y * y + matrix[2, 2] * z * z + 2 * matrix[1, 2] * y * z
        slope = 2 * matrix[0, 1] * y + 2 * matrix[0, 2] * z
        beyond = (np.abs(axis) > near)[:, None] | (np.abs(axis) > near)[None, :]
        for at, x in enumerate(rows):
            r2 = x * x + y * y + z * z
            phase = q * (flat + x * (matrix[0, 0] * x + slope)) / (r2 * r2 * np.sqrt(r2))
            plane = np.empty(phase.shape, complex)
            plane.real, plane.imag = np.cos(phase) - 1, np.sin(phase)
            if half == far and abs(axis[at]) < near:
                plane *= beyond
            total += weights[0][:, at, None, None] * (weights[1] @ plane @ weights[2].T)[None]
    return np.asarray(1 + total[tuple((voxels + HALF).T)])


def pooled_error(found: list[ComplexArray], references: list[ComplexArray]) -> float:
    """RMS error over the RMS deviation of the references from 1."""
    square = np.mean([np.mean(np.abs(f - r) ** 2) for f, r in zip(found, references, strict=True)])
    return float(np.sqrt(square / np.mean([np.mean(np.abs(r - 1) ** 2) for r in references])))


def measure_error(
    acquisition: str, q: float, patterns: tuple[str, ...], rng: np.random.Generator
) -> tuple[float, float]:
    """The table's error over random sub-voxel offsets, one draw per pattern, lattices in turn: over the RMS of
    F - 1, and in units of the signal."""
    found, references = [], []
    for lattice, pattern in zip(tuple(LATTICES) * 2, patterns, strict=False):
        case = make_case(lattice, acquisition)
        shift = rng.uniform(-0.5, 0.5, 3)
        found.append(interpolate(case.build(pattern, q), q, shift)[0])
        references.append(case.integrate(pattern, q, shift))
    relative = pooled_error(found, references)
    return relative, relative * float(np.sqrt(np.mean([np.mean(np.abs(r - 1) ** 2) for r in references])))


def measure_refinement(acquisition: str, q: float, rng: np.random.Generator) -> float:
    """How much a table changes, relative to F - 1, when its fine cells are halved."""
    once, twice = [], []
    for lattice, pattern in zip(LATTICES, rng.permutation(PATTERNS), strict=False):
        case = make_case(lattice, acquisition)
        shift = rng.uniform(-0.5, 0.5, 3)
        once.append(interpolate(case.build(pattern, q), q, shift)[0])
        twice.append(interpolate(case.build(pattern, q, refine=2), q, shift)[0])
    return pooled_error(once, twice)


# The table against brute force ----------------------------------------------------------------------------


@pytest.mark.parametrize("q", [-3.0, pytest.param(20.0, marks=pytest.mark.slow)])
@pytest.mark.parametrize("acquisition", SOME_ACQUISITIONS)
def test_table_agrees_with_the_integral(acquisition: str, q: float, rng: np.random.Generator) -> None:
    """Measured from |q| 2 to 30, pooled over lattices and patterns: 0.4 to 0.9 % of the RMS of F - 1."""
    assert measure_error(acquisition, q, tuple(rng.permutation(PATTERNS)[:3]), rng)[0] < 0.01


@pytest.mark.parametrize("q", [pytest.param(0.02, marks=pytest.mark.slow), -0.3])
@pytest.mark.parametrize("acquisition", SOME_ACQUISITIONS)
def test_table_of_weak_sources_errs_far_below_any_noise(acquisition: str, q: float, rng: np.random.Generator) -> None:
    """Up to |q| of 1 the error is under 0.4 % of the tissue's signal (measured: 0.1 to 0.35 %)."""
    assert measure_error(acquisition, q, tuple(rng.permutation(PATTERNS)[:3]), rng)[1] < 0.004


@pytest.mark.slow
@pytest.mark.parametrize("q", [-0.1, 0.5, -1.0, 2.0, -10.0, 30.0])
@pytest.mark.parametrize("acquisition", ACQUISITIONS)
def test_table_of_every_pattern_agrees_with_the_integral(acquisition: str, q: float, rng: np.random.Generator) -> None:
    relative, absolute = measure_error(acquisition, q, PATTERNS, rng)
    assert absolute < 0.004 if abs(q) <= 1 else relative < 0.01


@pytest.mark.xfail(reason="weak sources: 3 to 6 % at q = 0.02, from too few fine cells and too few sub-voxel nodes")
@pytest.mark.parametrize("acquisition", SOME_ACQUISITIONS)
def test_table_of_the_weakest_sources_agrees_to_one_percent(acquisition: str, rng: np.random.Generator) -> None:
    assert measure_error(acquisition, 0.02, tuple(rng.permutation(PATTERNS)[:3]), rng)[0] < 0.01


@pytest.mark.slow
@pytest.mark.xfail(reason="strong sources: 1.1 to 2.7 % at q = 100, from the spacing of the sub-voxel nodes")
@pytest.mark.parametrize("acquisition", ACQUISITIONS)
def test_table_of_strong_sources_agrees_to_one_percent(acquisition: str, rng: np.random.Generator) -> None:
    assert measure_error(acquisition, 100.0, PATTERNS, rng)[0] < 0.01


@pytest.mark.slow
@pytest.mark.parametrize("acquisition", ACQUISITIONS)
def test_table_of_strong_sources_agrees_to_four_percent(acquisition: str, rng: np.random.Generator) -> None:
    assert measure_error(acquisition, -100.0, PATTERNS, rng)[0] < 0.04


@pytest.mark.parametrize(
    "q", [0.5, pytest.param(4.0, marks=pytest.mark.slow), pytest.param(30.0, marks=pytest.mark.slow)]
)
@pytest.mark.parametrize("acquisition", SOME_ACQUISITIONS)
def test_halving_the_fine_cells_changes_less_than_one_percent(
    acquisition: str, q: float, rng: np.random.Generator
) -> None:
    """Measured: 0.1 to 0.8 % from q 0.5 on; below, 1 % at 0.1 and 2 to 5 % at 0.02."""
    assert measure_refinement(acquisition, q, rng) < 0.01


def test_shared_lattices_equal_the_integral(rng: np.random.Generator) -> None:
    """The sum over shared lattices, which these tests use, is ``integrate_signal``'s sum."""
    case = make_case("oblique", "partial", 1.5)
    shift = rng.uniform(-0.5, 0.5, 3)
    matrix, edges = pattern_matrix("xz", case.b0), voxel_edges(case.voxel_mm)
    shared = case.integrate("xz", 0.7, shift)
    for row in rng.choice(len(case.voxels), 2, replace=False):
        single = integrate_signal(
            0.7, case.voxels[row] - shift, matrix, edges, "kspace", case.supports, cells_per_voxel=16
        )
        assert shared[row] == pytest.approx(single, abs=2e-4)


def test_a_core_stops_the_field_from_growing(rng: np.random.Generator) -> None:
    case = make_case("oblique", "box")
    matrix, edges = pattern_matrix("dipole", case.b0), voxel_edges(case.voxel_mm)
    shift = rng.uniform(-0.5, 0.5, 3)
    signal, _ = interpolate(case.build("dipole", 6.0, core_edges=1.3), 6.0, shift)
    reference = np.array(
        [integrate_signal(6.0, v - shift, matrix, edges, "box", FULL, core_edges=1.3) for v in case.voxels]
    )
    # measured: 0.3 to 2.2 % for cores from 0.5 to 1.3 edges
    assert pooled_error([signal], [reference]) < 0.03
    assert pooled_error([signal], [case.integrate("dipole", 6.0, shift)]) > 0.15


@given(
    st.tuples(*[st.floats(-1.5, 1.5)] * 3),
    st.floats(0.1, 12.0),
    st.sampled_from(PATTERNS),
)
def test_cell_average_is_exact_for_a_linear_phase(place: tuple[float, float, float], q: float, pattern: str) -> None:
    """In a cell so small that its phase is linear, the average equals the mean of many point samples."""
    point = np.array(place)
    radius = float(np.linalg.norm(point))
    if radius < 0.3:
        return
    matrix = pattern_matrix(pattern, np.array([0.48, 0.6, 0.64]))
    # the phase turns by about three radians across a cell, its curvature stays negligible
    edge = np.array([1.0, 0.6, 0.8]) * min(0.4 * radius**4 / q, 0.02 * radius)
    fine = (np.arange(12) + 0.5) / 12 - 0.5
    points = point + np.stack(np.meshgrid(fine, fine, fine, indexing="ij"), axis=-1).reshape(-1, 3) * edge
    kernel = np.einsum("na,ab,nb->n", points, matrix, points) / np.linalg.norm(points, axis=1) ** 5
    sampled = np.exp(1j * q * kernel).mean()
    assert cell_average(q, matrix, 0.0, *point, *edge) == pytest.approx(complex(sampled), abs=0.02)


def test_first_order_cells_converge_to_brute_force() -> None:
    """Averages over ever finer cells tend to the integral, faster than bare samples do."""
    matrix = pattern_matrix("dipole", np.array([0.48, 0.6, 0.64]))
    edges, offset, q = voxel_edges((0.06, 0.1, 0.08)), np.array([0.3, -0.2, 0.7]), 2.0
    truth = integrate_signal(q, offset, matrix, edges, "box", FULL, cells_per_voxel=160)
    errors = []
    for n in (4, 8, 16, 32):
        fine = (np.arange(n) + 0.5) / n - 0.5
        points = (offset + np.stack(np.meshgrid(fine, fine, fine), axis=-1).reshape(-1, 3)) * edges
        cells = [cell_average(q, matrix, 0.0, *point, *(edges / n)) for point in points]
        errors.append(abs(np.mean(cells) - truth))
    assert errors[-1] < 1e-3
    assert errors[-1] < 0.1 * errors[0]
    bare = integrate_signal(q, offset, matrix, edges, "box", FULL, cells_per_voxel=8)
    assert errors[1] < 0.5 * abs(bare - truth)


@pytest.mark.parametrize(("low", "high"), [(-0.5, 0.5), (-0.25, 0.25), (-0.25, 0.5), (-0.4, 0.3)])
def test_point_spread_is_the_sum_over_the_acquired_lines(low: float, high: float) -> None:
    cells = (np.arange(96) + 0.5) / 12 - 4
    offsets = np.array([-0.4, 0.0, 1.3])
    lines = low + (high - low) * (np.arange(2000) + 0.5) / 2000
    apart = offsets[:, None] - cells[None, :]
    summed = np.exp(2j * np.pi * apart[..., None] * lines).mean(axis=-1) * (high - low) / 12
    weights = point_spread_weights("kspace", AxisSupport(low, high), offsets, cells)
    np.testing.assert_allclose(weights, summed, atol=1e-5)


# Displacement along the readout ---------------------------------------------------------------------------


def displace_by_hand(q: float, shift: FloatArray, case: Case, pattern: str, readout: Readout) -> ComplexArray:
    """Every spin of a fine lattice is counted into the voxel in which its own phase draws it."""
    matrix, edges = pattern_matrix(pattern, case.b0), voxel_edges(case.voxel_mm)
    cells, half = 20, 4
    fine = (np.arange((2 * half + 1) * cells) + 0.5) / cells - half - 0.5
    counts = np.zeros((2 * half + 1,) * 3, complex)
    for x in fine:
        place = np.stack(np.broadcast_arrays(x, fine[:, None], fine[None, :]), axis=-1).reshape(-1, 3)
        point = (place - shift) * edges
        phase = q * np.einsum("na,na->n", point @ matrix, point) / np.linalg.norm(point, axis=1) ** 5
        place[:, readout.axis] += readout.voxels_per_rad * phase
        at = np.floor(place + 0.5).clip(-half - 1, half + 1).astype(int) + half
        inside = ((at >= 0) & (at <= 2 * half)).all(axis=1)
        np.add.at(counts, tuple(at[inside].T), np.exp(1j * phase[inside]) / cells**3)
    return np.asarray(counts[tuple((case.voxels + half).T)])


@pytest.mark.parametrize(
    ("lattice", "q", "readout"),
    [("cubes", 3.0, Readout(0, 0.15)), ("oblique", -6.0, Readout(1, 0.1)), ("oblique", 6.0, Readout(2, -0.2))],
)
def test_readout_displaces_as_spins_do(lattice: str, q: float, readout: Readout, rng: np.random.Generator) -> None:
    """Measured: 1.0 to 1.9 % against spins counted one by one; the wrong sign, or none, is far off."""
    case = make_case(lattice, "box")
    shift = rng.uniform(-0.5, 0.5, 3)
    counted = displace_by_hand(q, shift, case, "dipole", readout)

    def error(voxels_per_rad: float) -> float:
        table = case.build("dipole", q, readout=Readout(readout.axis, voxels_per_rad))
        return pooled_error([interpolate(table, q, shift)[0]], [counted])

    right = error(readout.voxels_per_rad)
    assert right < 0.025
    assert error(0.0) > 4 * right
    assert error(-readout.voxels_per_rad) > 8 * right


# Interpolation --------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def smooth_tables() -> dict[str, SignalTable]:
    """Tables of all levels up to |q| of 40, box and partial Fourier."""
    cases = {name: make_case("oblique", name, 3.0) for name in ("box", "partial")}
    return {name: case.build("dipole", 0.001, 40.0) for name, case in cases.items()}


@pytest.mark.parametrize("q", [0.004, -0.05, 0.7, -3.0, 25.0])
@pytest.mark.parametrize("acquisition", ["box", "partial"])
def test_slopes_are_the_derivatives(
    smooth_tables: dict[str, SignalTable], acquisition: str, q: float, rng: np.random.Generator
) -> None:
    """Everywhere but at the nodes themselves, where four-point interpolation has a kink."""
    table = smooth_tables[acquisition]
    for _ in range(10):
        # between the nodes, which lie 1/6 voxel apart
        shift = (rng.integers(-4, 4, 3) + rng.uniform(0.06, 0.94, 3)) / 6
        _, slopes = interpolate(table, q, shift)
        for row, step in enumerate([0.1 * q if abs(q) < Q_MIN else 3e-3 * q, 8e-3, 8e-3, 8e-3]):
            by = np.zeros(4)
            by[row] = step
            above, _ = interpolate(table, q + by[0], shift + by[1:])
            below, _ = interpolate(table, q - by[0], shift - by[1:])
            numerical = (above - below) / (2 * step)
            scale = np.abs(numerical).max()
            np.testing.assert_allclose(slopes[row] / scale, numerical / scale, atol=5e-3)


@pytest.mark.parametrize("q", [0.004, -0.05, 0.7, -3.0, 25.0])
@pytest.mark.parametrize("acquisition", ["box", "partial"])
def test_rough_reading_shows_the_way(
    smooth_tables: dict[str, SignalTable], acquisition: str, q: float, rng: np.random.Generator
) -> None:
    """It guides a fit's first steps only; linear interpolation does worst for weak sources seen by a box."""
    table = smooth_tables[acquisition]
    away, slopes_away = [], []
    for shift in rng.uniform(-0.6, 0.6, (100, 3)):
        fine, slopes = np.empty(len(table.voxels), np.complex64), np.empty((4, len(table.voxels)), np.complex64)
        rough, rough_slopes = np.empty_like(fine), np.empty_like(slopes)
        arguments = table.values, table.matrix, table.edges, table.voxels, q, shift
        interpolate_signal(*arguments, fine, slopes)
        interpolate_roughly(*arguments, rough, rough_slopes)
        away.append(np.linalg.norm(rough - fine) / np.linalg.norm(fine - 1))
        slopes_away.append(np.linalg.norm(rough_slopes - slopes, axis=1) / np.linalg.norm(slopes, axis=1))
    assert np.median(away) < 0.05
    assert np.max(away) < 0.15
    # every slope keeps its direction: the angle between the two stays below 45 degrees
    assert np.median(slopes_away) < 0.25
    assert np.max(slopes_away) < 0.7


@settings(deadline=None)
@given(
    q=st.floats(-40, 40),
    shift=st.tuples(*[st.floats(-0.74, 0.74)] * 3),
    acquisition=st.sampled_from(["box", "partial"]),
)
def test_negative_strength_is_the_conjugate_at_the_opposite_offset(
    smooth_tables: dict[str, SignalTable], q: float, shift: tuple[float, float, float], acquisition: str
) -> None:
    """F(-q, Δ) = conj(F(q, -Δ)): windows list voxels so that the opposite one is the mirrored row."""
    table = smooth_tables[acquisition]
    np.testing.assert_array_equal(table.voxels, -table.voxels[::-1])
    one, _ = interpolate(table, q, np.array(shift))
    other, _ = interpolate(table, -q, -np.array(shift))
    np.testing.assert_allclose(other, one[::-1].conj(), atol=1e-5)


@settings(deadline=None)
@given(q=st.floats(-40, 40), shift=st.tuples(*[st.floats(-0.74, 0.74)] * 3))
def test_a_symmetric_point_spread_makes_a_signal_symmetric(
    smooth_tables: dict[str, SignalTable], q: float, shift: tuple[float, float, float]
) -> None:
    one, _ = interpolate(smooth_tables["box"], q, np.array(shift))
    mirrored, _ = interpolate(smooth_tables["box"], q, -np.array(shift))
    np.testing.assert_allclose(mirrored[::-1], one, atol=2e-3)


def test_partial_fourier_breaks_the_symmetry(smooth_tables: dict[str, SignalTable]) -> None:
    shift = np.array([0.1, 0.3, -0.2])
    one, _ = interpolate(smooth_tables["partial"], 3.0, shift)
    mirrored, _ = interpolate(smooth_tables["partial"], 3.0, -shift)
    assert np.abs(mirrored[::-1] - one).max() > 0.1


def test_the_weakest_source_only_turns_the_phase_in_proportion(smooth_tables: dict[str, SignalTable]) -> None:
    shift = np.array([0.1, 0.3, -0.2])
    floor, _ = interpolate(smooth_tables["box"], Q_MIN, shift)
    half, _ = interpolate(smooth_tables["box"], 0.5 * Q_MIN, shift)
    nothing, _ = interpolate(smooth_tables["box"], 0.0, shift)
    np.testing.assert_allclose(half - 1, 0.5 * (floor - 1), atol=1e-6)
    np.testing.assert_allclose(nothing, 1, atol=1e-6)


# Patterns -------------------------------------------------------------------------------------------------

directions = st.tuples(*[st.floats(-1, 1)] * 3).filter(lambda v: np.linalg.norm(v) > 0.1)


@given(directions)
def test_patterns_are_traceless_equal_and_orthogonal(direction: tuple[float, float, float]) -> None:
    """For any B0; the mean of (uᵀQu)² over the sphere is 2/15 of the squared norm of Q."""
    b0 = np.array(direction) / np.linalg.norm(direction)
    matrices = np.array([pattern_matrix(pattern, b0) for pattern in PATTERNS])
    np.testing.assert_allclose(np.trace(matrices, axis1=1, axis2=2), 0, atol=1e-12)
    np.testing.assert_allclose(matrices, matrices.transpose(0, 2, 1), atol=1e-12)
    np.testing.assert_allclose(np.einsum("aij,bij->ab", matrices, matrices), 6 * np.eye(5), atol=1e-9)
    np.testing.assert_allclose(matrices[0] @ b0, 2 * b0, atol=1e-12)


@given(directions, st.sampled_from(PATTERNS))
def test_patterns_are_the_harmonics_of_the_field(direction: tuple[float, float, float], pattern: str) -> None:
    """The same patterns as the physics of dipoles draws, written another way."""
    b0 = np.array(direction) / np.linalg.norm(direction)
    points = np.random.default_rng(0).normal(size=(40, 3))
    form = np.einsum("na,ab,nb->n", points, pattern_matrix(pattern, b0), points)
    expected = harmonic_pattern(pattern, points, b0)
    np.testing.assert_allclose(form / np.linalg.norm(points, axis=1) ** 5, expected, rtol=1e-6, atol=1e-9)


def test_patterns_have_equal_norm_over_the_sphere(rng: np.random.Generator) -> None:
    u = rng.normal(size=(200_000, 3))
    u /= np.linalg.norm(u, axis=1, keepdims=True)
    for pattern in PATTERNS:
        form = np.einsum("na,ab,nb->n", u, pattern_matrix(pattern, np.array([0.48, 0.6, 0.64])), u)
        assert np.mean(form**2) == pytest.approx(0.8, rel=0.01)
        assert np.mean(form) == pytest.approx(0, abs=0.01)


# Far away -------------------------------------------------------------------------------------------------


def test_far_field_is_the_phase_at_the_centre(rng: np.random.Generator) -> None:
    """Averages over voxels tend to exp(iqK), ever better with distance."""
    matrix, edges = pattern_matrix("dipole", np.array([0.48, 0.6, 0.64])), voxel_edges((0.06, 0.1, 0.08))
    u = rng.normal(size=(12, 3))
    u /= np.linalg.norm(u * edges, axis=1, keepdims=True)
    errors = []
    for distance in (4.0, 8.0, 16.0):
        offsets = distance * u
        kernel = np.einsum("na,ab,nb->n", offsets * edges, matrix, offsets * edges) / distance**5
        cells = [integrate_signal(2.0, one, matrix, edges, "box", FULL, cells_per_voxel=8) for one in offsets]
        errors.append(pooled_error([np.exp(2j * kernel)], [np.array(cells)]))
    assert errors[0] < 0.06
    assert errors[1] < 0.35 * errors[0]
    assert errors[2] < 0.35 * errors[1]


def test_table_tends_to_the_phase_at_the_centre() -> None:
    case = make_case("cubes", "box", 3.6)
    table, shift = case.build("dipole", 2.0), np.array([0.2, -0.1, 0.3])
    points = (case.voxels - shift) * voxel_edges(case.voxel_mm)
    r = np.linalg.norm(points, axis=1)
    phase = 2.0 * np.einsum("na,ab,nb->n", points, table.matrix, points) / r**5
    signal, _ = interpolate(table, 2.0, shift)
    assert pooled_error([np.exp(1j * phase[r > 3])], [signal[r > 3]]) < 0.05
