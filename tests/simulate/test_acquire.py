"""Readout, chemical shift and motion, against a line-by-line readout and whole shifts."""

from __future__ import annotations

import dataclasses
import math
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from ferrosight.physics.constants import GAMMA_HZ_PER_T
from ferrosight.physics.fat import FAT_SHIFTS_PPM
from ferrosight.simulate import Point, ScanSpec, build_affine, simulate_scan
from ferrosight.simulate import acquire as module
from ferrosight.simulate.acquire import acquire_echoes
from ferrosight.simulate.background import Tissue, draw_tissue, tissue_signal
from ferrosight.simulate.bodies import HZ_M3_PER_AM2, Swarm
from ferrosight.simulate.point_spread import apply_bodies
from ferrosight.types import PhaseSign

SHAPE = (20, 17, 14)


def make_spec(**changes: Any) -> ScanSpec:
    spec = ScanSpec(SHAPE, build_affine(SHAPE, (0.1, 0.08, 0.13), (20, -10, 30)), (0.004, 0.009, 0.014), 7.0)
    return dataclasses.replace(spec, **changes)


def make_blob(field_hz: float, *, is_fat: bool = False) -> Tissue:
    """A smooth blob about the middle, in a uniform field."""
    grid = np.meshgrid(*((np.arange(n) - n // 2) / 1.5 for n in SHAPE), indexing="ij")
    blob = np.exp(-sum(x**2 for x in grid) / 2)
    zero = np.zeros(SHAPE)
    return Tissue(zero if is_fat else blob, blob if is_fat else None, zero, zero + field_hz, zero)


def shift_of(image: NDArray[np.complex128], axis: int) -> float:
    """How far the blob's centre lies from the middle along an axis, voxels."""
    weights = np.abs(image)
    at = np.arange(SHAPE[axis]) - SHAPE[axis] // 2
    return float((weights.sum(axis=tuple(a for a in range(3) if a != axis)) * at).sum() / weights.sum())


@pytest.mark.parametrize("sign", [PhaseSign.POSITIVE, PhaseSign.NEGATIVE])
@pytest.mark.parametrize("axis", [0, 1, 2])
def test_a_stronger_field_moves_signal_up_the_readout_and_back_in_every_other_bipolar_echo(
    sign: PhaseSign, axis: int
) -> None:
    spec = make_spec(bandwidth_hz=400.0, background_hz=300.0, readout_axis=axis, phase_sign=sign)
    for is_bipolar, ways in ((False, (1, 1, 1)), (True, (1, -1, 1))):
        echoes = acquire_echoes(dataclasses.replace(spec, is_bipolar=is_bipolar), make_blob(300.0), [])
        for echo, way in zip(echoes, ways, strict=True):
            assert shift_of(echo, axis) == pytest.approx(0.75 * way, abs=0.02)
            for other in {0, 1, 2} - {axis}:
                assert shift_of(echo, other) == pytest.approx(0, abs=0.02)


@pytest.mark.parametrize("sign", [PhaseSign.POSITIVE, PhaseSign.NEGATIVE])
def test_a_readout_equals_one_image_per_line(sign: PhaseSign) -> None:
    spec = make_spec(
        bandwidth_hz=500.0,
        readout_axis=1,
        background_hz=80.0,
        r2star_per_s=60.0,
        fat_share=0.3,
        structure_mm=0.3,
        is_bipolar=True,
        phase_sign=sign,
        sources=(Point((0.0, 0.0, 0.0), 1e-12),),
    )
    tissue = draw_tissue(spec, np.random.SeedSequence(3).spawn(6))
    b0 = spec.grid.direction_in_array(spec.b0_direction)
    middle = (np.array(SHAPE) - 1) / 2 * np.array(spec.grid.voxel_mm) * 1e-3
    body = Swarm(middle[None], np.array([HZ_M3_PER_AM2 * 1e-12]), 0.0, b0)
    result = acquire_echoes(spec, tissue, [body])[1]
    assert tissue.fat is not None
    lines = np.fft.fftfreq(SHAPE[1])
    expected = np.zeros(SHAPE, dtype=complex)
    for index, line in enumerate(lines):
        time = spec.echo_times_s[1] + int(sign) * line / 500.0
        fat = tissue_signal(spec, tissue, np.array([time]), is_fat=True)
        total = tissue_signal(spec, tissue, np.array([time]), is_fat=False) + fat * module._chemical(
            spec, np.array([time])
        )
        seen = apply_bodies(
            total,
            [body],
            np.array(spec.grid.voxel_mm) * 1e-3,
            int(sign) * np.array([time]),
            "box",
            spec.support,
            16,
        )[0]
        expected[:, index] = np.fft.fft(seen, axis=1)[:, index]
    expected = np.fft.ifft(expected, axis=1)
    assert np.abs(result - expected).mean() < 0.002
    # next to the point what moves far is let go
    assert np.abs(result - expected).max() < 0.06
    still = acquire_echoes(dataclasses.replace(spec, bandwidth_hz=math.inf), tissue, [body])[1]
    assert np.abs(still - expected).mean() > 0.02


def test_fat_is_displaced_by_its_shift_and_loses_signal_as_its_peaks_part() -> None:
    tissue = make_blob(0.0, is_fat=True)
    spec = make_spec(bandwidth_hz=1000.0)
    main_hz = FAT_SHIFTS_PPM[1] * 1e-6 * GAMMA_HZ_PER_T * 7.0
    echoes = acquire_echoes(spec, tissue, [])
    # several peaks: between the main one's displacement and none
    assert main_hz / 1000 < shift_of(echoes[0], 0) < 0.8 * main_hz / 1000
    at_once = acquire_echoes(make_spec(echo_times_s=(1e-7, 0.004, 0.0041)), tissue, [])
    np.testing.assert_allclose(at_once[0], tissue.fat, rtol=1e-2, atol=1e-3)
    assert np.abs(at_once[1]).sum() < 0.95 * np.abs(at_once[0]).sum()
    turned = float(np.angle((at_once[2] * at_once[1].conj()).sum())) / (2 * np.pi * 1e-4)
    assert turned == pytest.approx(main_hz, rel=0.15)
    mirrored = acquire_echoes(make_spec(phase_sign=PhaseSign.NEGATIVE), tissue, [])
    np.testing.assert_allclose(mirrored, acquire_echoes(make_spec(), tissue, []).conj(), atol=1e-9)


def test_motion_moves_each_echo_along_scanner_axes() -> None:
    spec = make_spec()
    step = 2 * spec.affine[:3, 1] - spec.affine[:3, 2]
    motion = ((0.0, 0.0, 0.0), tuple(float(v) for v in step), (0.0, 0.0, 0.0))
    tissue = make_blob(20.0)
    still, moved = (acquire_echoes(one, tissue, []) for one in (spec, dataclasses.replace(spec, motion_mm=motion)))
    np.testing.assert_allclose(moved[1], np.roll(still[1], (2, -1), axis=(1, 2)), atol=1e-9)
    np.testing.assert_array_equal(moved[[0, 2]], still[[0, 2]])


def test_another_visit_has_the_same_tissue_and_other_noise() -> None:
    spec = make_spec(snr=50.0, texture_ppm=0.02, background_hz=10.0, receive_variation=0.2)
    first, again, *others = (simulate_scan(spec, 5, visit=visit)[0].signal for visit in (0, 0, 1, 2, -1))
    clean = simulate_scan(dataclasses.replace(spec, snr=math.inf), 5)[0].signal
    np.testing.assert_array_equal(first, again)
    noises = [signal - clean for signal in (first, *others)]
    for index, one in enumerate(noises):
        assert one.real.std() == pytest.approx(1 / 50, rel=0.05)
        for two in noises[:index]:
            assert abs(np.vdot(one, two)) < 0.05 * np.vdot(one, one).real
