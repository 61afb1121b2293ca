"""The demo's specification for any seed, and one scan made of it."""

from __future__ import annotations

import numpy as np
import pytest

from ferrosight.simulate import (
    DEMO_IRON_PER_CELL_PG,
    DEMO_MS_AM2_PER_KG_FE,
    Cells,
    Point,
    Vein,
    build_demo_spec,
    simulate_scan,
)


@pytest.mark.parametrize("seed", range(20))
def test_every_seed_gives_fifteen_clusters_inside_the_tissue(seed: int) -> None:
    spec = build_demo_spec(seed)
    clusters = [s for s in spec.sources if isinstance(s, Point | Cells) and s.kind == "labelled"]
    assert len(clusters) == 15
    iron = np.array([s.iron_pg for s in clusters])
    assert iron.min() < 4
    assert iron.max() > 60
    np.testing.assert_allclose([s.moment_am2 for s in clusters], iron * 1e-15 * DEMO_MS_AM2_PER_KG_FE)
    places = np.array([s.position_mm if isinstance(s, Point) else s.centre_mm for s in clusters])
    half = np.array(spec.shape) / 2 * 0.1 * spec.tissue_fraction
    assert (((places / half) ** 2).sum(axis=1) < 0.9).all()
    gaps = np.linalg.norm(places[:, None] - places, axis=-1) + 10 * np.eye(15)
    assert gaps.min() > 0.99
    for vein in (s for s in spec.sources if isinstance(s, Vein)):
        # A vein that ends inside tissue has a magnetic pole there.
        assert all(((np.array(end) / half) ** 2).sum() > 1 for end in (vein.start_mm, vein.end_mm))


def test_loads_average_to_the_published_one() -> None:
    loads = []
    for seed in range(200):
        clusters = [s for s in build_demo_spec(seed).sources if isinstance(s, Point | Cells)]
        loads.append(sum(s.iron_pg for s in clusters) / sum(s.n_cells for s in clusters))
    assert np.mean(loads) == pytest.approx(DEMO_IRON_PER_CELL_PG, rel=0.02)


@pytest.mark.slow
def test_demo_scan_holds_every_kind() -> None:
    scan, truth = simulate_scan(build_demo_spec(0), 0)
    kinds, counts = np.unique(truth.table["kind"], return_counts=True)
    assert dict(zip(kinds.tolist(), counts.tolist(), strict=True)) == {
        "labelled": 15,
        "vein": 2,
        "air": 1,
        "calcification": 1,
    }
    assert scan.signal.shape == (4, 128, 128, 40)
    # every cluster darkens or turns its own voxel at the last echo, noise or not
    strong = truth.table.where(truth.table["iron_pg"] > 20)
    positions = np.column_stack([strong["x_mm"], strong["y_mm"], strong["z_mm"]])
    i, j, k = np.round(scan.grid.to_ijk(positions)).astype(int).T
    tissue = np.median(np.abs(scan.signal[-1])[np.abs(scan.signal[-1]) > 0.3])
    assert (np.abs(scan.signal[-1][i, j, k]) < 0.7 * tissue).all()
