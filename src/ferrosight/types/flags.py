"""The one registry of what can be said against, or about, a candidate."""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntFlag

import numpy as np
from numpy.typing import NDArray


class Flag(IntFlag):
    """Bits that a candidate may carry. ``FLAG_INFO`` says what each means and whether it rejects."""

    NONE = 0
    NOT_SIGNIFICANT = 1 << 0
    OPPOSITE_POLARITY = 1 << 1
    VEIN = 1 << 2
    BUBBLE = 1 << 3
    FIT_FAILED = 1 << 4
    OUTSIDE = 1 << 5
    POOR_FIT = 1 << 6
    WINDOWS_DISAGREE = 1 << 7
    PARTIAL_WINDOW = 1 << 8
    JOINT_FIT = 1 << 9
    BUBBLE_NOT_EXCLUDED = 1 << 10
    SIGN_UNKNOWN = 1 << 11
    FEW_DECOYS = 1 << 12
    INSIDE_GRAFT = 1 << 13
    IN_BASELINE = 1 << 14
    BASELINE_SCAN = 1 << 15
    NO_BASELINE = 1 << 16
    ABOVE_BASELINE = 1 << 17
    TOO_LARGE = 1 << 18


@dataclass(frozen=True)
class FlagInfo:
    """What a flag means: its name in tables, whether it rejects, and a sentence."""

    name: str
    rejects: bool
    description: str


FLAG_INFO: dict[Flag, FlagInfo] = {
    Flag.NOT_SIGNIFICANT: FlagInfo(
        "not_significant", True, "Its q-value, or the false candidates expected, are above what was chosen."
    ),
    Flag.OPPOSITE_POLARITY: FlagInfo(
        "opposite_polarity", True, "Its field has the sign opposite to iron's, as calcification has."
    ),
    Flag.VEIN: FlagInfo("vein", True, "A magnetised cylinder explains it better than a point does."),
    Flag.BUBBLE: FlagInfo(
        "bubble", True, "A gas bubble, whose signal void is bound to its moment, explains it better."
    ),
    Flag.FIT_FAILED: FlagInfo("fit_failed", True, "The fit did not converge; its numbers are missing."),
    Flag.OUTSIDE: FlagInfo("outside", True, "Its centre lies outside the image or the tissue; only its field is seen."),
    Flag.INSIDE_GRAFT: FlagInfo(
        "inside_graft", True, "It lies in an extended graft, which has a row of its own and holds its iron."
    ),
    Flag.POOR_FIT: FlagInfo("poor_fit", False, "χ² per degree of freedom is above 1; errors are inflated by its root."),
    Flag.WINDOWS_DISAGREE: FlagInfo(
        "windows_disagree", False, "Inner and outer windows give different moments; the error covers both."
    ),
    Flag.PARTIAL_WINDOW: FlagInfo(
        "partial_window", False, "Part of the fitting window lies outside the image or mask."
    ),
    Flag.JOINT_FIT: FlagInfo("joint_fit", False, "Fitted together with overlapping neighbours."),
    Flag.BUBBLE_NOT_EXCLUDED: FlagInfo(
        "bubble_not_excluded", False, "This scan cannot tell a gas bubble of the same moment from iron here."
    ),
    Flag.SIGN_UNKNOWN: FlagInfo("sign_unknown", False, "The sign of phase is unknown; both polarities were tested."),
    Flag.FEW_DECOYS: FlagInfo(
        "few_decoys", False, "This scan has few decoys: its false-positive rate rests on what noise alone would do."
    ),
    Flag.TOO_LARGE: FlagInfo(
        "too_large", True, "A region too large to be measured as an extended graft; its numbers are missing."
    ),
    Flag.IN_BASELINE: FlagInfo(
        "in_baseline", True, "The baseline scan, made without label, holds the same at this place."
    ),
    Flag.BASELINE_SCAN: FlagInfo(
        "baseline_scan", True, "This scan was made without label, so nothing in it is labelled."
    ),
    Flag.NO_BASELINE: FlagInfo(
        "no_baseline", False, "The baseline scan does not tell what was at this place before the label was given."
    ),
    Flag.ABOVE_BASELINE: FlagInfo(
        "above_baseline",
        False,
        "The baseline scan holds something at this place too, but significantly less; the moment is that of both.",
    ),
}


def flag_names(bits: int, *, rejecting: bool | None = None) -> str:
    """Names of the set bits joined by ``;`` ("" where none).

    ``rejecting=True`` keeps only the reasons for rejection, ``False`` only the remarks, ``None`` both.
    """
    return ";".join(
        info.name
        for flag, info in FLAG_INFO.items()
        if bits & flag and (rejecting is None or info.rejects == rejecting)
    )


def rejects(bits: int) -> bool:
    """Whether any of the set bits rejects the candidate."""
    return any(bits & flag for flag, info in FLAG_INFO.items() if info.rejects)


def append_flag(names: NDArray[np.str_], rows: NDArray[np.bool_], flag: Flag) -> NDArray[np.str_]:
    """Names (n,) joined by ``;``, as ``flag_names`` gives them, with the flag's own added in some ``rows`` (n,)."""
    name = FLAG_INFO[flag].name
    added = zip(names.tolist(), rows.tolist(), strict=True)
    return np.array([";".join(filter(None, (old, name if add else ""))) for old, add in added], dtype=np.str_)
