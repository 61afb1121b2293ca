"""Whether growth can be known from what was measured at all, and which scan would make it so."""

from __future__ import annotations

import numpy as np

from ferrosight.types.relapse import Measured, StudyDesign, SubjectSeries

MIN_VISITS = 3
#: Intervals between doses may differ by that share before a constant retention per visit means nothing.
_UNEVEN = 0.25


def find_obstacles(series: SubjectSeries, design: StudyDesign) -> list[str]:
    """Why nothing can be said about this subject, whatever was measured; empty where something can."""
    found = []
    n = len(series.session_ids)
    if n < MIN_VISITS:
        found.append(
            f"Not identifiable from {n} visit{'' if n == 1 else 's'}: growth needs at least {MIN_VISITS}, one in which "
            "a cluster is found and two that are measured without that choice. Another scan with the same protocol "
            "would make it so."
        )
    changed = [
        name for name, one in zip(series.session_ids, series.protocols, strict=True) if one != series.protocols[0]
    ]
    if changed:
        found.append(
            f"Not identifiable: the protocol changes at {changed[0]}, and with it what a scan shows. Scans with one "
            "protocol throughout, or a series of its own for each protocol, would make it so."
        )
    if design.test_retest is None and design.sd_factor_max is None:
        found.append(
            "Not identifiable: nobody knows how far the stated errors can be wrong. Pairs of scans repeated without "
            "anything having changed (test and retest) would make it so."
        )
    return found


def find_obstacle(measured: Measured, series: SubjectSeries, design: StudyDesign) -> str:
    """Why this quantity cannot show growth in this study, and what would; "" where it can."""
    if measured.quantity == "volume":
        return ""
    if measured.quantity == "iron" and design.kind != "targeted":
        return (
            "Growth is not identifiable from iron: division shares it out and makes none, so that the iron of cells "
            "labelled beforehand falls however fast they divide. PET of a tracer, the volume on an anatomical scan, or "
            "particles that seek the cells, given again before each scan, would make it so."
        )
    if measured.reference is None and measured.factor_sd_max is None:
        return (
            f"Growth is not identifiable from {measured.quantity}: a change of dose or gain, common to all clusters "
            "of a visit, looks the same. A reference tissue measured in every scan, or a known bound of that factor, "
            "would make it so."
        )
    if measured.quantity == "iron" and measured.before_dose is None:
        return _find_retention(measured, series)
    return ""


def _find_retention(measured: Measured, series: SubjectSeries) -> str:
    if measured.carry_over_max is None:
        return (
            "Growth is not identifiable from iron: what stays of earlier doses looks the same. A scan before each "
            "dose, or a known bound of the share that stays, would make it so."
        )
    gaps = np.diff(series.days)
    if measured.carry_over_max > 0 and gaps.size and np.ptp(gaps) > _UNEVEN * np.median(gaps):
        return (
            "Growth is not identifiable from iron: the share that stays of earlier doses is bounded per visit, but the "
            "visits are not evenly spaced. A scan before each dose, or even intervals, would make it so."
        )
    return ""
