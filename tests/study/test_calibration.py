"""A phantom scanned with the study's protocol counts the cells of an animal scanned with it."""

from __future__ import annotations

import numpy as np
import pytest

from ferrosight.errors import InputError
from ferrosight.io import write_scan
from ferrosight.simulate import Point, ScanSpec, build_affine, simulate_scan
from ferrosight.study.calibration import calibrate_phantom
from ferrosight.types import Scan

SHAPE = (46, 42, 38)
PER_CELL = 4e-14
PLACES = [(x, y, z) for x in (-1.0, 1.0) for y in (-0.9, 0.9) for z in (-1.0, 1.0)]
NUMBERS = [5, 10, 20, 40, 60, 80, 20, 40]


def scan_of(moments, seed: int, session: str, b0_t: float = 7.0) -> Scan:
    rng = np.random.default_rng(seed)
    jitter = rng.uniform(-0.05, 0.05, (len(moments), 3))
    spec = ScanSpec(
        shape=SHAPE,
        affine=build_affine(SHAPE, (0.1, 0.09, 0.12), (10.0, -20.0, 5.0)),
        echo_times_s=(0.004, 0.008, 0.012),
        b0_t=b0_t,
        sources=tuple(
            Point(tuple(np.add(place, step)), moment)
            for place, step, moment in zip(PLACES, jitter, moments, strict=True)
        ),
        snr=40.0,
        r2star_per_s=30.0,
        point_spread="kspace",
        sub_sampling=8,
    )
    scan = simulate_scan(spec, seed)[0]
    fields = ("signal", "echo_times_s", "b0_t", "affine", "b0_direction", "phase_sign")
    return Scan(**{name: getattr(scan, name) for name in fields}, subject="phantom", session=session)


def write_spots(path, sessions=("a", "b", "c"), numbers=NUMBERS):
    lines = ["participant_id\tsession_id\tx_mm\ty_mm\tz_mm\tn_cells\tbatch"]
    for session in sessions:
        for place, number in zip(PLACES, numbers, strict=True):
            cells = [f"sub-phantom\tses-{session}", *(str(v) for v in place), str(number), f"b-{session}"]
            lines.append("\t".join(cells))
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return path


@pytest.mark.slow
def test_moment_per_cell_comes_back_from_scans_of_three_batches(tmp_path):
    folder, rng = tmp_path / "phantom", np.random.default_rng(3)
    levels = [0.85, 1.0, 1.2]
    for session, level in zip("abc", levels, strict=True):
        moments = [PER_CELL * level * n * (1 + 0.5 * rng.normal() / np.sqrt(n)) for n in NUMBERS]
        write_scan(scan_of(moments, ord(session), session), folder)
    result = calibrate_phantom(folder, write_spots(tmp_path / "spots.tsv"), position_sd_mm=0.05)
    found = result.calibration
    assert result.left_out == ()
    assert (found.n_spots, found.n_batches, found.b0_t) == (24, 3, 7.0)
    assert found.moment_per_cell_am2 == pytest.approx(PER_CELL * np.mean(levels), rel=0.05)
    assert abs(found.moment_per_cell_am2 / PER_CELL - 1) < 1.96 * found.mean_rel_sd
    assert found.rel_sd > 0.17
    assert found.rel_sd > 1.5 * found.mean_rel_sd


@pytest.mark.slow
def test_scans_of_two_field_strengths_and_unknown_sessions_are_refused(tmp_path):
    folder = tmp_path / "phantom"
    moments = [PER_CELL * n for n in NUMBERS]
    write_scan(scan_of(moments, 1, "a"), folder)
    write_scan(scan_of(moments, 2, "b", b0_t=3.0), folder)
    with pytest.raises(InputError, match="one field strength"):
        calibrate_phantom(folder, write_spots(tmp_path / "spots.tsv", "ab"))
    with pytest.raises(InputError, match="row 17: there is no scan of sub-phantom ses-c"):
        calibrate_phantom(folder, write_spots(tmp_path / "spots.tsv", "abc"))


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("participant_id\tx_mm\ty_mm\tz_mm\tn_cells\n", "at least one spot"),
        ("participant_id\tx_mm\ty_mm\tz_mm\tn_cells\np\t1\tn/a\t2\t100\n", "needs its y_mm"),
        ("participant_id\tx_mm\ty_mm\tz_mm\tn_cells\np\t1\t1\t2\tmany\n", "must hold a number"),
    ],
)
def test_tables_that_make_no_sense_are_refused_before_any_scan_is_read(tmp_path, text, said):
    path = tmp_path / "spots.tsv"
    path.write_text(text, encoding="utf-8")
    with pytest.raises(InputError, match=said):
        calibrate_phantom(tmp_path / "none", path)


def test_an_impossible_spread_of_positions_is_refused(tmp_path):
    with pytest.raises(InputError, match="positive number of mm"):
        calibrate_phantom(tmp_path, write_spots(tmp_path / "spots.tsv"), position_sd_mm=0.0)
