"""A calibration reads back as it was written, and other files are refused in a sentence."""

from __future__ import annotations

import pytest

from ferrosight.errors import InputError
from ferrosight.io import read_calibration, read_phantom, write_calibration
from ferrosight.types import Calibration

FOUND = Calibration(1.25e-15, 0.21, 0.07, 0.5, 9.4, 24, 5, 'spots of "ours", at 9.4 T', ("a note", "ein Maß"), 3.0)


def test_a_calibration_reads_back(tmp_path):
    assert read_calibration(write_calibration(FOUND, tmp_path / "ours.toml")) == FOUND


def test_a_file_without_a_day_is_of_the_day_of_labelling(tmp_path):
    path = write_calibration(FOUND, tmp_path / "ours.toml")
    path.write_text(path.read_text(encoding="utf-8").replace("day = 3.0\n", ""), encoding="utf-8")
    assert read_calibration(path).day == 0.0


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (("rel_sd = 0.21", ""), "lacks rel_sd"),
        (("rel_sd = 0.21", "rel_sd = 0.21\ncolour = 3"), "has colour besides"),
        (("rel_sd = 0.21", 'rel_sd = "much"'), "rel_sd in the calibration"),
        (("moment_per_cell_am2 = 1.25e-15", "moment_per_cell_am2 = -1.0"), "moment per cell must be"),
        (("day = 3.0", "day = -3.0"), "zero or a positive number"),
        (("b0_t = 9.4", "b0_t = 94"), "between 0.01 and 30"),
        (("rel_sd = 0.21", "rel_sd ="), "cannot be read"),
    ],
)
def test_other_files_are_refused(tmp_path, change, said):
    path = write_calibration(FOUND, tmp_path / "ours.toml")
    text = path.read_text(encoding="utf-8")
    assert change[0] in text
    path.write_text(text.replace(*change, 1), encoding="utf-8")
    with pytest.raises(InputError, match=said):
        read_calibration(path)


def test_a_missing_file_and_another_ending_are_refused(tmp_path):
    with pytest.raises(InputError, match="there is no calibration"):
        read_calibration(tmp_path / "none.toml")
    with pytest.raises(InputError, match=r"\.toml"):
        write_calibration(FOUND, tmp_path / "ours.json")


def test_spots_read_with_and_without_what_may_be_missing(tmp_path):
    path = tmp_path / "spots.tsv"
    path.write_text("participant_id\tx_mm\ty_mm\tz_mm\tn_cells\nphantom\t1\t2\t-3\t500\n", encoding="utf-8")
    table = read_phantom(path)
    assert table["n_cells"].tolist() == [500.0]
    assert table["batch"].tolist() == [""]
    path.write_text("participant_id\tx_mm\ty_mm\tz_um\tn_cells\nphantom\t1\t2\t-3\t500\n", encoding="utf-8")
    with pytest.raises(InputError, match="has z_um"):
        read_phantom(path)
    path.write_text("participant_id\tx_mm\ty_mm\tn_cells\nphantom\t1\t2\t500\n", encoding="utf-8")
    with pytest.raises(InputError, match=r"column\(s\) z_mm"):
        read_phantom(path)


@pytest.mark.parametrize("notes", ["3", '"one sentence"'])
def test_notes_that_are_no_list_are_refused(tmp_path, notes):
    path = write_calibration(FOUND, tmp_path / "ours.toml")
    lines = [line for line in path.read_text(encoding="utf-8").splitlines() if not line.startswith("notes")]
    path.write_text("\n".join([*lines, f"notes = {notes}"]), encoding="utf-8")
    with pytest.raises(InputError, match="must be a list of sentences"):
        read_calibration(path)
