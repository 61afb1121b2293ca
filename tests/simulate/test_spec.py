"""What a specification refuses, and the affine it builds."""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np
import pytest

from ferrosight.errors import InputError
from ferrosight.physics.dipole import sphere_moment_am2
from ferrosight.simulate import Cells, ScanSpec, Sphere, Vein, build_affine, build_bubble
from ferrosight.types import Grid, PhaseSign


def make_spec(**changes: Any) -> ScanSpec:
    """A small scan with unequal voxels and an oblique affine."""
    shape = (9, 8, 7)
    spec = ScanSpec(shape, build_affine(shape, (0.1, 0.12, 0.15), (20, -10, 30)), (0.005,), 7.0)
    return dataclasses.replace(spec, **changes)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"point_spread": "sinc"}, "must be 'box' or 'kspace'"),
        ({"sub_sampling": 12}, "power of two"),
        ({"sub_sampling": 1}, "power of two"),
        ({"phase_sign": PhaseSign.UNKNOWN}, r"phase sign of \+1 or -1"),
        ({"snr": 0.0}, "snr must be positive"),
        ({"receive_variation": 1.0}, "receive_variation must lie"),
        ({"noise_variation": -0.1}, "noise_variation must lie"),
    ],
)
def test_impossible_specifications_are_refused(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError, match=message):
        make_spec(**changes)


def test_impossible_sources_are_refused() -> None:
    with pytest.raises(InputError, match="at least one cell"):
        Cells((0, 0, 0), 10.0, 1e-13, 0)
    with pytest.raises(InputError, match="radius must be positive"):
        Sphere((0, 0, 0), 0.0, 1e-6, "haemorrhage")
    with pytest.raises(InputError, match="two different ends"):
        Vein((0, 0, 0), (0, 0, 0), 50.0, 1e-6)


def test_affine_is_centred_and_keeps_voxel_sizes() -> None:
    grid = Grid((9, 8, 7), build_affine((9, 8, 7), (0.1, 0.12, 0.15), (20, -10, 30)))
    np.testing.assert_allclose(grid.voxel_mm, (0.1, 0.12, 0.15))
    np.testing.assert_allclose(grid.to_mm([4, 3.5, 3]), 0, atol=1e-12)
    turned = Grid((3, 3, 3), build_affine((3, 3, 3), (1, 1, 1), (0, 0, 90)))
    np.testing.assert_allclose(turned.axes[:, 0], [0, 1, 0], atol=1e-12)


def test_a_bubble_has_the_sign_of_iron_and_the_size_the_method_names() -> None:
    # 36 µm of gas at 11.7 T: about 190 pg of iron at 92 A m² per kg
    bubble = build_bubble((0, 0, 0), 36.0)
    moment = float(sphere_moment_am2(36e-6, bubble.delta_chi, 11.7))
    assert moment / (92 * 1e-15) == pytest.approx(190, rel=0.05)
    assert bubble.inside_per_s == np.inf
