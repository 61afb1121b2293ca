"""The whole stage: scans of known field, relaxation and noise come back with errors that are right."""

from __future__ import annotations

from pathlib import Path
from types import ModuleType

import nibabel as nib
import numpy as np
import pytest

from ferrosight.errors import AnalysisError
from ferrosight.field import measure_field
from ferrosight.types import PhaseSign, Scan
from ferrosight.types.config import FieldConfig

SHAPE = (61, 50, 33)
TIMES = np.array([0.004, 0.009, 0.014])
#: Unequal voxels, tilted twice, one axis flipped.
OBLIQUE = np.array([[0.28, 0.12, 0.0, 5.0], [-0.1, 0.33, 0.2, -3.0], [0.03, -0.13, 0.5, 8.0], [0.0, 0.0, 0.0, 1.0]])


def oblique_affine() -> np.ndarray:
    """``OBLIQUE`` with its axes made exactly orthogonal."""
    affine = OBLIQUE.copy()
    axes, _ = np.linalg.qr(OBLIQUE[:3, :3])
    affine[:3, :3] = axes * np.array([-0.3, 0.4, 0.55])
    return affine


def true_maps(phantoms: ModuleType) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Field (Hz), R2* (1/s), S0 and tissue: a ball in air."""
    x, y, z = phantoms.coordinates(SHAPE)
    tissue = x**2 + y**2 + z**2 < 0.85
    field = 130 * x - 90 * y * z + 40
    r2star = 30 + 15 * y
    return field, r2star, 1 + 0.2 * z, tissue


def make_scan(
    phantoms: ModuleType,
    rng: np.random.Generator,
    times: np.ndarray,
    *,
    snr: float = 40.0,
    sign: PhaseSign = PhaseSign.POSITIVE,
    offset_rad: float = 0.0,
) -> Scan:
    field, r2star, s0, tissue = true_maps(phantoms)
    turn = -1 if sign == PhaseSign.NEGATIVE else 1
    t = times[:, None, None, None]
    signal = tissue * s0 * np.exp(-r2star * t + 1j * turn * (2 * np.pi * field * t + offset_rad))
    signal = signal + phantoms.complex_noise(rng, signal.shape, 1 / snr)
    return Scan(signal.astype(np.complex64), times, 7.0, oblique_affine(), phase_sign=sign)


@pytest.mark.parametrize("n_echoes", [1, 2, 3])
def test_field_and_its_error_are_right(phantoms: ModuleType, rng: np.random.Generator, n_echoes: int) -> None:
    true_hz, true_r2, _, tissue = true_maps(phantoms)
    offset = 0.0 if n_echoes == 1 else 1.2
    spread, share, r2_spread = [], [], []
    for _ in range(4):
        scan = make_scan(phantoms, rng, TIMES[:n_echoes], offset_rad=offset)
        found = measure_field(scan, FieldConfig())
        inside = tissue & found.mask
        assert np.mean(found.mask[tissue]) > 0.99
        z = ((found.field_hz - true_hz) / found.field_hz_err)[inside]
        spread.append(np.quantile(np.abs(z - np.median(z)), 0.68))
        share.append(np.mean(np.abs(z) < 1.96))
        assert abs(np.median(z)) < 0.05
        if n_echoes == 1:
            assert np.isnan(found.r2star_per_s).all()
            assert found.s0[inside] == pytest.approx(np.abs(scan.signal[0][inside]))
        else:
            r2_z = ((found.r2star_per_s - true_r2) / found.r2star_per_s_err)[inside]
            r2_spread.append(np.std(r2_z))
            assert abs(np.mean(r2_z)) < 0.1
    assert np.mean(spread) == pytest.approx(1, abs=0.05)
    assert np.mean(share) == pytest.approx(0.95, abs=0.015)
    if n_echoes > 1:
        assert np.mean(r2_spread) == pytest.approx(1, abs=0.05)


@pytest.mark.parametrize("n_echoes", [1, 3])
def test_a_negative_phase_sign_turns_the_field_and_nothing_else(
    phantoms: ModuleType, rng: np.random.Generator, n_echoes: int
) -> None:
    scan = make_scan(phantoms, rng, TIMES[:n_echoes])
    mirrored = Scan(np.conj(scan.signal), scan.echo_times_s, 7.0, scan.affine, phase_sign=PhaseSign.NEGATIVE)
    unknown = Scan(scan.signal, scan.echo_times_s, 7.0, scan.affine, phase_sign=PhaseSign.UNKNOWN)
    plain, turned, as_positive = (measure_field(s, FieldConfig()) for s in (scan, mirrored, unknown))
    for name in ("field_hz", "field_hz_err", "local_field_hz", "r2star_per_s", "s0"):
        assert np.allclose(getattr(plain, name), getattr(turned, name), rtol=1e-3, atol=2e-2, equal_nan=True)
        assert np.array_equal(getattr(plain, name), getattr(as_positive, name), equal_nan=True)


def test_maps_are_missing_outside_the_mask_and_only_there(phantoms: ModuleType, rng: np.random.Generator) -> None:
    found = measure_field(make_scan(phantoms, rng, TIMES), FieldConfig())
    for name in ("field_hz", "field_hz_err", "local_field_hz", "r2star_per_s", "r2star_per_s_err", "s0"):
        assert np.array_equal(np.isfinite(getattr(found, name)), found.mask), name
    assert not found.mask[0, 0, 0]
    assert found.noise.sigma.shape == (3, *SHAPE)
    assert found.noise.autocorrelation.shape == (5, 5, 5)


def test_each_echo_has_its_own_noise(phantoms: ModuleType, rng: np.random.Generator) -> None:
    level = np.array([0.01, 0.02, 0.04])[:, None, None, None]
    signal = 1 + level * phantoms.complex_noise(rng, (3, *SHAPE))
    found = measure_field(Scan(signal.astype(np.complex64), TIMES, 7.0, oblique_affine()), FieldConfig())
    assert found.noise.sigma.mean((1, 2, 3)) == pytest.approx(level.ravel(), rel=0.03)
    assert found.mask.all()


def test_every_setting_changes_the_result(phantoms: ModuleType, rng: np.random.Generator) -> None:
    scan = make_scan(phantoms, rng, TIMES[:1])
    plain = measure_field(scan, FieldConfig())
    narrow = measure_field(scan, FieldConfig(background_mm=0.8))
    strict = measure_field(scan, FieldConfig(mask_snr=34.0, closing_mm=0.1))
    assert np.nanstd(narrow.local_field_hz) < np.nanstd(plain.local_field_hz)
    assert strict.mask.sum() < 0.9 * plain.mask.sum()


def test_progress_is_told_from_none_to_all(phantoms: ModuleType, rng: np.random.Generator) -> None:
    told: list[tuple[str, int, int]] = []
    measure_field(
        make_scan(phantoms, rng, TIMES[:1]),
        FieldConfig(),
        on_progress=lambda what, done, total: told.append((what, done, total)),
    )
    assert [done for _, done, _ in told] == list(range(told[0][2] + 1))


def test_scans_that_cannot_be_analysed_say_why(phantoms: ModuleType, rng: np.random.Generator) -> None:
    empty = Scan(np.zeros((1, 20, 21, 9), np.complex64), TIMES[:1], 7.0, np.eye(4))
    with pytest.raises(AnalysisError, match="every voxel is zero"):
        measure_field(empty, FieldConfig())
    noise = Scan(phantoms.complex_noise(rng, (1, 30, 31, 19)).astype(np.complex64), TIMES[:1], 7.0, np.eye(4))
    with pytest.raises(AnalysisError, match=r"lower the setting field\.mask_snr"):
        measure_field(noise, FieldConfig())


def test_data_without_noise_are_measured_all_the_same(phantoms: ModuleType) -> None:
    x, y, z = phantoms.coordinates((40, 33, 21))
    signal = np.exp(1j * (x + y * z))[None].astype(np.complex64)
    found = measure_field(Scan(signal, TIMES[:1], 7.0, np.eye(4)), FieldConfig())
    assert found.mask.all()
    assert (found.noise.sigma < 1e-3).all()


def read_scan(folder: Path, stems: list[str], suffix: str, times: list[float], b0_t: float) -> Scan:
    echoes, affine = [], np.eye(4)
    for stem in stems:
        magnitude, phase = (nib.load(folder / f"{stem}_part-{part}_{suffix}.nii.gz") for part in ("mag", "phase"))
        affine = magnitude.affine
        echoes.append(np.asarray(magnitude.dataobj) * np.exp(1j * np.asarray(phase.dataobj)))
    return Scan(np.stack(echoes).astype(np.complex64), np.array(times), b0_t, affine)


@pytest.mark.data
def test_gel_tube_is_tissue_with_its_black_dots_and_air_is_not(data_dir: Path) -> None:
    scan = read_scan(data_dir / "gel" / "sub-gel" / "anat", ["sub-gel"], "T2starw", [0.005], 11.746)
    found = measure_field(scan, FieldConfig())
    assert found.mask[:150, 25:235].all()
    assert not found.mask[:, :10].any()
    assert not found.mask[:, 250:].any()
    assert np.isnan(found.r2star_per_s).all()
    # Unwrapped: neighbours inside the tube differ by far less than a turn, but for the dipoles' cores.
    steps = np.abs(np.diff(found.field_hz[5:150, 30:230], axis=1)) * 0.005
    assert np.mean(steps > 0.5) < 0.002


@pytest.mark.data
def test_brain_crop_is_all_tissue_and_its_maps_are_plausible(data_dir: Path) -> None:
    stems = [f"sub-crop_echo-{e}" for e in (1, 2, 3)]
    scan = read_scan(data_dir / "brain-crop" / "sub-crop" / "anat", stems, "MEGRE", [0.004, 0.008, 0.012], 7.0)
    found = measure_field(scan, FieldConfig())
    assert found.mask.all()
    assert 20 < np.median(found.r2star_per_s) < 45
    # Three echoes of one acquisition have one noise.
    levels = np.median(found.noise.sigma, axis=(1, 2, 3))
    assert levels == pytest.approx([levels[0]] * 3, rel=0.05)
    assert abs(found.noise.autocorrelation[2, 2, 3]) > 0.2
    assert abs(found.noise.autocorrelation[3, 2, 2]) < 0.02
