"""The demo's subjects: everything in tissue and apart, and each cluster on its course, whatever the seed."""

from __future__ import annotations

import numpy as np
import pytest

from ferrosight.simulate import DEMO_SUBJECTS, PlacedCells, Vein
from ferrosight.simulate.background import is_in_tissue
from ferrosight.simulate.demo_study import build_demo_visit, simulate_demo_visit
from ferrosight.simulate.spec import ScanSpec


def cells_of(spec: ScanSpec) -> dict[str, PlacedCells]:
    return {source.object_id: source for source in spec.sources if isinstance(source, PlacedCells)}


@pytest.mark.parametrize("name", DEMO_SUBJECTS)
def test_everything_lies_in_tissue_and_apart_at_every_visit(name: str) -> None:
    subject = DEMO_SUBJECTS[name]
    for visit in range(subject.n_visits):
        spec = build_demo_visit(subject, 3, visit)
        middles = [cells.positions_mm.mean(axis=0) for cells in cells_of(spec).values()]
        for cells in cells_of(spec).values():
            assert is_in_tissue(spec, spec.grid.to_ijk(cells.positions_mm), 0.2).all()
        gaps = np.linalg.norm(np.subtract.outer(middles, middles).diagonal(axis1=1, axis2=3), axis=-1)
        assert gaps[np.triu_indices(len(middles), 1)].min() > 1.0
        for vein in (source for source in spec.sources if isinstance(source, Vein)):
            # a vein that ends inside tissue has a magnetic pole there
            assert not is_in_tissue(spec, spec.grid.to_ijk([vein.start_mm, vein.end_mm]), -0.3).any()
            along = np.linspace(0, 1, 200)[:, None]
            axis = np.array(vein.start_mm) * (1 - along) + np.array(vein.end_mm) * along
            assert np.linalg.norm(axis[:, None] - np.array(middles), axis=-1).min() > 0.5
    assert len({source.object_id for source in spec.sources}) == len(spec.sources)


@pytest.mark.parametrize("seed", range(5))
def test_the_graft_fades_the_tiny_cluster_grows_and_the_others_stay(seed: int) -> None:
    iron = {}
    for name, subject in DEMO_SUBJECTS.items():
        visits = [cells_of(build_demo_visit(subject, seed, visit)) for visit in range(subject.n_visits)]
        iron[name] = np.array([[visit[f"labelled-0{i}"].iron_pg for i in (1, 2, 3)] for visit in visits])
    graft = iron["graft"][:, 0]
    assert (np.diff(graft) < 0).all()
    # four cells are few: what is left after three weeks of a half-life of ten days, and iron given off
    assert graft[3] / graft[0] == pytest.approx(2**-2.1 * np.exp(-0.005 * 21), rel=0.3)
    np.testing.assert_allclose(iron["graft"][:, 1:], iron["graft"][:1, 1:].repeat(4, axis=0))
    tiny = iron["targeted"][:, 0]
    assert (tiny[1:] > 1.2 * tiny[:-1]).all()
    assert tiny[5] > 10 * tiny[0]
    for name, columns in (("targeted", slice(1, 3)), ("control", slice(0, 3))):
        shares = iron[name][:, columns] / iron[name][:1, columns]
        # the dose is all that differs, and it is that of all clusters
        np.testing.assert_allclose(shares, shares[:, :1].repeat(shares.shape[1], axis=1))
        assert 0 < np.abs(shares[1:] - 1).max() < 0.3


def test_a_visit_lies_differently_and_its_truth_has_the_pose() -> None:
    subject = DEMO_SUBJECTS["targeted"]
    (first, here), (later, there) = (simulate_demo_visit(subject, 4, visit) for visit in (0, 1))
    assert here.to_subject.angle_rad == 0 < there.to_subject.angle_rad
    assert first.signal.shape == later.signal.shape
    np.testing.assert_array_equal(first.affine, later.affine)
    fixed = [truth.table.where(truth.table["object_id"] == "vein-01") for truth in (here, there)]
    places = [np.array([table[f"{axis}_mm"][0] for axis in "xyz"]) for table in fixed]
    np.testing.assert_allclose(there.to_subject.apply(places[1]), places[0], atol=1e-9)
    assert np.linalg.norm(places[1] - places[0]) > 0.01
