"""The clinical rules for progression, each on what it looks at, with its published floors.

Lesions are rows, visits are columns. 0 means that the lesion is not there, NaN that it was not measured. Every rule
answers for each visit: ``progression``, ``none``, or "" (missing) where a measurement that it needs is. Response and
its confirmation, non-target lesions and clinical judgement are not modelled. A lesion that disappeared
and comes back is new. Once progression is called it stays.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

PROGRESSION, NONE, MISSING = "progression", "none", ""
_MAX_TARGETS = 5
#: A lesion of no size at all is absent.
_ABSENT = 1e-12
#: 2.8 is 0.8 above 2.0, whatever binary fractions make of it.
_EXACT = 1e-9


def call_recist(longest_mm: NDArray[np.float64], floor_mm: float = 10.0, rise_mm: float = 5.0) -> NDArray[np.str_]:
    """RECIST 1.1 on longest diameters (n_lesions, n_visits), mm.

    Progression: the sum over the targets (the five largest lesions of at least ``floor_mm`` at the first visit) is
    20 % *and* ``rise_mm`` above its smallest so far, or a new lesion reaches ``floor_mm``.

    Source: Eisenhauer et al., New response evaluation criteria in solid tumours: revised RECIST guideline (version
    1.1), Eur J Cancer 2009; 45:228. The two-per-organ rule needs organs, which are not known here.
    """
    size = np.atleast_2d(np.asarray(longest_mm, dtype=np.float64))
    targets = _pick_targets(size[:, 0], floor_mm)
    total = size[targets].sum(axis=0)
    risen = _above_nadir(total, 0.20, rise_mm) if targets.any() else np.zeros(size.shape[1], dtype=bool)
    return _answer(risen | _is_new(size, floor_mm, _ABSENT), np.asarray(np.isnan(size).any(axis=0)))


def call_rano(
    longest_mm: NDArray[np.float64],
    perpendicular_mm: NDArray[np.float64],
    volume_mm3: NDArray[np.float64] | None = None,
    floor_mm: float = 10.0,
) -> NDArray[np.str_]:
    """RANO on two perpendicular diameters, and volumes where given, (n_lesions, n_visits) each.

    Progression: the sum of the products of diameters is 25 %, or the sum of volumes 40 %, above its smallest so far,
    over the targets (the five largest lesions of at least ``floor_mm`` in both diameters at the first visit); or a new
    lesion of that size.

    Sources: Wen et al., Updated response assessment criteria for high-grade gliomas, J Clin Oncol 2010; 28:1963
    (25 %, 10 mm in two diameters); Wen et al., RANO 2.0, J Clin Oncol 2023; 41:5187 (volumes: 40 %). Steroids and
    clinical state are not known here.
    """
    longest, across = (np.atleast_2d(np.asarray(x, dtype=np.float64)) for x in (longest_mm, perpendicular_mm))
    smaller = np.minimum(longest, across)
    targets = _pick_targets(smaller[:, 0], floor_mm)
    missing = np.asarray(np.isnan(smaller).any(axis=0))
    risen = np.zeros(longest.shape[1], dtype=bool)
    if targets.any():
        risen |= _above_nadir((longest * across)[targets].sum(axis=0), 0.25, 0.0)
        if volume_mm3 is not None:
            volume = np.atleast_2d(np.asarray(volume_mm3, dtype=np.float64))[targets].sum(axis=0)
            risen |= _above_nadir(volume, 0.40, 0.0)
    return _answer(risen | _is_new(smaller, floor_mm, _ABSENT), missing)


def call_percist(sul_peak: NDArray[np.float64], visible_sul: float) -> NDArray[np.str_]:
    """PERCIST 1.0 on the peak SUL of each lesion (n_lesions, n_visits); 0 where nothing is above the background.

    Progression: the hottest lesion's peak is 30 % *and* 0.8 above the lowest so far (the published rule compares with
    the baseline; the lowest is never later), or a new lesion is above ``visible_sul``, the level from which uptake
    counts as tumour (by the source: 1.5 × mean SUL of the liver + 2 of its standard deviations at baseline).

    Source: Wahl et al., From RECIST to PERCIST: evolving considerations for PET response criteria in solid tumors,
    J Nucl Med 2009; 50 (suppl 1):122S.
    """
    sul = np.atleast_2d(np.asarray(sul_peak, dtype=np.float64))
    missing = np.asarray(np.isnan(sul).any(axis=0))
    there = sul[:, 0] >= visible_sul
    risen = np.zeros(sul.shape[1], dtype=bool)
    if there.any():
        risen = _above_nadir(sul[there].max(axis=0), 0.30, 0.8)
    return _answer(risen | _is_new(sul, visible_sul, visible_sul), missing)


def call_first_visible(volume_mm3: NDArray[np.float64], floor_mm3: float = 1.0) -> NDArray[np.str_]:
    """First visible lesion: one that was smaller than ``floor_mm3`` at an earlier visit reaches it.

    Volumes (n_lesions, n_visits). The floor of 1 mm³ is a convention of this project (an assumption).
    """
    volume = np.atleast_2d(np.asarray(volume_mm3, dtype=np.float64))
    return _answer(_is_new(volume, floor_mm3, floor_mm3), np.asarray(np.isnan(volume).any(axis=0)))


def _pick_targets(first: NDArray[np.float64], floor: float) -> NDArray[np.bool_]:
    """The largest lesions of the first visit that can be measured."""
    order = np.argsort(-np.nan_to_num(first), kind="stable")
    targets = np.zeros(len(first), dtype=bool)
    targets[order[:_MAX_TARGETS]] = True
    return np.asarray(targets & (np.nan_to_num(first) >= floor))


def _above_nadir(total: NDArray[np.float64], share: float, rise: float) -> NDArray[np.bool_]:
    """Whether a total is a share and a rise above the smallest of the earlier ones; no answer to NaN."""
    nadir = np.fmin.accumulate(total)
    before = np.concatenate([[np.nan], nadir[:-1]])
    with np.errstate(invalid="ignore"):
        return np.asarray(
            (total > before) & (total >= (1 + share) * before - _EXACT) & (total - before >= rise - _EXACT)
        )


def _is_new(size: NDArray[np.float64], floor: float, absent_below: float) -> NDArray[np.bool_]:
    """Whether a lesion that was absent at an earlier visit now has at least the floor's size."""
    absent = np.maximum.accumulate(size < absent_below, axis=1)
    before = np.concatenate([np.zeros((len(size), 1), dtype=bool), absent[:, :-1]], axis=1)
    return np.asarray((before & (np.nan_to_num(size) >= floor)).any(axis=0))


def _answer(called: NDArray[np.bool_], missing: NDArray[np.bool_]) -> NDArray[np.str_]:
    """Once called it stays; before that a missing measurement is no answer."""
    ever = np.maximum.accumulate(called)
    return np.where(ever, PROGRESSION, np.where(missing, MISSING, NONE))
