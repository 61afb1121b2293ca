"""Names are taken apart and put together as BIDS says."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ferrosight.errors import BidsError
from ferrosight.io.bids_names import clean_label, parse_name, same_label, visit_stem

LABELS = st.from_regex(r"[0-9A-Za-z]{1,8}", fullmatch=True)


def test_a_name_is_taken_apart():
    name = parse_name("sub-01_ses-d07_echo-2_part-mag_MEGRE.nii.gz")
    assert name is not None
    assert name.entities == {"sub": "01", "ses": "d07", "echo": "2", "part": "mag"}
    assert (name.suffix, name.extension) == ("MEGRE", ".nii.gz")
    plain = parse_name("T2starw.json")
    assert plain is not None
    assert plain.entities == {}


@pytest.mark.parametrize(
    "text", ["README", "notes_about_MEGRE.json", "sub-01", ".hidden.json", "sub-_MEGRE.nii", "a.b-c"]
)
def test_what_is_no_bids_name(text):
    name = parse_name(text)
    assert name is None or name.suffix not in ("MEGRE", "T2starw")


@given(subject=LABELS, session=LABELS | st.just(""), acquisition=LABELS | st.just(""), run=LABELS | st.just(""))
def test_stems_are_names(subject, session, acquisition, run):
    name = parse_name(f"{visit_stem(subject, session, acquisition, run)}_clusters.tsv")
    assert name is not None
    found = {key: name.entities.get(key, "") for key in ("sub", "ses", "acq", "run")}
    assert found == {"sub": subject, "ses": session, "acq": acquisition, "run": run}


def test_labels():
    assert clean_label("sub", "sub-01") == clean_label("sub", "01") == "01"
    assert clean_label("ses", "") == ""
    for bad in ("../etc", "a b", "a_b", "sub-a-b"):
        with pytest.raises(BidsError, match="letters and digits"):
            clean_label("sub", bad)
    assert same_label("1", "01")
    assert not same_label("a1", "a01")
