"""Which polarity is iron's, and what each polarity's null is."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray
from scipy import special

from ferrosight.clusters.calibrate import Tail, class_spreads, fit_tail
from ferrosight.clusters.search import SearchResult
from ferrosight.types import PhaseSign

#: A polarity is decided by the data where it holds a candidate this certain …
_CERTAIN = 1e-3
#: … and the other holds none this likely to be real.
_DOUBTFUL = 0.1
#: … or where likely candidates are so lopsided.
_MANY_TO_ONE = 10
#: A candidate of the opposite polarity below this under the harmonics' null is a source of its own.
_REAL = 0.05
_N_HARMONIC_CLASSES = 8
#: The opposite polarity is expected to be as frequent as a harmonic; so many decoys of its own weigh as much.
_PRIOR_DECOYS = 2.0
#: With so many decoys of its own it has a tail of its own.
_ENOUGH_DECOYS = 5


@dataclass(frozen=True)
class Polarity:
    """Iron's sign of q (0: unknown), how it is known, scores standardised by class, and the nulls.

    ``score`` (n,) of every source; ``null`` the tail of all decoys, ``opposite`` that of the dipole of the other sign
    alone (None where the sign is unknown or it has few); ``floor`` the lowest score that is looked at.
    """

    sign: int
    phase_sign: PhaseSign
    source: str
    score: NDArray[np.float64]
    spreads: NDArray[np.float64]
    null: Tail
    opposite: Tail | None
    floor: float


def decide_polarity(
    found: SearchResult, eligible: NDArray[np.bool_], mask: NDArray[np.bool_], stated: PhaseSign, floor: float
) -> Polarity:
    """Iron's polarity from what is stated, or from the data where they decide it beyond doubt.

    Only ``eligible`` (n,) sources speak: what would reject a cluster of its place and shape, rejects a decoy too.
    ``floor`` is the lowest score at which the search is taken to be complete, the screening threshold: below it a null
    thins out because its candidates were not looked for, and its tail would pass for a heavy one.
    """
    sources = found.sources
    spreads = class_spreads(found.residual_map, mask)
    score = found.score / spreads[sources.patterns] / found.neighbour_spread
    dipole = (sources.patterns == 0) & eligible
    harmonics = fit_tail(score[(sources.patterns > 0) & eligible], _N_HARMONIC_CLASSES, floor)
    phase_sign, source = stated, "stated"
    if stated is PhaseSign.UNKNOWN:
        phase_sign, source = _read_from_data(score, np.sign(sources.q) * dipole, harmonics)
    null, opposite = harmonics, None
    if phase_sign is not PhaseSign.UNKNOWN:
        other = dipole & (np.sign(sources.q) == -int(phase_sign))
        # A calcification is a real source, not a false one: it must not speak for the null.
        other &= harmonics.expected_false(score) > _REAL
        null = _pool_decoys(score[(sources.patterns > 0) & eligible], score[other], floor)
        if np.count_nonzero(score[other] >= floor) >= _ENOUGH_DECOYS:
            opposite = fit_tail(score[other], 1, floor)
    return Polarity(int(phase_sign), phase_sign, source, score, spreads, null, opposite, floor)


def _pool_decoys(harmonics: NDArray[np.float64], opposite: NDArray[np.float64], floor: float) -> Tail:
    """One tail of all decoys, at the rate of the harmonics or of the opposite polarity, whichever is larger.

    The shape of a tail needs all the decoys there are. How many of the opposite polarity there are is known from one
    class only, so their rate has a Gamma prior about that of a harmonic, worth ``_PRIOR_DECOYS`` of them.
    """
    pooled = fit_tail(np.concatenate([harmonics, opposite]), _N_HARMONIC_CLASSES + 1, floor)
    of_harmonic = (np.count_nonzero(harmonics >= pooled.threshold) + 0.5) / _N_HARMONIC_CLASSES
    n_opposite = np.count_nonzero(opposite >= pooled.threshold)
    of_opposite = (n_opposite + _PRIOR_DECOYS) / (1 + _PRIOR_DECOYS / of_harmonic)
    return replace(pooled, rate=float(max(of_harmonic, of_opposite)))


def _read_from_data(score: NDArray[np.float64], signs: NDArray[np.float64], harmonics: Tail) -> tuple[PhaseSign, str]:
    """The polarity that holds what chance cannot explain, while the other does not; both signs were looked at.

    Two ways to be sure: a single candidate too strong to be false, with nothing like it in the other
    polarity; or many candidates nearly all of one polarity, when false ones would have either alike.
    """
    best = {sign: float(score[signs == sign].max(initial=0.0)) for sign in (1, -1)}
    expected = {sign: 2 * float(harmonics.expected_false(np.array([value]))[0]) for sign, value in best.items()}
    likely = 2 * harmonics.expected_false(score) < 1.0
    counts = {sign: int((likely & (signs == sign)).sum()) for sign in (1, -1)}
    total = counts[1] + counts[-1]
    # Two-sided sign test (scipy.stats has it, and takes a second to import).
    chance = min(2 * float(special.bdtr(min(counts[1], counts[-1]), total, 0.5)), 1.0)
    for sign in (1, -1):
        alone = expected[sign] < _CERTAIN and expected[-sign] > _DOUBTFUL
        many = chance < _CERTAIN and counts[sign] > _MANY_TO_ONE * max(counts[-sign], 1)
        if alone or many:
            told = (
                f"decided by the data ({counts[sign]} likely candidates of one polarity, {counts[-sign]} of the other)"
            )
            return PhaseSign(sign), told
    return PhaseSign.UNKNOWN, "neither stated nor decided by the data"


def expected_false(polarity: Polarity, scores: NDArray[np.float64]) -> NDArray[np.float64]:
    """False candidates of at least each score expected in the scan: the larger of the nulls'."""
    expected = polarity.null.expected_false(scores)
    if polarity.sign == 0:
        return 2 * expected
    if polarity.opposite is None:
        return expected
    return np.maximum(expected, polarity.opposite.expected_false(scores))
