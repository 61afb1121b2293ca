"""Every preset in a small field of view: it can be simulated, and holds what it says."""

from __future__ import annotations

import dataclasses
import math

import numpy as np
import pytest

from ferrosight.errors import InputError
from ferrosight.simulate import PRESETS, PlacedCells, get_preset, simulate_scan


def test_an_unknown_preset_names_the_known() -> None:
    with pytest.raises(InputError, match="gel-11t, mouse-brain-9t, rat-hindlimb-7t, human-brain-3t"):
        get_preset("gel")


@pytest.mark.parametrize("name", PRESETS)
def test_a_preset_is_the_same_for_a_seed_and_differs_for_another(name: str) -> None:
    preset = PRESETS[name]
    first, again, other = (preset.build_spec(seed, shape=(40, 40, 24)) for seed in (1, 1, 2))
    assert len(first.sources) == len(again.sources) > 0
    assert first.motion_mm == again.motion_mm
    places = [
        [s.positions_mm.tolist() for s in spec.sources if isinstance(s, PlacedCells)] for spec in (first, again, other)
    ]
    assert places[0] == places[1] != places[2]
    np.testing.assert_allclose(first.grid.voxel_mm, preset.voxel_mm)


@pytest.mark.parametrize("name", PRESETS)
def test_a_preset_gives_tissue_noise_and_sources_of_the_stated_size(name: str) -> None:
    preset = PRESETS[name]
    shape = (36, 32, 8 if name == "gel-11t" else 20)
    spec = preset.build_spec(3, shape=shape)
    # a quick acquisition: what is asked here does not depend on it
    spec = dataclasses.replace(spec, point_spread="box", bandwidth_hz=math.inf, sub_sampling=2)
    scan, truth = simulate_scan(spec, 3)
    assert scan.signal.shape == (len(spec.echo_times_s), *shape)
    assert np.isfinite(scan.signal).all()
    middle = np.abs(scan.signal[0, 12:24, 10:22, shape[2] // 2 - 3 : shape[2] // 2 + 3])
    assert 0.3 < np.median(middle) < 1.3
    assert "labelled" in truth.table["kind"]
    assert len(truth.table) == len(spec.sources)


def test_the_gel_is_acquired_like_the_real_one() -> None:
    spec = get_preset("gel-11t").build_spec(0)
    assert spec.shape == (256, 256, 8)
    np.testing.assert_allclose(spec.grid.direction_in_array((0, 0, 1)), [1, 0, 0], atol=1e-9)


@pytest.mark.data
def test_the_gel_has_the_voxels_and_the_protocol_of_the_real_one(data_dir) -> None:  # type: ignore[no-untyped-def]
    from ferrosight import read_bids

    real, spec = read_bids(data_dir / "gel"), get_preset("gel-11t").build_spec(0)
    assert real.signal.shape[1:] == spec.shape
    np.testing.assert_allclose(real.grid.voxel_mm, spec.grid.voxel_mm, rtol=1e-4)
    np.testing.assert_allclose(real.echo_times_s, spec.echo_times_s)
    np.testing.assert_allclose(real.b0_in_array, spec.grid.direction_in_array(spec.b0_direction), atol=1e-6)
    assert real.b0_t == pytest.approx(spec.b0_t)
