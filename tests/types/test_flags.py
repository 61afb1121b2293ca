"""Bits to names and verdicts."""

from __future__ import annotations

import numpy as np
import pytest

from ferrosight.types.flags import FLAG_INFO, Flag, append_flag, flag_names, rejects


def test_no_bit_means_no_words_and_no_rejection() -> None:
    assert flag_names(Flag.NONE) == ""
    assert not rejects(Flag.NONE)


def test_reasons_and_remarks_are_told_apart() -> None:
    bits = Flag.VEIN | Flag.POOR_FIT | Flag.BUBBLE
    assert flag_names(bits, rejecting=True) == "vein;bubble"
    assert flag_names(bits, rejecting=False) == "poor_fit"
    assert flag_names(bits) == "vein;bubble;poor_fit"


@pytest.mark.parametrize("flag", list(Flag), ids=lambda flag: str(flag.name))
def test_every_flag_has_one_bit_and_its_own_words(flag: Flag) -> None:
    assert int(flag).bit_count() == 1
    assert flag_names(int(flag)) == FLAG_INFO[flag].name == str(flag.name).lower()
    assert rejects(flag) is FLAG_INFO[flag].rejects


def test_a_remark_alone_does_not_reject() -> None:
    remarks = Flag.NONE
    for flag, info in FLAG_INFO.items():
        remarks |= Flag.NONE if info.rejects else flag
    assert remarks
    assert not rejects(remarks)
    assert rejects(remarks | Flag.NOT_SIGNIFICANT)


def test_a_flag_is_appended_where_it_is_asked_for() -> None:
    names, rows = np.array(["", "vein", "vein;bubble", ""]), np.array([True, True, True, False])
    appended = append_flag(names, rows, Flag.IN_BASELINE)
    assert appended.tolist() == ["in_baseline", "vein;in_baseline", "vein;bubble;in_baseline", ""]
    assert append_flag(names[:0], rows[:0], Flag.VEIN).dtype.kind == "U"
