"""The cylinder that is drawn is the analytic one, and its fit gives all that is asked of it."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from ferrosight.clusters.cylinders import CELLS, COARSE, DARK, FAR, across_axis, draw_cylinder, sketch_cylinder
from ferrosight.clusters.fit import cut_window
from ferrosight.clusters.windows import measure_chi2
from ferrosight.physics.cluster_signal import voxel_edges, window_voxels
from ferrosight.physics.dipole import cylinder_field
from ferrosight.simulate import Point, ScanSpec, build_affine, simulate_scan

BRICK = (0.1, 0.08, 0.14)


def test_the_drawn_cylinder_is_the_analytic_one_and_its_slopes_are_its_derivatives() -> None:
    edges, voxels = voxel_edges(BRICK), window_voxels(BRICK, 3.6)
    b0 = np.array([0.48, -0.36, 0.8])
    axis, place, s, radius = np.array([0.6, 0.64, -0.48]), np.array([0.3, -0.2, 0.1]), 0.7, 0.4
    axis /= np.linalg.norm(axis)
    place -= (place @ axis) * axis

    def draw(s: float, axis: Any, place: Any, decay: float = 0.0) -> tuple[Any, Any]:
        signal, slopes = np.empty(len(voxels), np.complex64), np.empty((6, len(voxels)), np.complex64)
        draw_cylinder(s, axis, place, radius, np.exp(-decay), b0, edges, voxels, CELLS, signal, slopes)
        return signal, slopes

    signal, slopes = draw(s, axis, place)
    fine = np.stack(np.meshgrid(*[(np.arange(24) + 0.5) / 24 - 0.5] * 3, indexing="ij"), axis=-1).reshape(-1, 3)

    for v in range(0, len(voxels), 5):
        offsets = (voxels[v] + fine) * edges - place
        phase = cylinder_field(offsets, axis, radius, 4 * s / radius**2, b0)
        assert abs(signal[v] - np.exp(1j * phase).mean()) < 0.06, voxels[v]
    distance = np.linalg.norm(np.cross(voxels * edges - place, axis), axis=1)
    # nearer, and where one cell has just replaced many, the slopes leave out how fading changes
    far = distance > FAR + 0.3
    first, second = np.empty(3), np.empty(3)
    across_axis(axis, first, second)
    step = 1e-2
    moved = (
        (s * np.exp(step), axis, place),
        (s, axis + step * first, place),
        (s, axis + step * second, place),
        (s, axis, place + step * first),
        (s, axis, place + step * second),
    )
    back = (
        (s * np.exp(-step), axis, place),
        (s, axis - step * first, place),
        (s, axis - step * second, place),
        (s, axis, place - step * first),
        (s, axis, place - step * second),
    )
    for p, (ahead, behind) in enumerate(zip(moved, back, strict=True)):
        numeric = (draw(*ahead)[0] - draw(*behind)[0]) / (2 * step)
        size = np.sqrt(np.mean(np.abs(numeric[far]) ** 2))
        assert np.sqrt(np.mean(np.abs(numeric - slopes[p])[far] ** 2)) < 0.05 * size, p
    by_decay = (draw(s, axis, place, 0.7 + step)[0] - draw(s, axis, place, 0.7 - step)[0]) / (2 * step)
    np.testing.assert_allclose(draw(s, axis, place, 0.7)[1][5], by_decay, atol=1e-3)
    # blood that has decayed leaves the share of the signal that lies outside the vessel
    inside = (np.linalg.norm(np.cross(fine * edges - place, axis), axis=1) < radius).mean()
    middle = np.flatnonzero((voxels == 0).all(axis=1))[0]
    assert abs(draw(1e-6, axis, place, 30.0)[0][middle]) == pytest.approx(1 - inside, abs=0.06)


def test_a_cylinder_that_explains_little_is_told_all_the_same(workshop: Any) -> None:
    """What is then asked of it needs its strength, radius, axis and place."""
    rng = np.random.default_rng(26)
    shape = (13, 14, 13)
    affine = build_affine(shape, (0.1, 0.1, 0.1), (20, -10, 30))
    point = Point((0.0, 0.0, 0.0), 1e-16)
    spec = ScanSpec(shape, affine, (0.01,), 7.0, (0.48, -0.36, 0.8), sources=(point,), sub_sampling=8)
    scan = workshop.add_noise(simulate_scan(spec, 1)[0], 1 / 20, rng)
    data = workshop.window_data(scan, 1 / 20)
    n = len(data.voxels)
    values, weight = np.empty((1, n), np.complex64), np.empty((1, n), np.float32)
    cut_window(data.signal, data.weights, np.full(3, 8), data.voxels, values, weight)
    other, table = np.ones((1, n), np.complex64), data.tables[0]
    own = (table.values, table.matrix, table.edges)
    nothing = measure_chi2(values, other, weight, data.ratios, own, data.voxels, data.basis, 0.0, np.zeros(3))
    found = np.full(9, np.nan)
    window = (data.ratios, scan.b0_in_array, table.edges, data.voxels, data.basis)
    starts = np.zeros((3, 3))
    chi2 = sketch_cylinder(
        (values, other, weight), *window, 1.0, starts, np.eye(3), DARK[:1], COARSE, 0.0, nothing, found
    )
    assert np.isfinite(chi2)
    assert np.isfinite(found).all()
