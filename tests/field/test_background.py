"""The background goes, the dipoles stay."""

from __future__ import annotations

import numpy as np
import pytest

from ferrosight.field.background import remove_background

SHAPE = (60, 71, 33)
VOXEL = (0.2, 0.15, 0.3)


def setup() -> tuple[list[np.ndarray], np.ndarray, np.ndarray]:
    grid = np.meshgrid(*[np.linspace(-1, 1, n) for n in SHAPE], indexing="ij")
    mask = grid[0] ** 2 + grid[1] ** 2 < 0.9
    return grid, mask, np.ones(SHAPE, dtype=np.float32)


def test_a_smooth_field_is_removed_up_to_the_border_of_the_mask() -> None:
    (x, y, z), mask, err = setup()
    field = np.where(mask, 200 + 40 * x - 30 * y + 25 * x * y + 20 * z, np.nan).astype(np.float32)
    local = remove_background(field, err, mask, VOXEL, width_mm=0.0)
    assert np.isnan(local[~mask]).all()
    assert np.nanstd(local) < 0.05 * np.nanstd(field)
    assert np.nanmax(np.abs(local)) < 0.15 * np.nanmax(np.abs(field - 200))


def test_a_dipole_keeps_its_lobes() -> None:
    (x, y, z), mask, err = setup()
    r = [(g - g[30, 35, 16]) * n / 2 for g, n in zip((x, y, z), SHAPE, strict=True)]
    r2 = sum(v**2 for v in r) + 1
    dipole = 60 * (3 * r[2] ** 2 / r2 - 1) / r2**1.5
    field = np.where(mask, dipole + 50 * x, np.nan).astype(np.float32)
    local = remove_background(field, err, mask, VOXEL, width_mm=0.0)
    near = (r2 > 2) & (r2 < 12)
    slope = np.sum(local[near] * dipole[near]) / np.sum(dipole[near] ** 2)
    assert slope == pytest.approx(1, abs=0.1)


def test_a_wider_setting_takes_off_less() -> None:
    (x, _, _), mask, err = setup()
    field = np.where(mask, 30 * np.sin(9 * x), np.nan).astype(np.float32)
    narrow, wide = (np.nanstd(remove_background(field, err, mask, VOXEL, width_mm=w)) for w in (0.8, 6.0))
    assert narrow < 0.3 * wide


def test_voxels_of_unknown_field_do_not_pull() -> None:
    (x, _, _), mask, err = setup()
    field = np.where(mask, 10 * x, np.nan).astype(np.float32)
    spoilt, spoilt_err = field.copy(), err.copy()
    spoilt[30, 35, 16], spoilt_err[30, 35, 16] = 1e4, 1e3
    clean = remove_background(field, err, mask, VOXEL, width_mm=0.0)
    local = remove_background(spoilt, spoilt_err, mask, VOXEL, width_mm=0.0)
    other = mask.copy()
    other[30, 35, 16] = False
    assert np.abs(local - clean)[other].max() < 0.1


def test_an_empty_mask_gives_nothing() -> None:
    local = remove_background(
        np.zeros(SHAPE, np.float32), np.ones(SHAPE, np.float32), np.zeros(SHAPE, bool), VOXEL, width_mm=0.0
    )
    assert np.isnan(local).all()
