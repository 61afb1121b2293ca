"""What the clinical rules for progression say of each visit, from lesions that somebody measured."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from ferrosight.relapse import call_first_visible, call_percist, call_rano, call_recist
from ferrosight.types import Table

RULES = ("recist", "rano", "percist", "visible")


def compare_rules(
    lesions: Table, session_ids: Sequence[str], visible_sul: float | None = None
) -> dict[str, NDArray[np.str_]]:
    """RECIST 1.1, RANO, PERCIST and the first visible lesion at each visit: ``progression``, ``none``, or "".

    Parameters
    ----------
    lesions
        Schema LESIONS. A visit with no line at all was not looked at. A lesion that a visit's lines leave out was not
        there yet if it comes later for the first time, and otherwise was not measured.
    session_ids
        The visits in order of time, without prefix; lines of other visits are left out.
    visible_sul
        SUL from which uptake counts as tumour; None: unknown, and PERCIST cannot say.

    Returns
    -------
    By the names of ``RULES``, (n_visits,) each; "" where a rule cannot say.
    """
    columns = ("longest_mm", "perpendicular_mm", "volume_mm3", "sul_peak")
    sizes = {name: spread_lesions(lesions, name, session_ids)[1] for name in columns}
    silent = np.zeros(len(session_ids), dtype="<U11")
    if not len(session_ids):
        return dict.fromkeys(RULES, silent)
    percist = silent if visible_sul is None else call_percist(sizes["sul_peak"], visible_sul)
    return {
        "recist": call_recist(sizes["longest_mm"]),
        "rano": call_rano(sizes["longest_mm"], sizes["perpendicular_mm"], sizes["volume_mm3"]),
        "percist": percist,
        "visible": call_first_visible(sizes["volume_mm3"]),
    }


def spread_lesions(
    lesions: Table, column: str, session_ids: Sequence[str]
) -> tuple[tuple[str, ...], NDArray[np.float64]]:
    """Names of the lesions, and one column of their table (schema LESIONS) as (n_lesions + 1, n_visits).

    0 before a lesion is first listed, where somebody looked; NaN where it was not measured. The last row is a lesion
    that never was: 0 where somebody looked, else NaN.
    """
    names = [name for name in dict.fromkeys(lesions["lesion_id"].tolist()) if name]
    row_of = {name: row for row, name in enumerate(names)}
    visit_of = {session: visit for visit, session in enumerate(session_ids)}
    sizes = np.full((len(names) + 1, len(session_ids)), np.nan)
    listed = np.zeros(sizes.shape, dtype=bool)
    for session, name, value in zip(lesions["session_id"], lesions["lesion_id"], lesions[column], strict=True):
        visit = visit_of.get(str(session))
        if visit is None:
            continue
        sizes[-1, visit] = 0.0
        if name:
            sizes[row_of[str(name)], visit], listed[row_of[str(name)], visit] = value, True
    not_yet = ~np.logical_or.accumulate(listed, axis=1) & np.isfinite(sizes[-1])
    sizes[not_yet] = 0.0
    return tuple(names), sizes
