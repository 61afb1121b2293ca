"""Which polarity is iron's: read from the data only where chance cannot explain them."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy import stats

from ferrosight.clusters.calibrate import fit_tail
from ferrosight.clusters.fit import Sources, unfitted
from ferrosight.clusters.polarity import (
    Polarity,
    _pool_decoys,
    _read_from_data,
    decide_polarity,
    expected_false,
)
from ferrosight.clusters.search import SearchResult
from ferrosight.types import PhaseSign

SHAPE = (20, 20, 20)
FLOOR = 4.5


def make_sources(scores: NDArray[np.float64], patterns: NDArray[np.int64], signs: NDArray[np.int64]) -> Sources:
    """Sources that were fitted with these scores."""
    n = len(scores)
    blank = unfitted(patterns, signs, np.zeros((n, 3), np.int64), 1)
    chi2 = np.full(n, 300.0)
    return replace(
        blank, chi2=chi2, chi2_background=chi2 + scores**2, n_data=np.full(n, 162), steps=np.ones(n, np.int64)
    )


def decide(
    iron: list[float],
    other: list[float],
    stated: PhaseSign,
    eligible: NDArray[np.bool_] | None = None,
    floor: float = FLOOR,
) -> Polarity:
    """Dipoles of negative and of positive q among forty decoys of noise, in a map of unit spread."""
    rng = np.random.default_rng(1)
    decoys = np.sqrt(FLOOR**2 + 2 * rng.exponential(size=40))
    scores = np.concatenate([iron, other, decoys])
    signs = np.concatenate([np.full(len(iron), -1), np.full(len(other), 1), rng.choice([-1, 1], 40)])
    patterns = np.concatenate([np.zeros(len(iron) + len(other)), rng.integers(1, 5, 40)]).astype(np.int64)
    sources = make_sources(scores, patterns, signs)
    noise = rng.standard_normal((5, *SHAPE)).astype(np.float32)
    found = SearchResult(
        sources,
        scores,
        None,
        None,
        np.ones(len(scores)),
        np.zeros((len(scores), 4, 4)),
        np.zeros(len(scores)),
        noise,
        100,
        None,
        None,
    )  # type: ignore[arg-type]
    allowed = np.ones(len(scores), np.bool_) if eligible is None else eligible
    return decide_polarity(found, allowed, np.ones(SHAPE, np.bool_), stated, floor)


@pytest.mark.parametrize("stated", [PhaseSign.POSITIVE, PhaseSign.NEGATIVE])
def test_what_is_stated_stands_whatever_the_data_say(stated: PhaseSign) -> None:
    polarity = decide([20.0, 15.0], [4.5], stated)
    assert (polarity.sign, polarity.phase_sign, polarity.source) == (int(stated), stated, "stated")


def test_one_candidate_beyond_doubt_decides() -> None:
    polarity = decide([20.0], [4.2], PhaseSign.UNKNOWN)
    assert polarity.phase_sign is PhaseSign.NEGATIVE
    assert "decided by the data" in polarity.source


def test_candidates_of_both_polarities_decide_nothing() -> None:
    polarity = decide([20.0], [18.0], PhaseSign.UNKNOWN)
    assert polarity.phase_sign is PhaseSign.UNKNOWN
    assert polarity.sign == 0
    assert polarity.opposite is None


def test_nothing_decides_nothing() -> None:
    assert decide([], [], PhaseSign.UNKNOWN).phase_sign is PhaseSign.UNKNOWN


def test_what_is_not_eligible_has_no_say() -> None:
    """A vein of the one polarity does not decide, nor keep the other from deciding."""
    eligible = np.ones(42, np.bool_)
    eligible[0] = False
    assert decide([20.0], [18.0], PhaseSign.UNKNOWN, eligible).phase_sign is PhaseSign.POSITIVE


@pytest.mark.parametrize("n_other", range(6))
@pytest.mark.parametrize("n_iron", [3, 12, 40])
def test_many_of_one_polarity_decide_by_the_sign_test(n_iron: int, n_other: int) -> None:
    """The chance is scipy's binomial test; the counts must be more lopsided than ten to one as well."""
    tail = fit_tail(np.sqrt(FLOOR**2 + 2 * np.random.default_rng(2).exponential(size=200)), 8, FLOOR)
    at = np.linspace(4, 9, 5001)
    expected = 2 * tail.expected_false(at)
    # likely each, certain none
    score = float(at[np.flatnonzero(expected < 0.5)[0]])
    scores = np.full(n_iron + n_other, score)
    signs = np.concatenate([np.ones(n_iron), -np.ones(n_other)])
    decided, _ = _read_from_data(scores, signs, tail)
    chance = stats.binomtest(n_other, n_iron + n_other, 0.5).pvalue
    sure = chance < 1e-3 and n_iron > 10 * max(n_other, 1)
    assert decided is (PhaseSign.POSITIVE if sure else PhaseSign.UNKNOWN)
    mirrored, _ = _read_from_data(scores, -signs, tail)
    assert mirrored is (PhaseSign.NEGATIVE if sure else PhaseSign.UNKNOWN)


def test_a_real_source_of_the_other_polarity_does_not_speak_for_the_null() -> None:
    """A calcification of twenty standard deviations leaves the opposite null as it is without it."""
    with_it, without = (decide([15.0], other, PhaseSign.NEGATIVE) for other in ([20.0, 4.2], [4.2]))
    at = np.array([4.6, 6.0, 9.0])
    np.testing.assert_allclose(expected_false(with_it, at), expected_false(without, at))


@pytest.mark.parametrize(
    ("n_opposite", "low", "high"), [(0, 0.99, 1.01), (1, 0.99, 1.3), (4, 1.5, 3.0), (40, 10.0, 20.0)]
)
def test_a_few_of_the_opposite_polarity_count_as_far_as_they_tell(n_opposite: int, low: float, high: float) -> None:
    """Eight harmonics are one per class: none of the opposite does not lower the rate, forty raise it to 15 times."""
    rng = np.random.default_rng(3)
    harmonics, opposite = (np.sqrt(FLOOR**2 + 2 * rng.exponential(size=n)) for n in (8, n_opposite))
    pooled = _pool_decoys(harmonics, opposite, FLOOR)
    above = np.count_nonzero(harmonics >= pooled.threshold) + 0.5
    assert low < pooled.rate / (above / 8) < high


def test_many_of_the_opposite_polarity_are_a_null_of_their_own() -> None:
    """Not so many that they are sources: then whichever null expects more decides."""
    likely = list(np.linspace(4.55, 4.95, 30))
    polarity = decide([15.0], likely, PhaseSign.NEGATIVE)
    assert polarity.opposite is not None
    at = np.array([4.6, 4.8])
    np.testing.assert_allclose(expected_false(polarity, at), polarity.opposite.expected_false(at))
    assert (polarity.opposite.expected_false(at) > polarity.null.expected_false(at)).all()


def test_an_unknown_sign_counts_both_polarities() -> None:
    polarity = decide([], [], PhaseSign.UNKNOWN)
    at = np.array([5.0, 8.0])
    np.testing.assert_allclose(expected_false(polarity, at), 2 * polarity.null.expected_false(at))


def test_what_lies_below_the_screening_threshold_says_nothing_of_the_null() -> None:
    low, high = decide([20.0], [], PhaseSign.NEGATIVE, floor=2.0), decide([20.0], [], PhaseSign.NEGATIVE, floor=5.0)
    assert (low.floor, high.floor) == (2.0, 5.0)
    assert (low.null.n_tail, high.null.threshold) == (40, 5.0)
    assert 0 < high.null.n_tail < 40
