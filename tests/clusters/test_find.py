"""From scan to catalogue: what was put in comes out, judged, with errors that hold."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from ferrosight.clusters import find_clusters
from ferrosight.errors import AnalysisError
from ferrosight.field import measure_field
from ferrosight.simulate import Point, ScanSpec, build_affine, simulate_scan
from ferrosight.types import Catalogue, EvidenceMap, PhaseSign, Scan
from ferrosight.types.config import ClustersConfig, FieldConfig

SHAPE = (36, 40, 24)
MOMENTS = (3e-13, 6e-13, 1.2e-12, 2.5e-12, 5e-12)


def place_points(rng: np.random.Generator) -> np.ndarray:
    """Voxels at least eight apart, at random sub-voxel places, slab edges left out."""
    grid = np.stack(np.meshgrid((7, 18, 29), (8, 20, 32), (6, 17), indexing="ij"), axis=-1).reshape(-1, 3)
    chosen = grid[rng.permutation(len(grid))[: len(MOMENTS)]]
    return chosen + rng.uniform(-0.5, 0.5, chosen.shape)


def make_scan(seed: int, sign: int = 1, phase_sign: PhaseSign = PhaseSign.POSITIVE) -> tuple[Scan, np.ndarray]:
    """An oblique scan of unequal voxels and two echoes with five clusters, and their places (n, 3) in voxels."""
    affine = build_affine(SHAPE, (0.11, 0.1, 0.09), (20.0, 10.0, -15.0))
    places = place_points(np.random.default_rng(seed))
    mm = places @ affine[:3, :3].T + affine[:3, 3]
    points = tuple(
        Point(position_mm=tuple(at), moment_am2=sign * moment) for at, moment in zip(mm, MOMENTS, strict=True)
    )
    spec = ScanSpec(
        SHAPE, affine, b0_t=7.0, echo_times_s=(0.004, 0.008), snr=40.0, sources=points, point_spread="kspace"
    )
    scan, _ = simulate_scan(spec, seed)
    return dataclasses.replace(scan, phase_sign=phase_sign), places


def analyse(scan: Scan) -> tuple[EvidenceMap, Catalogue]:
    return find_clusters(scan, measure_field(scan, FieldConfig()), ClustersConfig())


def match(catalogue: Catalogue, places: np.ndarray) -> np.ndarray:
    """Row of the accepted cluster within a voxel of each place, -1 where there is none."""
    found = np.stack([catalogue.fits[f"{axis}_voxel"] for axis in "ijk"], axis=1)
    found[catalogue.clusters["status"] != "accepted"] = np.inf
    distance = np.linalg.norm(found[None] - places[:, None], axis=2)
    return np.where(distance.min(axis=1) < 1.0, distance.argmin(axis=1), -1)


@pytest.fixture(scope="module")
def result() -> tuple[Scan, np.ndarray, EvidenceMap, Catalogue]:
    scan, places = make_scan(0)
    return scan, places, *analyse(scan)


def test_every_cluster_comes_back_with_its_moment(result) -> None:
    _, places, _, catalogue = result
    rows = match(catalogue, places)
    assert (rows >= 0).all()
    moment = catalogue.clusters["moment_am2"][rows]
    error = catalogue.clusters["moment_am2_err"][rows]
    # Five draws: none beyond five standard errors (with 3 % for the tabulated point spread).
    assert (np.abs(moment - MOMENTS) < 5 * np.hypot(error, 0.03 * np.array(MOMENTS))).all(), moment / MOMENTS


def test_nothing_else_is_accepted(result) -> None:
    _, places, _, catalogue = result
    assert len(catalogue.accepted) == len(places)
    assert catalogue.null.counts_at_threshold["opposite"] == 0


def test_tables_share_rows_and_speak_in_the_schema(result) -> None:
    scan, _, evidence, catalogue = result
    assert list(catalogue.clusters["cluster_id"]) == list(catalogue.fits["cluster_id"])
    assert len(set(catalogue.clusters["cluster_id"])) == len(catalogue.clusters)
    assert evidence.z.shape == (5, *scan.grid.shape)
    score = catalogue.clusters["score"]
    assert (np.diff(score) <= 0).all()
    accepted = catalogue.clusters["status"] == "accepted"
    assert (catalogue.clusters["reasons"][accepted] == "").all()
    assert (catalogue.clusters["reasons"][~accepted] != "").all()
    assert np.isnan(catalogue.clusters["iron_pg"]).all()


def test_patches_show_the_data_that_were_fitted(result) -> None:
    scan, _, _, catalogue = result
    patch = catalogue.patches[0]
    i, j, k = patch.origin_ijk
    nx, ny, nz = patch.data.shape[1:]
    inside = scan.signal[:, max(i, 0) : i + nx, max(j, 0) : j + ny, max(k, 0) : k + nz]
    shown = patch.data[:, max(-i, 0) :, max(-j, 0) :, max(-k, 0) :]
    shown = shown[:, : inside.shape[1], : inside.shape[2], : inside.shape[3]]
    used = np.isfinite(shown)
    np.testing.assert_allclose(shown[used], inside[used], rtol=1e-4)
    # The model leaves less than the background does.
    left = np.nansum(np.abs(patch.data - patch.model) ** 2)
    assert left < 0.5 * np.nansum(np.abs(patch.data - patch.background) ** 2)


@pytest.mark.slow
@pytest.mark.parametrize("stated", [PhaseSign.UNKNOWN, PhaseSign.NEGATIVE])
def test_opposite_polarity_is_never_iron_once_the_sign_is_known(stated: PhaseSign) -> None:
    """Iron's field read as negative: rejected as opposite where POSITIVE is what was stated wrongly."""
    scan, places = make_scan(11)
    _, catalogue = analyse(dataclasses.replace(scan, phase_sign=stated))
    rows = match(catalogue, places)
    if stated is PhaseSign.NEGATIVE:
        assert (rows < 0).all()
        assert "opposite_polarity" in set(";".join(catalogue.clusters["reasons"]).split(";"))
        assert (catalogue.clusters["moment_am2"][catalogue.clusters["status"] == "accepted"] > 0).all()
    else:
        assert (rows >= 0).sum() >= 4
        assert (catalogue.clusters["moment_am2"][rows[rows >= 0]] > 0).all()


def test_a_scan_of_nothing_is_refused() -> None:
    scan, _ = make_scan(3)
    field = measure_field(scan, FieldConfig())
    empty = dataclasses.replace(field, mask=np.zeros(SHAPE, dtype=np.bool_))
    with pytest.raises(AnalysisError, match="nothing to search"):
        find_clusters(scan, empty, ClustersConfig())
