"""The dipole's spectrum against Fourier transforms of fine lattices, and against what is known in closed form."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ferrosight.physics.dipole_spectrum import KAPPA_MAX, build_dipole_spectrum, tabulate_energy
from ferrosight.physics.fine_cells import draw_cells
from ferrosight.physics.patterns import pattern_matrix, voxel_edges
from ferrosight.types import AxisSupport

FULL = (AxisSupport(),) * 3
FILLED = (AxisSupport(-0.25, 0.25), AxisSupport(), AxisSupport(-1 / 3, 1 / 3))
PARTIAL = (AxisSupport(), AxisSupport(-0.25, 0.5), AxisSupport(-5 / 12, 1 / 3))

#: All of k-space: the integral of |exp(iK) - 1|² over space.
ALL_ENERGY = 16 * math.pi**2 / (9 * math.sqrt(3))


def sum_lattice(q, voxel_mm, b0, supports, cells_per_voxel=8, voxels=24):
    """Energy and mean k kᵀ by Fourier transform of exp(iqK) - 1 on a fine lattice: slow and obvious.

    Each cell holds its own average, which the transform is freed from again. All borders of the supports here are
    whole frequencies of 24 voxels.
    """
    n = cells_per_voxel * voxels
    matrix = pattern_matrix("dipole", np.array(b0))
    real, imag = draw_cells(q, matrix, 0.0, voxel_edges(voxel_mm), (n, n, n), cells_per_voxel)
    spectrum = np.fft.fftn(real + 1j * imag) / cells_per_voxel**3
    k = np.fft.fftfreq(n, 1 / cells_per_voxel)
    cell = np.sinc(k / cells_per_voxel)
    spectrum /= np.einsum("i,j,k->ijk", cell, cell, cell)
    # A frequency on the border of the support belongs to it by half.
    inside = [(k > s.low) & (k < s.high) for s in supports]
    border = [np.isclose(k, s.low) | np.isclose(k, s.high) for s in supports]
    weight = np.einsum("i,j,k->ijk", *(np.where(b, 0.5, a) for a, b in zip(inside, border, strict=True)))
    power = weight * np.abs(spectrum) ** 2 / voxels**3
    second = np.array([[np.einsum("ijk,ijk->", power, kk) for kk in row] for row in _products(k)])
    return power.sum(), second / power.sum()


def _products(k):
    axes = np.meshgrid(k, k, k, indexing="ij", sparse=True)
    shape = (len(k),) * 3
    return [[np.broadcast_to(a * b, shape) for b in axes] for a in axes]


@pytest.mark.slow
@pytest.mark.parametrize("q", [0.3, 3.0, 20.0])
@pytest.mark.parametrize(
    ("voxel_mm", "b0", "supports"),
    [
        ((0.1, 0.1, 0.1), (0.0, 0.0, 1.0), FULL),
        ((0.06, 0.1, 0.08), (0.48, 0.6, 0.64), PARTIAL),
        ((0.0546875, 0.0363281, 0.0363281), (0.8, 0.6, 0.0), FILLED),
    ],
)
def test_energy_is_that_of_a_fine_lattice_within_the_acquired_k_space(q, voxel_mm, b0, supports):
    energy, mean_square = sum_lattice(q, voxel_mm, b0, supports)
    table = tabulate_energy(voxel_mm, b0, supports)
    at = np.log(np.array([q]))
    assert np.exp(table.read_log_energy(at))[0] == pytest.approx(energy, rel=0.015)
    scale = np.trace(mean_square) / 3
    np.testing.assert_allclose(table.read_mean_square(at)[0], mean_square, atol=0.03 * scale)


def test_a_weak_dipole_is_its_field_and_its_void():
    """At κ → 0: the void ∫(1 - cos K), the far field -(4π/3)(3c²-1), and what sin K leaves of it near the centre."""
    spectrum = build_dipole_spectrum()
    c = np.linspace(0, 1, 200_001)[1:-1]
    pattern = 3 * c**2 - 1
    isotropic = 4 * math.pi / 3 * np.mean(pattern * np.log(np.abs(pattern)))
    expected = (ALL_ENERGY / 2) ** 2 + (4 * math.pi / 3 * (3 * spectrum.cosine**2 - 1) + isotropic) ** 2
    np.testing.assert_allclose(spectrum.power[0], expected, rtol=0.02)


def test_all_of_k_space_holds_the_energy_of_space():
    """What is beyond κ falls as κ^(-3/4), and so the total follows from any κ that is large enough."""
    spectrum = build_dipole_spectrum()
    inside = 4 * math.pi * np.trapezoid(spectrum.energy, spectrum.cosine, axis=1)
    large = spectrum.kappa > KAPPA_MAX / 4
    missing = (ALL_ENERGY - inside[large]) * spectrum.kappa[large] ** 0.75
    assert (missing > 0).all()
    assert missing.std() < 0.03 * missing.mean()


def test_a_very_strong_dipole_keeps_nearly_all_of_its_energy():
    table = tabulate_energy((0.1, 0.1, 0.1), (0.0, 0.0, 1.0), FULL)
    share = np.exp(table.log_energy - table.log_strength)[-3:] / ALL_ENERGY
    assert (share < 1).all()
    assert (share > 0.97).all()


@settings(max_examples=6, deadline=None)
@given(
    edges=st.tuples(*[st.floats(0.5, 2.0)] * 3),
    direction=st.tuples(*[st.floats(-1, 1)] * 3).filter(lambda v: math.hypot(*v) > 0.1),
    scale=st.floats(0.01, 100),
    order=st.permutations([0, 1, 2]),
)
def test_only_the_shape_of_the_voxel_counts_whatever_its_axes_are_called(edges, direction, scale, order):
    b0 = np.array(direction) / math.hypot(*direction)
    one = tabulate_energy(edges, b0, PARTIAL)
    other = tabulate_energy([scale * edges[i] for i in order], b0[order], tuple(PARTIAL[i] for i in order))
    np.testing.assert_allclose(one.log_energy, other.log_energy, atol=8e-3)
    np.testing.assert_allclose(
        one.mean_square[:, order][:, :, order], other.mean_square, atol=0.02 * np.abs(one.mean_square).max()
    )


@settings(max_examples=4, deadline=None)
@given(direction=st.tuples(*[st.floats(-1, 1)] * 3).filter(lambda v: math.hypot(*v) > 0.1))
def test_energy_grows_with_strength_and_with_k_space(direction):
    b0 = np.array(direction) / math.hypot(*direction)
    full, part = (tabulate_energy((0.1, 0.2, 0.15), b0, supports) for supports in (FULL, FILLED))
    slope = np.diff(full.log_energy) / np.diff(full.log_strength)
    assert (slope > 0.9).all()
    assert (slope < 2.01).all()
    assert (part.log_energy < full.log_energy).all()


def test_the_table_goes_on_beyond_its_ends():
    table = tabulate_energy((0.1, 0.1, 0.1), (0.0, 0.0, 1.0), FULL)
    step = np.array([-2.0, -1.0])
    np.testing.assert_allclose(np.diff(table.read_log_energy(table.log_strength[0] + step)), 2.0, rtol=1e-12)
    np.testing.assert_allclose(np.diff(table.read_log_energy(table.log_strength[-1] - step)), -1.0, rtol=1e-12)
    slopes = np.diff(table.log_energy)[[0, -1]] / np.diff(table.log_strength)[0]
    np.testing.assert_allclose(slopes, [2.0, 1.0], atol=0.02)
    np.testing.assert_array_equal(table.read_mean_square(table.log_strength[:1] - 5), table.mean_square[:1])
