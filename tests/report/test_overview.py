"""Projections are true to scale, marked where the clusters are, and read by letters."""

from __future__ import annotations

import dataclasses
import re
from typing import Any

import numpy as np
import pytest

from ferrosight.report import overview
from ferrosight.report.orientation import anatomical_view
from ferrosight.types import Grid


def test_the_largest_plane_is_the_main_panel() -> None:
    assert overview.choose_layout((9.3, 0.29, 14.0)) == overview.Layout(0, 2, 1, 4.0)
    assert overview.choose_layout((20.0, 20.0, 3.0)) == overview.Layout(0, 1, 2, 1.0)
    assert overview.choose_layout((2.0, 30.0, 30.0)).through == 0
    # Two equally thin: coronal before axial before sagittal.
    assert overview.choose_layout((24.0, 24.0, 41.0)).through == 1
    # About equal: a coronal main panel, as orthogonal views usually have it.
    assert overview.choose_layout((10.0, 9.0, 12.0)) == overview.Layout(0, 2, 1, 1.0)


@pytest.mark.parametrize("shape_voxel", [((256, 256, 8), (0.0547, 0.0363, 0.0363)), ((51, 51, 41), (0.47, 0.47, 1.0))])
@pytest.mark.parametrize("order", [(0, 1, 2), (2, 0, 1), (1, 0, 2)])
def test_a_millimetre_is_as_long_up_as_across_in_every_panel(shape_voxel: Any, order: tuple[int, ...]) -> None:
    shape, voxel = shape_voxel
    affine = np.eye(4)
    affine[:3, :3] = np.eye(3)[:, list(order)] * voxel
    view = anatomical_view(Grid(shape, affine))
    layout = overview.choose_layout(tuple(axis.extent_mm for axis in view.axes))  # type: ignore[arg-type]
    _, panels = overview._place_panels(view, layout)
    per_mm = []
    for axes, across, up in panels:
        box = axes.get_window_extent()
        for length, anatomical in ((box.width, across), (box.height, up)):
            stretch = layout.stretch if anatomical == layout.through else 1.0
            per_mm.append(length / view.axes[anatomical].extent_mm / stretch)
    np.testing.assert_allclose(per_mm, per_mm[0], rtol=1e-6)
    # Where nothing is stretched the depth is to scale too.
    assert layout.stretch == 1 or view.axes[layout.through].extent_mm < 0.075 * 15


def test_letters_of_the_gel_follow_its_affine(gel: Any) -> None:
    svg = overview.draw_magnitude_overview(gel.scan, gel.field_map, gel.catalogue)
    letters = re.findall(r"<text[^>]*>([RLAPSI]{1,3})</text>", svg)
    # Across (left, right), up (low, high), then the slab's depth beside and below.
    assert letters == ["R", "L", "I", "S", "A", "P", "P", "A"]


def test_letters_of_an_oblique_scan_name_two_axes(oblique: Any) -> None:
    svg = overview.draw_magnitude_overview(oblique.scan, oblique.field_map, oblique.catalogue)
    letters = set(re.findall(r"<text[^>]*>([RLAPSI]{1,3})</text>", svg))
    assert {"R", "L"} <= letters
    assert any(len(letter) == 2 for letter in letters)
    assert "y′ (mm)" in svg


def test_a_circle_lies_on_the_voxel_of_its_cluster(gel: Any) -> None:
    """The darkest voxels of the main panel are under the circles, in the drawing's own coordinates."""
    view = anatomical_view(gel.scan.grid)
    layout = overview.choose_layout(tuple(axis.extent_mm for axis in view.axes))  # type: ignore[arg-type]
    _, panels = overview._place_panels(view, layout)
    axes, across, up = panels[0]
    volume = overview.relative_magnitude(gel.scan, gel.field_map, 0)
    image = np.fmin.reduce(view.arrange(volume), axis=layout.through)
    overview._show(axes, view, image, across, up, overview.MAGNITUDE_COLOURS, None)  # type: ignore[arg-type]
    marks = [mark for mark in overview.list_marks(view, gel.catalogue) if not mark.path][:10]
    for mark in marks:
        x, y = mark.coordinates[across], mark.coordinates[up]
        i = int((x - view.axes[across].edges_mm[0]) / view.axes[across].voxel_mm)
        j = int((y - view.axes[up].edges_mm[0]) / view.axes[up].voxel_mm)
        around = image[max(i - 1, 0) : i + 2, max(j - 1, 0) : j + 2]
        assert np.nanmin(around) < 0.7
    # Radiological: a cluster further right in the patient is drawn further left.
    points = overview.page_points(axes, np.array([0.0, 1.0]), np.array([0.0, 0.0]))
    assert points[1, 0] < points[0, 0]
    points = overview.page_points(axes, np.array([0.0, 0.0]), np.array([0.0, 1.0]))
    assert points[1, 1] < points[0, 1]


def test_radii_grow_as_the_cube_root_of_the_moment() -> None:
    radii = overview.mark_radii(np.array([2.0, 4.0, 4.0, -8.0, np.nan, 0.0]))
    assert radii[3] / radii[0] == pytest.approx(4 ** (1 / 3))
    assert np.isfinite(radii).all()


def test_rejected_candidates_have_another_shape(gel: Any) -> None:
    marks = overview.list_marks(anatomical_view(gel.scan.grid), gel.catalogue)
    words = {mark.words for mark in marks if mark.path}
    assert words == {
        "rejected: bubble",
        "rejected: vein",
        "rejected: opposite polarity",
        "rejected: centre outside the tissue",
    }
    assert len({mark.path for mark in marks}) == 5
    n_accepted = len(gel.catalogue.accepted)
    assert [mark.anchor for mark in marks if not mark.path] == [f"#accepted-{i + 1}" for i in range(n_accepted)]


def test_shading_goes_and_voids_stay(gel: Any) -> None:
    relative = overview.relative_magnitude(gel.scan, gel.field_map, 0)
    mask = gel.field_map.mask
    assert np.isnan(relative[~mask]).all()
    thirds = np.array_split(np.arange(relative.shape[0]), 3)
    medians = [float(np.nanmedian(relative[rows])) for rows in thirds]
    shaded = [float(np.median(np.abs(gel.scan.signal[0])[rows][mask[rows]])) for rows in thirds]
    assert max(shaded) / min(shaded) > 1.2
    assert max(medians) / min(medians) < 1.05
    assert float(np.nanmin(relative)) < 0.3


def test_air_inside_the_mask_along_a_face_is_left_out_and_a_void_there_is_not(gel: Any) -> None:
    signal = gel.scan.signal.copy()
    signal[:, 20:50, 20:50, 0] *= 0.02
    signal[:, 60:64, 40:44, 7] *= 0.02
    scan = dataclasses.replace(gel.scan, signal=signal)
    relative = overview.relative_magnitude(scan, gel.field_map, 0)
    assert np.isnan(relative[25:45, 25:45, 0]).all()
    assert np.isfinite(relative[20:50, 20:50, 1]).mean() > 0.99
    assert (relative[61:63, 41:43, 7] < 0.2).all()


def test_a_dark_rim_at_the_outside_is_left_out_and_a_void_inside_is_not(visit_factory: Any) -> None:
    visit = visit_factory((40, 40, 12), (0.1, 0.1, 0.1), np.eye(3), n_accepted=1, n_rejected=0)
    signal = visit.scan.signal.copy()
    mask = visit.field_map.mask
    edge = np.argwhere(mask.any(axis=(0, 2)))[0, 0]
    signal[:, :, edge : edge + 3] *= 0.05
    signal[:, 15, 20, 6] = 0.01
    scan = dataclasses.replace(visit.scan, signal=signal)
    relative = overview.relative_magnitude(scan, visit.field_map, 0)
    assert np.isnan(relative[:, edge : edge + 3]).all()
    assert np.isfinite(relative[5:20, edge + 4]).all()
    assert relative[15, 20, 6] < 0.1


def test_a_huge_projection_is_binned_without_losing_its_darkest_voxel() -> None:
    image = np.ones((1500, 700), dtype=np.float32)
    image[777, 333] = 0.1
    small = overview._bin(image, np.fmin)
    assert max(small.shape) <= 512
    assert small.min() == np.float32(0.1)


def test_an_empty_mask_draws_all_the_same(empty: Any) -> None:
    blank = dataclasses.replace(empty.field_map, mask=np.zeros(empty.scan.grid.shape, dtype=bool))
    assert overview.draw_magnitude_overview(empty.scan, blank, empty.catalogue).startswith("<svg")
    nothing = dataclasses.replace(empty.evidence, z=np.zeros_like(empty.evidence.z))
    assert overview.draw_evidence_overview(empty.scan, nothing, empty.catalogue).startswith("<svg")
