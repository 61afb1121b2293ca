"""PET laid onto MRI: as true as it says, the header kept where it is right, and where nothing can be known said so."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter

from ferrosight.register import register_pet
from ferrosight.simulate import build_affine
from ferrosight.types import Grid, PetResponse, Rigid, VisitImage
from ferrosight.types.config import RegisterConfig

RESPONSE = PetResponse((2.0, 2.0, 2.2))
CONFIG = RegisterConfig()
MRI_GRID = Grid((44, 36, 40), build_affine((44, 36, 40), (0.6, 0.65, 0.6), (5.0, -3.0, 8.0)))
PET_GRID = Grid((30, 26, 26), build_affine((30, 26, 26), (0.9, 0.95, 1.0)))
BODY, ORGAN, ORGAN_AT = np.array([10.0, 8.0, 9.0]), np.array([3.5, 2.5, 3.0]), np.array([3.0, -1.5, -2.0])

Floats = NDArray[np.float64]


def evaluate(grid: Grid, to_subject: Rigid, tissue: float, organ: float, fine: int) -> Floats:
    """A body with an organ, averaged over ``fine`` points per voxel and axis: a formula, no image of the other."""
    steps = (np.arange(fine) + 0.5) / fine - 0.5
    total = np.zeros(grid.shape)
    lattice = np.stack(np.meshgrid(*(np.arange(n) for n in grid.shape), indexing="ij"), axis=-1)
    for shift in np.stack(np.meshgrid(steps, steps, steps, indexing="ij"), axis=-1).reshape(-1, 3):
        place = to_subject.apply(grid.to_mm(lattice + shift))
        inside = np.linalg.norm(place / BODY, axis=-1) < 1
        deep = np.linalg.norm((place - ORGAN_AT) / ORGAN, axis=-1) < 1
        total += tissue * inside + (organ - tissue) * deep
    return total / fine**3


def draw_mri(rng: np.random.Generator) -> VisitImage:
    """The organ is dark, and the coil sits on one side."""
    clean = evaluate(MRI_GRID, Rigid.identity(), 1.0, 0.6, 3)
    gain = 1 + 0.3 * np.linspace(-1, 1, MRI_GRID.shape[1])[None, :, None]
    noisy = clean * gain + rng.normal(scale=0.04, size=clean.shape)
    return VisitImage("d0", noisy.astype(np.float32), MRI_GRID, clean > 0.3, np.zeros(MRI_GRID.shape, bool))


def draw_pet(rng: np.random.Generator, to_mri: Rigid) -> VisitImage:
    """The organ is warm; Poisson's noise, and the point spread over both."""
    clean = evaluate(PET_GRID, to_mri, 1.0, 2.2, 3)
    counts = rng.poisson(60 * clean) / 60
    widths = np.array(RESPONSE.fwhm_mm) / PET_GRID.voxel_mm / 2.3548
    seen = gaussian_filter(counts, widths)
    return VisitImage("d0", seen.astype(np.float32), PET_GRID, seen > 0.5, np.zeros(PET_GRID.shape, bool))


@pytest.fixture(scope="module")
def moved() -> list[tuple[Floats, Floats]]:
    """Errors (n, 3) of places and their predicted covariances (n, 3, 3), in five visits of different postures."""
    rng = np.random.default_rng(5)
    found = []
    for _ in range(5):
        to_mri = Rigid.from_twist(np.concatenate([rng.normal(scale=1.2, size=3), rng.normal(scale=0.05, size=3)]))
        pet = draw_pet(rng, to_mri)
        pose = register_pet(draw_mri(rng), pet, RESPONSE, CONFIG)
        assert pose.source == "images"
        assert "mutual information" in pose.sentence
        places = PET_GRID.to_mm(np.argwhere(pet.mask)[::40])
        found.append((pose.to_mri.apply(places) - to_mri.apply(places), pose.to_mri.carry_covariance(places)))
    return found


@pytest.mark.slow
def test_places_are_right_to_a_fraction_of_a_voxel(moved: list[tuple[Floats, Floats]]) -> None:
    rms = [np.sqrt((error**2).sum(axis=1).mean()) for error, _ in moved]
    assert np.mean(rms) < 0.25
    assert max(rms) < 0.5


@pytest.mark.slow
def test_errors_are_as_large_as_predicted(moved: list[tuple[Floats, Floats]]) -> None:
    """Five visits of six numbers each know a standard deviation to about 13 %."""
    actual = np.mean([(error**2).sum(axis=1).mean() for error, _ in moved])
    predicted = np.mean([np.trace(covariance, axis1=1, axis2=2).mean() for _, covariance in moved])
    assert 0.6 < np.sqrt(actual / predicted) < 1.4


def test_a_header_that_is_right_is_kept_with_what_the_images_know() -> None:
    rng = np.random.default_rng(2)
    pose = register_pet(draw_mri(rng), draw_pet(rng, Rigid.identity()), RESPONSE, CONFIG)
    assert pose.source == "header"
    np.testing.assert_array_equal(pose.to_mri.affine, np.eye(4))
    assert 0.01 < pose.error_mm < 0.5
    assert "agree with their headers" in pose.sentence


def test_a_stated_header_is_kept_and_what_contradicts_it_is_said() -> None:
    rng = np.random.default_rng(3)
    stated = replace(CONFIG, pet_header_err_mm=0.2)
    mri = draw_mri(rng)
    far = register_pet(mri, draw_pet(rng, Rigid.from_twist([3.0, 0, 0, 0, 0, 0])), RESPONSE, stated)
    assert far.source == "header"
    np.testing.assert_array_equal(far.to_mri.affine, np.eye(4))
    assert far.error_mm == pytest.approx(0.2 * np.sqrt(3))
    assert "contradict" in far.sentence
    near = register_pet(mri, draw_pet(rng, Rigid.identity()), RESPONSE, stated)
    assert "contradict" not in near.sentence


def test_images_that_share_nothing_keep_the_header_and_say_that_its_error_is_assumed() -> None:
    rng = np.random.default_rng(4)
    nothing = rng.normal(1.0, 0.1, PET_GRID.shape).astype(np.float32)
    pet = VisitImage("d0", nothing, PET_GRID, np.ones(PET_GRID.shape, bool), np.zeros(PET_GRID.shape, bool))
    pose = register_pet(draw_mri(rng), pet, RESPONSE, CONFIG)
    assert pose.source == "assumed"
    assert pose.error_mm == pytest.approx(1.0 * np.sqrt(3))
    assert "assumption" in pose.sentence


def test_the_same_bit_for_bit() -> None:
    poses = []
    for _ in range(2):
        rng = np.random.default_rng(6)
        pet = draw_pet(rng, Rigid.from_twist([1.0, -0.5, 0.3, 0.02, 0, 0]))
        poses.append(register_pet(draw_mri(rng), pet, RESPONSE, CONFIG))
    np.testing.assert_array_equal(poses[0].to_mri.affine, poses[1].to_mri.affine)
    np.testing.assert_array_equal(poses[0].to_mri.covariance, poses[1].to_mri.covariance)


def test_a_shift_of_one_mm_is_not_taken_for_agreement() -> None:
    rng = np.random.default_rng(8)
    pose = register_pet(draw_mri(rng), draw_pet(rng, Rigid.from_twist([0, 1.0, 0, 0, 0, 0])), RESPONSE, CONFIG)
    assert pose.source == "images"
    assert pose.shift_mm == pytest.approx(1.0, abs=0.4)
