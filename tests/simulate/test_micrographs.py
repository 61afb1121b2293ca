"""Synthetic micrographs hold what they say, and are made of electrons."""

from __future__ import annotations

import dataclasses
import math

import numpy as np
import pytest
from scipy import ndimage

from ferrosight.simulate.micrographs import BodySpec, MicrographSpec, simulate_body, simulate_micrograph

SMALL = MicrographSpec(shape=(240, 300), unevenness=0.0)


def test_the_light_taken_is_that_of_the_balls_path() -> None:
    """Mean density over an image of faint balls is their summed volume: 4/3 π r³ each, at contrast per diameter."""
    spec = dataclasses.replace(SMALL, contrast=0.05, electrons=1e5, fringe=0.0, layers=0.2)
    image, n = simulate_micrograph(spec, np.random.default_rng(1))
    expected = n * np.pi / 6 * 8.0**3 * np.exp(4.5 * 0.08**2) * 0.05 / 8.0 / (image.size * 0.9**2)
    assert -np.log(image.astype(float) / 0.75).mean() == pytest.approx(expected, rel=0.08)


def test_noise_falls_with_the_root_of_the_electrons() -> None:
    stds = []
    for electrons in (100.0, 900.0):
        image, _ = simulate_micrograph(
            dataclasses.replace(SMALL, electrons=electrons, layers=0.0), np.random.default_rng(2)
        )
        steps = np.sort(np.abs(np.diff(image.astype(float), axis=1)), axis=None)
        stds.append(steps[: int(0.8 * steps.size)].mean())  # without the few particles' rims
    assert stds[0] / stds[1] == pytest.approx(3.0, rel=0.15)


def test_particles_keep_apart_where_they_are_told_to() -> None:
    free, _ = simulate_micrograph(dataclasses.replace(SMALL, layers=0.5), np.random.default_rng(3))
    apart, _ = simulate_micrograph(dataclasses.replace(SMALL, layers=0.5, hard_core=1.0), np.random.default_rng(3))
    assert np.percentile(apart, 1) > np.percentile(free, 1)


def test_more_layers_are_more_particles_and_the_same_seed_the_same_picture() -> None:
    one, n_one = simulate_micrograph(SMALL, np.random.default_rng(4))
    again, _ = simulate_micrograph(SMALL, np.random.default_rng(4))
    _, n_two = simulate_micrograph(dataclasses.replace(SMALL, layers=0.6), np.random.default_rng(4))
    assert (one == again).all()
    assert n_two > n_one


def test_a_body_holds_its_particles_and_a_neighbour_does_not() -> None:
    for neighbour in (math.inf, 5.0):
        _, covered, inside = simulate_body(BodySpec(neighbour=neighbour), np.random.default_rng(4))
        assert (covered & inside).any()
        assert (covered & ~inside).any() == math.isfinite(neighbour)


def test_membranes_are_darker_than_what_lies_between() -> None:
    rng = np.random.default_rng(5)
    image, covered, inside = simulate_body(BodySpec(inner=0.12, n_vesicles=0, grain=0.0), rng)
    rim = inside & ~ndimage.binary_erosion(inside)
    assert image[rim].max() < 0.65 < np.median(image[~covered])
    assert inside.sum() == pytest.approx(math.pi * 43**2, rel=0.4)
