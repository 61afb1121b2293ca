"""Scans are found, read and refused as the documentation says; no input is touched."""

from __future__ import annotations

import gzip
import hashlib
import logging
import re
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest

from ferrosight.errors import BidsError, ImageError, InputError, SidecarError
from ferrosight.io.bids import find_visits, read_bids, read_visit
from ferrosight.types import PhaseSign

# --- what is read ---------------------------------------------------------------------------------------


def assert_signal(scan, signal):
    np.testing.assert_allclose(scan.signal, signal, rtol=1e-5, atol=1e-6)


def test_echoes_and_parts_make_one_scan(study, oblique):
    signal = study.add_scan("sub-01", 3)
    scan = read_bids(study.root)
    assert_signal(scan, signal)
    np.testing.assert_allclose(scan.echo_times_s, [0.004, 0.008, 0.012])
    np.testing.assert_allclose(scan.affine, oblique, atol=1e-6)
    np.testing.assert_array_equal(scan.b0_direction, [0, 0, 1])
    assert (scan.b0_t, scan.subject, scan.session, scan.run) == (7.0, "01", "", "")
    assert scan.phase_sign is PhaseSign.UNKNOWN


def test_single_echo_t2starw_is_read(study):
    signal = study.add_scan("sub-01", 1, "T2starw")
    assert_signal(read_bids(study.root, "01"), signal)


def test_image_without_part_is_magnitude(study):
    signal = study.add_scan("sub-01", 1, "T2starw")
    for path in list((study.root / "sub-01" / "anat").glob("*part-mag*")):
        path.rename(path.with_name(path.name.replace("_part-mag", "")))
    assert_signal(read_bids(study.root), signal)


def test_real_and_imaginary_parts_need_no_scaling(study):
    rng = np.random.default_rng(5)
    signal = (rng.normal(size=(1, 5, 7, 4)) + 1j * rng.normal(size=(1, 5, 7, 4))).astype(np.complex64)
    sidecar = {"EchoTime": 0.005, "ImagingFrequency": 127.7}
    study.save("sub-01_part-real_T2starw", 300 * signal[0].real, sidecar)
    study.save("sub-01_part-imag_T2starw", 300 * signal[0].imag, sidecar)
    scan = read_bids(study.root)
    assert_signal(scan, 300 * signal)
    assert scan.b0_t == pytest.approx(127.7 / 42.577, rel=1e-4)


def test_four_dimensional_files_hold_echoes_in_any_order(study):
    rng = np.random.default_rng(6)
    signal = rng.normal(size=(3, 5, 7, 4)) + 1j * rng.normal(size=(3, 5, 7, 4))
    stored = np.moveaxis(signal, 0, -1).astype(np.complex64)
    sidecar = {"EchoTime": [0.012, 0.004, 0.008], "MagneticFieldStrength": 3}
    study.save("sub-01_part-mag_MEGRE", np.abs(stored), sidecar)
    study.save("sub-01_part-phase_MEGRE", np.angle(stored), {**sidecar, "Units": "rad"})
    scan = read_bids(study.root)
    np.testing.assert_allclose(scan.echo_times_s, [0.004, 0.008, 0.012])
    assert_signal(scan, signal[[1, 2, 0]])


def test_echo_files_are_sorted_by_echo_time_not_by_index(study):
    signal = study.add_scan("sub-01", 2)
    study.change("*echo-1*.json", EchoTime=0.009)
    scan = read_bids(study.root)
    np.testing.assert_allclose(scan.echo_times_s, [0.008, 0.009])
    assert_signal(scan, signal[::-1])


def test_more_than_nine_echoes_keep_their_order(study):
    signal = study.add_scan("sub-01", 11)
    assert_signal(read_bids(study.root), signal)


def test_common_fields_are_inherited(study):
    study.add_scan("sub-01", 2)
    for path in (study.root / "sub-01" / "anat").glob("*.json"):
        path.unlink()
    study.say("MEGRE.json", {"MagneticFieldStrength": 1.5, "B0Direction": [0, 1, 0], "PhaseSign": "positive"})
    study.say("echo-1_MEGRE.json", {"EchoTime": 0.003})
    study.say("sub-01/sub-01_echo-2_MEGRE.json", {"EchoTime": 0.006})
    study.say("part-phase_MEGRE.json", {"Units": "rad"})
    scan = read_bids(study.root)
    assert scan.b0_t == 1.5
    np.testing.assert_array_equal(scan.b0_direction, [0, 1, 0])
    np.testing.assert_allclose(scan.echo_times_s, [0.003, 0.006])
    assert scan.phase_sign is PhaseSign.POSITIVE


def test_the_option_overrides_the_sidecars_phase_sign(study):
    study.add_scan("sub-01", 2, PhaseSign="negative")
    assert read_bids(study.root).phase_sign is PhaseSign.NEGATIVE
    assert read_bids(study.root, phase_sign=PhaseSign.POSITIVE).phase_sign is PhaseSign.POSITIVE
    assert read_bids(study.root, phase_sign=PhaseSign.UNKNOWN).phase_sign is PhaseSign.UNKNOWN


def test_one_sidecar_may_speak_for_all(study):
    study.add_scan("sub-01", 2)
    study.change("*echo-1_part-mag*.json", B0Direction=[1, 0, 0])
    study.change("*part-phase*.json", MagneticFieldStrength=None, EchoTime=None)
    scan = read_bids(study.root)
    np.testing.assert_array_equal(scan.b0_direction, [1, 0, 0])
    assert scan.b0_t == 7


@pytest.mark.parametrize(("slope", "inter"), [(2.0, -4096.0), (1.0, 0.0)])
def test_siemens_phase_becomes_radians(study, slope, inter):
    """As the scanner stores it (0..4095), with and without its rescale to ±4096 in the header."""
    rng = np.random.default_rng(7)
    stored = rng.integers(0, 4096, size=(9, 8, 7)).astype(np.int16)
    sidecar = {"EchoTime": 0.005, "MagneticFieldStrength": 2.89, "Manufacturer": "Siemens"}
    study.save("sub-01_part-mag_T2starw", np.ones(stored.shape, np.float32), sidecar)
    path = study.save("sub-01_part-phase_T2starw", stored, sidecar)
    raw = bytearray(gzip.decompress(path.read_bytes()))
    raw[112:120] = np.array([slope, inter], "<f4").tobytes()
    path.write_bytes(gzip.compress(bytes(raw)))
    expected = np.exp(1j * (stored * np.pi / 2048 - np.pi))
    np.testing.assert_allclose(read_bids(study.root).signal[0], expected, atol=2e-3)


def test_phase_scaling_is_judged_over_all_echoes(study):
    """The first echo alone does not fill the range; the scan does."""
    rng = np.random.default_rng(8)
    sidecar = {"MagneticFieldStrength": 3, "Manufacturer": "Siemens"}
    phases = [rng.integers(-500, 500, size=(9, 8, 7)), rng.integers(-4096, 4096, size=(9, 8, 7))]
    for index, phase in enumerate(phases, start=1):
        name = f"sub-01_echo-{index}_part-"
        study.save(f"{name}mag_MEGRE", np.ones(phase.shape, np.float32), {**sidecar, "EchoTime": 0.004 * index})
        study.save(f"{name}phase_MEGRE", phase.astype(np.float32), {**sidecar, "EchoTime": 0.004 * index})
    np.testing.assert_allclose(np.angle(read_bids(study.root).signal[0]), phases[0] * np.pi / 4096, atol=1e-5)


# --- what is found --------------------------------------------------------------------------------------


def test_visits_are_found_sorted_with_their_files(study):
    for stem in ("sub-02_ses-d07", "sub-01_ses-d07", "sub-01_ses-d00_run-2", "sub-01_ses-d00_run-1", "sub-03"):
        study.add_scan(stem, 2)
    study.say("derivatives/x/sub-09/anat/sub-09_MEGRE.json", {})
    visits = find_visits(study.root)
    assert [v.name for v in visits] == [
        "sub-01_ses-d00_run-1",
        "sub-01_ses-d00_run-2",
        "sub-01_ses-d07",
        "sub-02_ses-d07",
        "sub-03",
    ]
    assert {len(v.files) for v in visits} == {4}
    assert [v.name for v in find_visits(study.root, ["sub-01", "03"], None)][-1] == "sub-03"
    assert [v.name for v in find_visits(study.root, None, ["ses-d07"])] == ["sub-01_ses-d07", "sub-02_ses-d07"]
    for visit in visits:
        scan = read_visit(visit)
        assert (scan.subject, scan.session, scan.run) == (visit.subject, visit.session, visit.run)


def test_labels_choose_among_runs_and_acquisitions(study):
    one = study.add_scan("sub-01_run-01", 2)
    study.add_scan("sub-01_run-02", 2)
    hi = study.add_scan("sub-01_acq-hi", 3)
    assert_signal(read_bids(study.root, run="1"), one)
    assert_signal(read_bids(study.root, acquisition="hi"), hi)
    assert_signal(read_bids(study.root, run=""), hi)


def test_megre_is_taken_where_there_is_also_t2starw(study):
    signal = study.add_scan("sub-01", 2)
    study.save("sub-01_T2starw", np.ones((5, 7, 4), np.float32), {"EchoTime": 0.02})
    assert_signal(read_bids(study.root), signal)


def test_a_subject_without_images_is_warned_about(study, caplog):
    study.add_scan("sub-01", 2)
    (study.root / "sub-02" / "anat").mkdir(parents=True)
    with caplog.at_level(logging.WARNING):
        assert len(find_visits(study.root)) == 1
    assert "sub-02" in caplog.text


def test_an_image_in_the_wrong_folder_is_warned_about(study, caplog):
    study.add_scan("sub-01", 2)
    study.add_scan("sub-02", 2)
    stray = study.root / "sub-02" / "anat" / "sub-02_echo-1_part-mag_MEGRE.nii.gz"
    stray.rename(study.root / "sub-01" / "anat" / stray.name)
    assert len(find_visits(study.root, ["01"])[0].files) == 4
    assert stray.name in caplog.text


# --- what is refused ------------------------------------------------------------------------------------


def refuses(study, kind, *words, **labels):
    """The reading is refused in one sentence that names all ``words``."""
    with pytest.raises(kind) as caught:
        read_bids(study.root, **labels)
    assert isinstance(caught.value, InputError)
    message = str(caught.value)
    assert "\n" not in message
    for word in words:
        assert re.search(word, message), f"{word!r} is not in: {message}"


def test_absent_folder(study):
    study.root = study.root / "absent"
    refuses(study, BidsError, "absent", "no such folder")


def test_empty_folder(study):
    refuses(study, BidsError, str(study.root), "empty")


def test_subjects_without_gradient_echo_images(study):
    (study.root / "sub-01" / "anat").mkdir(parents=True)
    (study.root / "sub-01" / "anat" / "sub-01_T1w.nii.gz").touch()
    refuses(study, BidsError, str(study.root), "sub-01", "MEGRE", "T2starw")


def test_unknown_subject_session_and_run_list_what_exists(study):
    study.add_scan("sub-01_ses-a_run-1", 2)
    study.add_scan("sub-02_ses-b", 2)
    refuses(study, BidsError, "no subject 07", "01, 02", subject="07")
    refuses(study, BidsError, "no session z", "a, b", session="z")
    refuses(study, BidsError, "run '3'", "sub-01_ses-a_run-1", subject="01", run="3")
    refuses(study, BidsError, r"letters and digits.*\.\./x", subject="../x")


def test_an_ambiguous_request_lists_the_choices(study):
    study.add_scan("sub-01_run-1", 2)
    study.add_scan("sub-01_run-2", 2)
    refuses(study, BidsError, "more than one", "sub-01_run-1", "sub-01_run-2")
    study.add_scan("sub-02", 2)
    refuses(study, BidsError, "sub-01_run-1", "sub-02")


def test_groups_that_cannot_be_told_apart(study):
    study.add_scan("sub-01_rec-a", 2)
    study.add_scan("sub-01_rec-b", 2)
    refuses(study, BidsError, "sub-01", "rec-a_MEGRE", "rec-b_MEGRE")


def test_the_same_part_twice(study):
    study.add_scan("sub-01", 2)
    study.save("sub-01_echo-1_MEGRE", np.ones((5, 7, 4), np.float32), {})
    refuses(study, BidsError, "sub-01_echo-1_MEGRE", "sub-01_echo-1_part-mag_MEGRE", "keep one")


def drop(study, pattern):
    paths = list(study.root.rglob(pattern))
    assert paths
    for path in paths:
        path.unlink()


def test_magnitude_without_phase(study):
    study.add_scan("sub-01", 2)
    drop(study, "*part-phase*")
    refuses(
        study, BidsError, "sub-01_echo-1_part-mag_MEGRE", "magnitude without phase", "refused until it is supported"
    )


def test_plain_magnitude_without_phase(study):
    study.save("sub-01_T2starw", np.ones((5, 7, 4), np.float32), {"EchoTime": 0.005})
    refuses(study, BidsError, "sub-01_T2starw", "magnitude without phase")


@pytest.mark.parametrize(("lost", "left"), [("mag", "phase"), ("phase", "mag")])
def test_one_echo_without_its_partner(study, lost, left):
    study.add_scan("sub-01", 3)
    drop(study, f"*echo-2_part-{lost}*")
    refuses(study, BidsError, f"sub-01_echo-2_part-{left}_MEGRE", "without")


def test_phase_without_magnitude(study):
    study.add_scan("sub-01", 2)
    drop(study, "*part-mag*")
    refuses(study, BidsError, "sub-01_echo-1_part-phase_MEGRE", "part-phase without part-mag")


def test_real_without_imaginary(study):
    study.save("sub-01_part-real_T2starw", np.ones((5, 7, 4), np.float32), {"EchoTime": 0.005})
    refuses(study, BidsError, "part-real without part-imag")


def test_unknown_part(study):
    study.save("sub-01_part-magnitude_T2starw", np.ones((5, 7, 4), np.float32), {"EchoTime": 0.005})
    refuses(study, BidsError, "part-magnitude_T2starw", "mag, phase, real or imag")


def test_echoes_of_mixed_parts(study):
    study.add_scan("sub-01", 2)
    for path in list(study.root.rglob("*echo-2*")):
        path.rename(path.with_name(path.name.replace("part-mag", "part-real").replace("part-phase", "part-imag")))
    refuses(study, BidsError, "mix", "echo-2_part-real")


@pytest.mark.parametrize("part", ["mag", "phase"])
def test_shapes_that_differ(study, part):
    study.add_scan("sub-01", 2)
    study.save(f"sub-01_echo-2_part-{part}_MEGRE", np.ones((5, 6, 4), np.float32))
    refuses(study, ImageError, "shape", "echo-1_part-mag", f"echo-2_part-{part}", r"\(5, 7, 4\)", r"\(5, 6, 4\)")


@pytest.mark.parametrize("part", ["mag", "phase"])
def test_affines_that_differ(study, oblique, part):
    study.add_scan("sub-01", 2)
    oblique[0, 3] += 0.1
    study.save(f"sub-01_echo-2_part-{part}_MEGRE", np.ones((5, 7, 4), np.float32), affine=oblique)
    refuses(study, ImageError, "affine", "echo-1_part-mag", f"echo-2_part-{part}", "0.1 mm")


def test_affines_that_differ_by_rounding_are_the_same(study, oblique):
    signal = study.add_scan("sub-01", 2)
    study.save("sub-01_echo-2_part-mag_MEGRE", np.abs(signal[1]), affine=oblique * (1 + 1e-6))
    assert_signal(read_bids(study.root), signal)


@pytest.mark.parametrize("phase_times", [[0.1, 0.2], [0.1, 0.2, 0.3]])
def test_different_numbers_of_volumes(study, phase_times):
    sidecar = {"MagneticFieldStrength": 3}
    study.save("sub-01_part-mag_MEGRE", np.ones((5, 7, 4, 3), np.float32), {**sidecar, "EchoTime": [0.1, 0.2, 0.3]})
    study.save("sub-01_part-phase_MEGRE", np.ones((5, 7, 4, 2), np.float32), {**sidecar, "EchoTime": phase_times})
    refuses(study, SidecarError, "part-phase_MEGRE", "EchoTime")


def test_missing_echo_time(study):
    study.add_scan("sub-01", 2)
    study.change("*echo-2*.json", EchoTime=None)
    refuses(study, SidecarError, "echo-2_part-mag", "EchoTime is missing", "seconds")


def test_missing_sidecars(study):
    study.add_scan("sub-01", 2)
    drop(study, "*.json")
    refuses(study, SidecarError, "echo-1_part-mag", "no sidecar was found")


def test_echo_times_in_milliseconds(study):
    study.add_scan("sub-01", 2)
    study.change("*echo-2*.json", EchoTime=8.0)
    refuses(study, SidecarError, "echo-2_part-mag", "EchoTime must be in seconds", "milliseconds")


def test_echo_times_that_repeat(study):
    study.add_scan("sub-01", 2)
    study.change("*echo-2*.json", EchoTime=0.004)
    refuses(study, SidecarError, "sub-01", "EchoTime of its own")


def test_echo_times_of_magnitude_and_phase_that_differ(study):
    study.add_scan("sub-01", 2)
    study.change("*echo-2_part-phase*.json", EchoTime=0.0081)
    refuses(study, SidecarError, "EchoTime", "echo-2_part-mag", "echo-2_part-phase")


def test_four_volumes_with_one_echo_time(study):
    study.save("sub-01_part-mag_MEGRE", np.ones((5, 7, 4, 4), np.float32), {"EchoTime": 0.004})
    study.save("sub-01_part-phase_MEGRE", np.ones((5, 7, 4, 4), np.float32), {"EchoTime": 0.004, "Units": "rad"})
    study.say("MEGRE.json", {"MagneticFieldStrength": 3})
    refuses(study, SidecarError, "part-mag_MEGRE", "4 volume", "EchoTime")


def test_missing_field_strength(study):
    study.add_scan("sub-01", 2)
    study.change("*.json", MagneticFieldStrength=None)
    refuses(study, SidecarError, "part-mag_MEGRE", "MagneticFieldStrength is missing", "tesla")


def test_contradicting_field_strengths(study):
    study.add_scan("sub-01", 2, ImagingFrequency=127.7)
    refuses(study, SidecarError, "MagneticFieldStrength", "ImagingFrequency", "contradict")
    study.change("*.json", ImagingFrequency=None)
    study.change("*echo-2_part-mag*.json", MagneticFieldStrength=3.0)
    refuses(study, SidecarError, "MagneticFieldStrength", "echo-1_part-mag", "echo-2_part-mag")


def test_direction_of_b0_that_is_no_unit_vector(study):
    study.add_scan("sub-01", 2, B0Direction=[0, 0, 2])
    refuses(study, SidecarError, "part-mag_MEGRE", "B0Direction", "unit vector")


@pytest.mark.parametrize(
    ("factor", "fields"),
    [
        (4096 / np.pi, {"Units": None}),
        (1000, {"Units": "arbitrary"}),
        (1, {"Units": None}),
        (180 / np.pi, {"Units": "rad"}),
        (100, {"Units": None, "Manufacturer": "Siemens"}),
    ],
)
def test_phase_of_unknown_scaling(study, factor, fields):
    signal = study.add_scan("sub-01", 2)
    for index, echo in enumerate(signal, start=1):
        study.save(f"sub-01_echo-{index}_part-phase_MEGRE", (np.angle(echo) * factor).astype(np.float32))
    study.change("*part-phase*.json", **fields)
    refuses(study, ImageError, "sub-01_echo-1_part-phase_MEGRE", "phase of unknown scaling", "Units")


def test_units_that_differ_between_echoes(study):
    study.add_scan("sub-01", 2)
    study.change("*echo-2_part-phase*.json", Units="arbitrary")
    refuses(study, SidecarError, "Units", "echo-1_part-phase", "echo-2_part-phase")


@pytest.mark.parametrize("echo", [1, 2, 3])
def test_negative_magnitude(study, echo):
    signal = study.add_scan("sub-01", 3)
    study.save(f"sub-01_echo-{echo}_part-mag_MEGRE", signal[0].real)
    refuses(study, ImageError, f"sub-01_echo-{echo}_part-mag_MEGRE", "magnitude must not be negative")


@pytest.mark.parametrize("part", ["mag", "phase"])
@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_nan_and_infinity(study, part, bad):
    study.add_scan("sub-01", 2)
    data = np.ones((5, 7, 4), np.float32)
    data[4, 0, 3] = bad
    study.save(f"sub-01_echo-2_part-{part}_MEGRE", data)
    refuses(study, ImageError, f"sub-01_echo-2_part-{part}_MEGRE", "finite", r"\(4, 0, 3\)")


@pytest.mark.parametrize("part", ["mag", "phase"])
def test_all_zero_volume(study, part):
    study.add_scan("sub-01", 2)
    study.save(f"sub-01_echo-1_part-{part}_MEGRE", np.zeros((5, 7, 4), np.float32))
    refuses(study, ImageError, f"sub-01_echo-1_part-{part}_MEGRE", "zeros")


@pytest.mark.parametrize("kept", [0, 10, 0.5, 0.99])
def test_truncated_file(study, kept):
    study.add_scan("sub-01", 2)
    path = study.root / "sub-01" / "anat" / "sub-01_echo-2_part-phase_MEGRE.nii.gz"
    raw = path.read_bytes()
    path.write_bytes(raw[: int(kept if kept > 1 else kept * len(raw))])
    refuses(study, ImageError, path.name, "truncated or corrupt")


@pytest.mark.parametrize("shape", [(5, 7), (5, 7, 1)])
def test_two_dimensional_image(study, shape):
    study.save("sub-01_part-mag_T2starw", np.ones(shape, np.float32), {"EchoTime": 0.004, "MagneticFieldStrength": 3})
    study.save("sub-01_part-phase_T2starw", np.ones(shape, np.float32), {"EchoTime": 0.004, "Units": "rad"})
    refuses(study, ImageError, "sub-01_part-mag_T2starw", "three-dimensional", "2-D")


def test_sheared_affine(study, oblique):
    study.add_scan("sub-01", 2)
    oblique[:3, 2] += 0.3 * oblique[:3, 0]
    study.save("sub-01_echo-1_part-mag_MEGRE", np.ones((5, 7, 4), np.float32), affine=oblique)
    refuses(study, ImageError, "sub-01_echo-1_part-mag_MEGRE", "right angles")


def test_one_bad_visit_does_not_hide_the_others(study):
    signal = study.add_scan("sub-02", 2)
    study.save("sub-01_T2starw", np.ones((5, 7, 4), np.float32))
    study.add_scan("sub-03_rec-a", 2)
    study.add_scan("sub-03_rec-b", 2)
    visits = find_visits(study.root)
    assert [v.name for v in visits] == ["sub-01", "sub-02", "sub-03"]
    assert_signal(read_visit(visits[1]), signal)
    for visit in (visits[0], visits[2]):
        with pytest.raises(BidsError, match=visit.name):
            read_visit(visit)


# --- what is left alone ---------------------------------------------------------------------------------


def test_no_input_is_touched(study):
    study.add_scan("sub-01_ses-a", 2)
    study.add_scan("sub-02", 2)
    drop(study, "sub-02*part-phase*")

    def state():
        return {
            path: (path.stat().st_mtime_ns, hashlib.sha256(path.read_bytes()).hexdigest() if path.is_file() else "")
            for path in [study.root, *study.root.rglob("*")]
        }

    before = state()
    for path in study.root.rglob("*"):
        path.chmod(0o555 if path.is_dir() else 0o444)
    read_bids(study.root, "01")
    with pytest.raises(BidsError):
        read_bids(study.root, "02")
    assert state() == before
    for path in study.root.rglob("*"):
        path.chmod(0o755 if path.is_dir() else 0o644)


# --- real scans -----------------------------------------------------------------------------------------


@pytest.mark.data
def test_gel_is_read_as_stored(data_dir):
    scan = read_bids(data_dir / "gel")
    assert scan.signal.shape == (1, 256, 256, 8)
    assert scan.b0_t == pytest.approx(11.746)
    np.testing.assert_allclose(scan.echo_times_s, [0.005])
    np.testing.assert_allclose(scan.b0_in_array, [1, 0, 0], atol=1e-6)
    np.testing.assert_allclose(scan.grid.voxel_mm, (0.0546875, 0.0363281, 0.0363281), rtol=1e-6)
    folder = data_dir / "gel" / "sub-gel" / "anat"
    mag = nib.load(folder / "sub-gel_part-mag_T2starw.nii.gz").get_fdata()
    phase = nib.load(folder / "sub-gel_part-phase_T2starw.nii.gz").get_fdata()
    np.testing.assert_allclose(scan.signal[0], mag * np.exp(1j * phase), atol=1e-6)


@pytest.mark.data
def test_brain_crop_is_read_in_echo_order(data_dir):
    scan = read_bids(data_dir / "brain-crop", "crop")
    assert scan.signal.shape == (3, 51, 51, 41)
    np.testing.assert_allclose(scan.echo_times_s, [0.004, 0.008, 0.012])
    medians = np.median(np.abs(scan.signal), axis=(1, 2, 3))
    assert (np.diff(medians) < 0).all()


@pytest.mark.parametrize("call", ["iterdir", "is_dir"])
def test_a_folder_that_may_not_be_read_is_named(tmp_path, monkeypatch, call):
    (tmp_path / "sub-01" / "ses-a" / "anat").mkdir(parents=True)
    as_it_is = getattr(Path, call)

    def refuse(self):
        if self.name == "anat":
            raise PermissionError(13, "Permission denied", str(self))
        return as_it_is(self)

    monkeypatch.setattr(Path, call, refuse)
    with pytest.raises(BidsError, match=r"anat must be a folder that can be read, but is not \(Permission denied\)"):
        find_visits(tmp_path)
