"""The pictures of a cluster lie in the plane of B0, are true to scale, and show what was measured."""

from __future__ import annotations

import base64
import dataclasses
import io
from typing import Any

import numpy as np
import pytest
from PIL import Image

from ferrosight.report import gallery
from ferrosight.types import PhaseSign


def pixels(picture: gallery.Picture) -> Any:
    """A picture's RGBA values."""
    raw = base64.b64decode(picture.uri.removeprefix("data:image/png;base64,"))
    return np.asarray(Image.open(io.BytesIO(raw)).convert("RGBA")).astype(int)


def test_the_plane_holds_b0_upwards_and_is_true_to_scale() -> None:
    b0 = np.array([1.0, 0.0, 0.0])
    plane = gallery.b0_plane((17, 19, 5), np.array([8.0, 9.0, 2.0]), (0.05, 0.03, 0.03), b0, np.array([0.0, -1.0, 0]))
    assert (plane.height_mm, plane.width_mm) == pytest.approx((17 * 0.05, 19 * 0.03))
    np.testing.assert_array_equal(plane.right, [0, -1, 0])
    i, j, k = plane.ijk
    assert plane.inside.all()
    assert (k == 2).all()
    assert (i[0, 0], i[-1, 0]) == (16, 0)
    assert (j[0, 0], j[0, -1]) == (18, 0)
    height, width = plane.inside.shape
    assert height / width == pytest.approx(plane.height_mm / plane.width_mm, rel=0.02)


def test_an_oblique_plane_holds_b0_and_passes_through_the_centre() -> None:
    b0 = np.array([0.6, 0.0, 0.8])
    voxel = (0.1, 0.1, 0.1)
    plane = gallery.b0_plane((21, 21, 21), np.array([10.2, 9.9, 10.0]), voxel, b0, np.array([1.0, 0, 0]))
    assert abs(plane.right @ b0) < 1e-12
    rows, columns = plane.inside.shape
    middle = plane.ijk[:, rows // 2, columns // 2]
    np.testing.assert_allclose(middle, [10, 10, 10], atol=1)
    # One step up the picture is a step along B0.
    up = plane.ijk[:, 0, columns // 2] - plane.ijk[:, -1, columns // 2]
    assert up @ b0 / np.linalg.norm(up) > 0.98


def test_the_lobes_along_b0_are_orange_and_those_beside_it_blue(gel: Any, oblique: Any) -> None:
    """Whether phase is stored growing (gel) or falling (oblique) with the field."""
    for visit in (gel, oblique):
        sign = int(visit.catalogue.phase_sign)
        assert visit.catalogue.phase_sign is not PhaseSign.UNKNOWN
        index = next(
            i
            for i, patch in enumerate(visit.catalogue.patches)
            if np.isfinite(patch.data).all() and min(patch.data.shape[1:3]) > 11
        )
        patch = visit.catalogue.patches[index]
        centre = np.array([visit.catalogue.fits[f"{a}_voxel"][index] for a in "ijk"])
        shown = gallery.draw_patch(patch, centre, visit.scan, visit.field_map, visit.catalogue, 0)
        rgba = pixels(shown.pictures[3])
        rows, columns = rgba.shape[:2]
        red_less_blue = rgba[..., 0] - rgba[..., 2]
        local = (centre - patch.origin_ijk) / np.array(patch.data.shape[1:])
        assert sign in (-1, 1)
        if visit is gel:
            # B0 runs along array axis 0: 0 at the bottom of the picture.
            row = int((1 - local[0]) * rows)
            above = red_less_blue[max(row - rows // 4, 0) : max(row - rows // 12, 1), columns // 2]
            assert above.mean() > 0
        assert red_less_blue.max() > 20
        assert red_less_blue.min() < -20


def test_voxels_left_out_of_the_fit_are_transparent_in_every_picture(gel: Any) -> None:
    patch = gel.catalogue.patches[0]
    data = patch.data.copy()
    data[:, : data.shape[1] // 2] = np.nan
    centre = np.array([gel.catalogue.fits[f"{a}_voxel"][0] for a in "ijk"])
    shown = gallery.draw_patch(dataclasses.replace(patch, data=data), centre, gel.scan, gel.field_map, gel.catalogue, 0)
    for picture in shown.pictures:
        alpha = pixels(picture)[..., 3]
        assert (alpha[-1] == 0).all()
        assert (alpha == 255).any()


def test_a_patch_of_nothing_but_gaps_draws(gel: Any) -> None:
    patch = gel.catalogue.patches[0]
    gaps = np.full_like(patch.data, np.nan)
    shown = gallery.draw_patch(
        dataclasses.replace(patch, data=gaps, model=gaps, background=gaps),
        np.full(3, np.nan),
        gel.scan,
        gel.field_map,
        gel.catalogue,
        3,
    )
    assert len(shown.pictures) == 5
    assert all(pixels(picture)[..., 3].max() == 0 for picture in shown.pictures)


@pytest.mark.parametrize(("longest", "expected"), [(0.39, 0.2), (1.0, 1.0), (0.0499, 0.02), (7.0, 5.0)])
def test_scale_bars_have_round_lengths(longest: float, expected: float) -> None:
    assert gallery._nice_length(longest) == pytest.approx(expected)


def test_a_window_cut_by_the_image_is_shown_whole() -> None:
    """The cluster then lies off the picture's middle, still in its plane."""
    b0 = np.array([1.0, 0.0, 0.0])
    plane = gallery.b0_plane((9, 19, 5), np.array([0.3, 9.0, 1.0]), (0.05, 0.03, 0.03), b0, np.array([0.0, 1.0, 0]))
    assert plane.inside.all()
    assert (plane.ijk[2] == 1).all()
    assert set(plane.ijk[0][:, 0]) == set(range(9))
