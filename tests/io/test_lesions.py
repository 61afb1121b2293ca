"""Lesions measured by hand are read, or refused by file and line."""

from __future__ import annotations

import numpy as np
import pytest

from ferrosight.errors import BidsError
from ferrosight.io.lesions import read_lesions
from ferrosight.types.schema import LESIONS

HEAD = "session_id\tlesion_id\tlongest_mm\tperpendicular_mm\tvolume_mm3"


def write(folder, *lines, head=HEAD):
    (folder / "sub-01").mkdir(exist_ok=True)
    (folder / "sub-01" / "sub-01_lesions.tsv").write_text("\n".join([head, *lines]) + "\n", encoding="utf-8")


def test_no_file_says_nothing(tmp_path):
    lesions = read_lesions(tmp_path, "sub-01")
    assert len(lesions) == 0
    assert lesions.schema is LESIONS


def test_lesions_are_read(tmp_path):
    write(tmp_path, "ses-a\tn/a\tn/a\tn/a\tn/a", "b\tleft\t12.5\t10\tn/a", "ses-b\tright\t0\t0\t0")
    lesions = read_lesions(tmp_path, "01")
    assert lesions["session_id"].tolist() == ["a", "b", "b"]
    assert lesions["lesion_id"].tolist() == ["", "left", "right"]
    np.testing.assert_array_equal(lesions["longest_mm"], [np.nan, 12.5, 0])
    assert np.isnan(lesions["sul_peak"]).all()


def test_the_peak_of_uptake_may_be_there_and_a_file_may_be_empty(tmp_path):
    write(tmp_path, "a\tleft\t12\t10\t900\t4.5", head=f"{HEAD}\tsul_peak")
    assert read_lesions(tmp_path, "01")["sul_peak"].tolist() == [4.5]
    write(tmp_path)
    assert len(read_lesions(tmp_path, "01")) == 0


@pytest.mark.parametrize(
    ("lines", "word"),
    [
        (["a\tleft\t-1\tn/a\tn/a"], "line 2: longest_mm must be 0 or more.*-1"),
        (["a\tleft\tinf\tn/a\tn/a"], "line 2: longest_mm must be 0 or more.*inf"),
        (["a\tleft\t10\t12\tn/a"], "line 2: perpendicular_mm must not be above longest_mm.*12 is above 10"),
        (["a\tleft\tbig\t1\t1"], "line 2: column longest_mm must hold a number.*'big'"),
        (["a\tleft\t1\t1\t1", "a\tleft\t2\t1\t1"], "line 3: left at ses-a stands in an earlier line"),
        (["a\tleft\t1\t1\t1", "ses-a\tleft\t2\t1\t1"], "line 3: left at ses-a stands in an earlier line"),
        (["a\tn/a\t1\t1\t1"], "line 2: a lesion with a size needs a lesion_id"),
        (["n/a\tleft\t1\t1\t1"], "line 2: every line needs its session_id"),
        (["a_b\tleft\t1\t1\t1"], "line 2: .*a_b"),
        (["a\tleft\t1"], "line 2: expected 5 values between tabs, but found 3"),
    ],
)
def test_bad_lesions_are_refused_by_line(tmp_path, lines, word):
    write(tmp_path, *lines)
    with pytest.raises(BidsError, match=rf"sub-01_lesions\.tsv, {word}"):
        read_lesions(tmp_path, "01")


def test_a_missing_column_is_named(tmp_path):
    write(tmp_path, "a\tleft\t1", head="session_id\tlesion_id\tlongest_mm")
    with pytest.raises(BidsError, match=r"must have the column\(s\) perpendicular_mm, volume_mm3"):
        read_lesions(tmp_path, "01")
