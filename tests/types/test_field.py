"""Noise, k-space support and field maps that make sense."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from ferrosight.errors import ImageError, InputError
from ferrosight.types import AxisSupport, FieldMap, Grid, Noise

SHAPE = (3, 5, 7)
FULL = (AxisSupport(), AxisSupport(), AxisSupport())


def make_noise(**changes: Any) -> Noise:
    lags = np.zeros((3, 1, 5))
    lags[1, 0, 2] = 1
    values: dict[str, Any] = {"sigma": np.ones((2, *SHAPE)), "autocorrelation": lags, "support": FULL}
    return Noise(**{**values, **changes})


def make_field(**changes: Any) -> FieldMap:
    names = ("field_hz", "field_hz_err", "local_field_hz", "r2star_per_s", "r2star_per_s_err", "s0")
    values: dict[str, Any] = {name: np.zeros(SHAPE) for name in names}
    values |= {"grid": Grid(SHAPE, np.eye(4)), "mask": np.ones(SHAPE, dtype=bool), "noise": make_noise()}
    return FieldMap(**{**values, **changes})


def test_support_says_what_was_acquired() -> None:
    assert AxisSupport().is_full
    assert AxisSupport(-0.25, 0.25).width == 0.5
    assert not AxisSupport(-0.5, 0.25).is_full


@pytest.mark.parametrize(("low", "high"), [(-0.6, 0.5), (-0.5, 0.6), (0.2, 0.1), (0.0, 0.0), (float("nan"), 0.5)])
def test_support_lies_within_the_stored_lines(low: float, high: float) -> None:
    with pytest.raises(ImageError, match="support must lie within"):
        AxisSupport(low, high)


@pytest.mark.parametrize("bad", [0.0, -1.0])
def test_noise_is_positive(bad: float) -> None:
    sigma = np.ones((2, *SHAPE))
    sigma[1, 2, 3, 4] = bad
    with pytest.raises(ImageError, match="noise must be positive"):
        make_noise(sigma=sigma)


def test_noise_that_is_not_finite_is_refused() -> None:
    with pytest.raises(InputError, match="noise sigma must be finite"):
        make_noise(sigma=np.full((2, *SHAPE), np.nan))


def test_the_autocorrelation_has_a_centre() -> None:
    with pytest.raises(ImageError, match="odd number of lags"):
        make_noise(autocorrelation=np.ones((3, 2, 5)))


@pytest.mark.parametrize("name", ["field_hz", "r2star_per_s_err", "s0", "mask"])
def test_every_map_has_the_grids_shape(name: str) -> None:
    with pytest.raises(InputError, match=rf"{name} must have shape \(3, 5, 7\), but has \(7, 5, 3\)"):
        make_field(**{name: np.zeros(SHAPE[::-1])})


def test_maps_may_hold_nan_outside_the_mask() -> None:
    assert np.isnan(make_field(r2star_per_s=np.full(SHAPE, np.nan)).r2star_per_s).all()
