"""Sidecars: inheritance, and every field that can be wrong."""

from __future__ import annotations

import json

import pytest

from ferrosight.errors import SidecarError
from ferrosight.io import sidecars
from ferrosight.io.sidecars import Metadata, read_metadata
from ferrosight.types import PhaseSign


@pytest.fixture
def image(study):
    path = study.root / "sub-01" / "ses-a" / "anat" / "sub-01_ses-a_run-1_echo-2_part-mag_MEGRE.nii.gz"
    path.parent.mkdir(parents=True)
    return path


def metadata(tmp_path, **values):
    return Metadata(tmp_path / "sub-01_MEGRE.nii.gz", values, (tmp_path / "sub-01_MEGRE.json",))


def test_deeper_sidecars_win_level_by_level(study, image):
    study.say("MEGRE.json", {"a": "root", "b": "root", "c": "root", "d": "root"})
    study.say("sub-01/sub-01_MEGRE.json", {"b": "subject", "c": "subject", "d": "subject"})
    study.say("sub-01/ses-a/sub-01_ses-a_MEGRE.json", {"c": "session", "d": "session"})
    study.say(image.with_name("sub-01_ses-a_run-1_echo-2_part-mag_MEGRE.json"), {"d": "own"})
    found = read_metadata(image, study.root)
    assert found.values == {"a": "root", "b": "subject", "c": "session", "d": "own"}
    assert len(found.sources) == 4


def test_only_sidecars_whose_entities_are_all_the_images_apply(study, image):
    study.say("echo-2_MEGRE.json", {"EchoTime": 0.008})
    study.say("echo-1_MEGRE.json", {"EchoTime": 0.004})
    study.say("part-phase_MEGRE.json", {"Units": "rad"})
    study.say("T2starw.json", {"wrong": 1})
    study.say("acq-hi_MEGRE.json", {"wrong": 1})
    study.say("sub-01/sub-01_ses-b_MEGRE.json", {"wrong": 1})
    study.say("sub-02_MEGRE.json", {"wrong": 1})
    study.say("notes.json", {"wrong": 1})
    assert read_metadata(image, study.root).values == {"EchoTime": 0.008}


def test_in_one_folder_more_entities_win(study, image):
    study.say("echo-2_part-mag_MEGRE.json", {"x": "specific"})
    study.say("echo-2_MEGRE.json", {"x": "general", "y": 1})
    assert read_metadata(image, study.root).values == {"x": "specific", "y": 1}


def test_equally_specific_sidecars_must_not_disagree(study, image):
    study.say("echo-2_MEGRE.json", {"x": 1, "y": 1})
    study.say("run-1_MEGRE.json", {"x": 1, "y": 2})
    with pytest.raises(SidecarError, match="disagree about y") as caught:
        read_metadata(image, study.root)
    assert "echo-2_MEGRE.json" in str(caught.value)
    assert "run-1_MEGRE.json" in str(caught.value)


@pytest.mark.parametrize("text", ["", "{", "[1]", '"a"'])
def test_broken_sidecar_is_refused_by_name(study, image, text):
    path = image.with_name("sub-01_ses-a_run-1_echo-2_part-mag_MEGRE.json")
    path.write_text(text)
    with pytest.raises(SidecarError, match=path.name):
        read_metadata(image, study.root)


def test_echo_times_in_seconds(tmp_path):
    assert sidecars.echo_times_s(metadata(tmp_path, EchoTime=0.005)) == (0.005,)
    assert sidecars.echo_times_s(metadata(tmp_path, EchoTime=[0.008, 0.004])) == (0.008, 0.004)
    assert sidecars.echo_times_s(metadata(tmp_path)) is None


@pytest.mark.parametrize("value", [4.0, 25, [4, 8]])
def test_echo_times_in_milliseconds_are_refused(tmp_path, value):
    with pytest.raises(SidecarError, match=r"sub-01_MEGRE.*EchoTime must be in seconds.*milliseconds"):
        sidecars.echo_times_s(metadata(tmp_path, EchoTime=value))


@pytest.mark.parametrize("value", [0, -0.004, "0.004", True, [0.004, None], [], float("nan"), {}])
def test_impossible_echo_times_are_refused(tmp_path, value):
    with pytest.raises(SidecarError, match=r"sub-01_MEGRE.*EchoTime"):
        sidecars.echo_times_s(metadata(tmp_path, EchoTime=value))


def test_field_strength_and_its_fallback(tmp_path):
    assert sidecars.field_strength_t(metadata(tmp_path, MagneticFieldStrength=3)) == 3
    implied = sidecars.field_strength_t(metadata(tmp_path, ImagingFrequency=500.12))
    assert implied == pytest.approx(500.12 / 42.577, rel=1e-4)
    nominal = metadata(tmp_path, MagneticFieldStrength=3, ImagingFrequency=123.2)
    assert sidecars.field_strength_t(nominal) == 3
    assert sidecars.field_strength_t(metadata(tmp_path)) is None


def test_contradicting_field_strengths_are_refused(tmp_path):
    with pytest.raises(SidecarError, match=r"sub-01_MEGRE.*MagneticFieldStrength.*ImagingFrequency.*contradict"):
        sidecars.field_strength_t(metadata(tmp_path, MagneticFieldStrength=3, ImagingFrequency=63.9))


@pytest.mark.parametrize(
    "fields",
    [
        {"MagneticFieldStrength": "3T"},
        {"MagneticFieldStrength": 30000},
        {"MagneticFieldStrength": -3},
        {"ImagingFrequency": 1.2e8},
        {"MagneticFieldStrength": float("nan")},
    ],
)
def test_impossible_field_strengths_are_refused(tmp_path, fields):
    with pytest.raises(SidecarError, match=next(iter(fields))):
        sidecars.field_strength_t(metadata(tmp_path, **fields))


def test_direction_of_b0(tmp_path):
    assert sidecars.b0_direction(metadata(tmp_path)) is None
    assert sidecars.b0_direction(metadata(tmp_path, B0Direction=[0, -0.6, 0.8])) == pytest.approx((0, -0.6, 0.8))


@pytest.mark.parametrize("value", [[0, 0, 2], [0, 0, 0], [1, 1, 0], [0, 1], "z", [0, 0, "1"], [0, 0, float("nan")]])
def test_direction_that_is_no_unit_vector_is_refused(tmp_path, value):
    with pytest.raises(SidecarError, match=r"sub-01_MEGRE.*B0Direction"):
        sidecars.b0_direction(metadata(tmp_path, B0Direction=value))


def test_phase_sign(tmp_path):
    assert sidecars.phase_sign(metadata(tmp_path)) is None
    assert sidecars.phase_sign(metadata(tmp_path, Manufacturer="Siemens")) is None
    assert sidecars.phase_sign(metadata(tmp_path, PhaseSign="Negative")) is PhaseSign.NEGATIVE
    assert sidecars.phase_sign(metadata(tmp_path, PhaseSign="unknown")) is PhaseSign.UNKNOWN
    for value in ("minus", -1):
        with pytest.raises(SidecarError, match=r"sub-01_MEGRE.*PhaseSign"):
            sidecars.phase_sign(metadata(tmp_path, PhaseSign=value))


def test_images_that_disagree_are_named(tmp_path):
    a = Metadata(tmp_path / "a", {"MagneticFieldStrength": 3.0}, ())
    b = Metadata(tmp_path / "b", {"MagneticFieldStrength": 7.0}, ())
    silent = Metadata(tmp_path / "c", {}, ())
    with pytest.raises(SidecarError, match=r"MagneticFieldStrength.*/a and .*/b.*3\.0 and 7\.0"):
        sidecars.agreed_value("MagneticFieldStrength", [silent, a, b], sidecars.field_strength_t)
    assert sidecars.agreed_value("MagneticFieldStrength", [silent, a, a], sidecars.field_strength_t) == 3
    assert sidecars.agreed_value("MagneticFieldStrength", [silent], sidecars.field_strength_t) is None


def test_what_one_image_lacks_is_called_missing(tmp_path):
    a, b = Metadata(tmp_path / "a", {"Units": "rad", "EchoTime": 0.004}, ()), Metadata(tmp_path / "b", {}, ())
    with pytest.raises(SidecarError, match=r"but is rad and missing; correct"):
        sidecars.agreed_value("Units", [a, b], lambda one: one.text("Units"))
    other = Metadata(tmp_path / "b", {"EchoTime": 0.0041}, ())
    with pytest.raises(SidecarError, match=r"but is 0\.004 and 0\.0041; correct"):
        sidecars.agreed_value("EchoTime", [a, other], sidecars.echo_times_s)


def test_json_written_with_a_byte_order_mark_is_read(study, image):
    path = image.with_name("sub-01_ses-a_run-1_echo-2_part-mag_MEGRE.json")
    path.write_text(json.dumps({"x": 1}), encoding="utf-8-sig")
    assert read_metadata(image, study.root).values == {"x": 1}
