"""Inner and outer window agree when the model is right, within honest errors, and disagree when it is not."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from ferrosight.clusters.fit import no_neighbours
from ferrosight.clusters.halves import split_windows
from ferrosight.simulate import Point, ScanSpec, build_affine, simulate_scan
from ferrosight.types import Scan

SHAPE = (15, 16, 17)
ECHO_S = 0.01
CUBE, BRICK = (0.1, 0.1, 0.1), (0.1, 0.08, 0.14)
POSITION = (0.021, -0.033, 0.012)


def simulate(workshop: Any, q: float, voxel_mm: Any, kind: Any = "box", echoes: Any = (ECHO_S,)) -> Scan:
    source = Point(POSITION, workshop.moment_am2(q, voxel_mm, ECHO_S))
    affine = build_affine(SHAPE, voxel_mm, (20, -10, 30))
    spec = ScanSpec(SHAPE, affine, echoes, 7.0, sources=(source,), point_spread=kind, sub_sampling=8)
    return simulate_scan(spec, 1)[0]


def split(workshop: Any, alone: Any, scan: Scan, sigma: float, rng: Any, table: Any = None) -> Any:
    data = workshop.window_data(workshop.add_noise(scan, sigma, rng), sigma, table or workshop.table(scan))
    source = workshop.fit_near(data, scan, [POSITION])
    return np.concatenate(split_windows(data, source, no_neighbours(data), alone(source)))


@pytest.mark.parametrize(
    ("voxel_mm", "q", "sigma", "echoes", "n_draws"),
    [
        (BRICK, 1.0, 0.05, (ECHO_S,), 60),
        pytest.param(CUBE, 0.3, 0.05, (ECHO_S,), 300, marks=pytest.mark.slow),
        pytest.param(BRICK, 5.0, 0.1, (ECHO_S, 0.018), 300, marks=pytest.mark.slow),
        pytest.param(CUBE, 30.0, 0.1, (ECHO_S,), 300, marks=pytest.mark.slow),
    ],
)
def test_errors_of_both_halves_and_of_their_difference_are_right(
    workshop: Any, alone: Any, voxel_mm: Any, q: float, sigma: float, echoes: Any, n_draws: int
) -> None:
    rng = np.random.default_rng(3)
    scan = simulate(workshop, q, voxel_mm, echoes=echoes)
    inner, inner_err, outer, outer_err = np.array([split(workshop, alone, scan, sigma, rng) for _ in range(n_draws)]).T
    for z in ((inner - q) / inner_err, (outer - q) / outer_err, (inner - outer) / np.hypot(inner_err, outer_err)):
        # the SD of n draws is known to 1/√(2n), their mean to 1/√n; the model itself is good to about 1 %
        assert z.std(ddof=1) == pytest.approx(1, abs=4 / np.sqrt(2 * n_draws))
        assert abs(z.mean()) < 4 / np.sqrt(n_draws) + 0.01 * q / inner_err.mean()


@pytest.mark.slow
def test_a_wrong_point_spread_makes_the_halves_disagree(workshop: Any, alone: Any) -> None:
    rng = np.random.default_rng(4)
    scan = simulate(workshop, 0.3, CUBE)
    for kind, disagree in (("kspace", True), ("box", False)):
        table = workshop.table(scan, kind)
        values = np.array([split(workshop, alone, scan, 0.01, rng, table) for _ in range(10)])
        z = (values[:, 0] - values[:, 2]) / np.hypot(values[:, 1], values[:, 3])
        assert (abs(z.mean()) > 5) == disagree, (kind, z)


def test_a_half_that_holds_too_little_has_no_value(workshop: Any, alone: Any) -> None:
    scan = simulate(workshop, 3.0, CUBE)
    data = workshop.window_data(scan, 0.02)
    source = workshop.fit_near(data, scan, [POSITION])
    data.weights[:, :, :, data.weights.shape[3] // 2 + 2 :] = 0
    assert np.isfinite(np.concatenate(split_windows(data, source, no_neighbours(data), alone(source)))).all()
    data.weights[:, :, : data.weights.shape[2] // 2 + 2] = 0
    assert np.isnan(np.concatenate(split_windows(data, source, no_neighbours(data), alone(source)))).all()


def test_a_source_that_could_not_be_fitted_has_no_halves(workshop: Any, alone: Any) -> None:
    scan = simulate(workshop, 3.0, CUBE)
    data = workshop.window_data(scan, 0.02)
    source = workshop.fit_near(data, scan, [POSITION])
    source.steps[:] = -1
    assert np.isnan(np.concatenate(split_windows(data, source, no_neighbours(data), alone(source)))).all()
