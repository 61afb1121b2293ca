"""Judging: which candidates are accepted, with which errors, and why the others are not."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ferrosight.clusters.bubbles import compare_bubbles
from ferrosight.clusters.calibrate import Tail, q_values
from ferrosight.clusters.correlation import correct_for_correlation
from ferrosight.clusters.fit import TABLE_REL_SD, Sources
from ferrosight.clusters.halves import split_windows
from ferrosight.clusters.joint import joint_covariance
from ferrosight.clusters.polarity import Polarity, expected_false
from ferrosight.clusters.prepare import PointSpread
from ferrosight.clusters.search import SearchResult
from ferrosight.clusters.selection import acceptance_score
from ferrosight.clusters.veins import VEIN_MARGIN
from ferrosight.types import FEW_DECOYS, Flag, Noise, Scan, rejects
from ferrosight.types.config import ClustersConfig

#: χ²/dof above which a fit is called poor.
POOR_FIT = 1.5
#: A window less full than this is called partial.
PARTIAL_WINDOW = 0.95
#: Inner and outer moments farther apart than this many standard errors disagree.
_DISAGREE = 2.0
#: A bubble must be better by this much (χ² scaled to χ²/dof = 1) to reject a cluster.
_BUBBLE_MARGIN = 9.0


@dataclass(frozen=True)
class Shapes:
    """What the shape tests say of each row of a verdict."""

    cylinder_delta_chi2: NDArray[np.float64]
    bubble_delta_chi2: NDArray[np.float64]
    bubble_testable: NDArray[np.bool_]
    q_inner: NDArray[np.float64]
    q_inner_err: NDArray[np.float64]
    q_outer: NDArray[np.float64]
    q_outer_err: NDArray[np.float64]
    n_neighbours: NDArray[np.int64]


@dataclass(frozen=True)
class Verdict:
    """The catalogue's rows: ``rows`` (n,) into the search's sources, strongest first, and what is said of each.

    ``iron_sign`` is the sign of q that iron has, 0 where unknown; ``covariance`` (n, 4, 4) of (q, shift) with
    everything that inflates it; ``strength`` (n,) the fitted q less what seeking the position adds to it;
    ``inflation`` (n,) the factor by which the error of q grew over what noise alone gives; ``acceptance_score`` the
    score from which the accepted would have been so.
    """

    rows: NDArray[np.int64]
    score: NDArray[np.float64]
    p_value: NDArray[np.float64]
    q_value: NDArray[np.float64]
    expected_false: NDArray[np.float64]
    flags: NDArray[np.int64]
    covariance: NDArray[np.float64]
    strength: NDArray[np.float64]
    inflation: NDArray[np.float64]
    shapes: Shapes
    tail: Tail
    iron_sign: int
    acceptance_score: float

    @property
    def accepted(self) -> NDArray[np.bool_]:
        """Whether nothing rejects each row."""
        return np.array([not rejects(int(bits)) for bits in self.flags], dtype=np.bool_)

    @property
    def score_threshold(self) -> float:
        """Lowest accepted score; NaN where nothing was accepted."""
        return float(self.score[self.accepted].min()) if self.accepted.any() else float("nan")

    @property
    def n_windows_disagree(self) -> int:
        """Accepted clusters whose inner and outer windows disagree."""
        return int(((self.flags & Flag.WINDOWS_DISAGREE) > 0)[self.accepted].sum())


def judge_sources(
    scan: Scan,
    noise: Noise,
    point_spread: PointSpread,
    found: SearchResult,
    inside: NDArray[np.bool_],
    cylinder: NDArray[np.float64],
    polarity: Polarity,
    config: ClustersConfig,
) -> Verdict:
    """Judge every dipole candidate of iron's polarity, and the significant ones of the other.

    ``inside`` (n,) says which sources lie in the mask, ``cylinder`` (n,) by how much a vein explains each
    better (``compare_cylinders``).
    """
    sources = found.sources
    # Below the score at which the search is complete nothing is known of how many are false.
    dipole = (sources.patterns == 0) & (polarity.score >= polarity.floor)
    iron = dipole if polarity.sign == 0 else dipole & (np.sign(sources.q) == polarity.sign)
    expected = expected_false(polarity, polarity.score)
    q = np.ones(len(sources))
    counted = iron & inside & ~(cylinder < -VEIN_MARGIN)
    q[counted] = q_values(expected[counted])
    # What lies outside, is a vein or has the other sign is judged by the q it would have had.
    other = dipole & ~counted
    for row in np.flatnonzero(other):
        rank = 1 + np.count_nonzero(polarity.score[counted] >= polarity.score[row])
        q[row] = min(expected[row] / rank, 1.0)
    significant = (q <= config.q) & (expected <= config.max_expected_false)
    rows = np.flatnonzero((iron & inside) | (other & significant))
    rows = rows[np.argsort(-polarity.score[rows], kind="stable")]
    flags = np.zeros(len(sources), np.int64)
    flags[~significant] |= Flag.NOT_SIGNIFICANT
    flags[~inside] |= Flag.OUTSIDE
    flags[dipole & ~iron] |= Flag.OPPOSITE_POLARITY
    if polarity.sign == 0:
        flags |= int(Flag.SIGN_UNKNOWN)
    if polarity.null.n_tail < FEW_DECOYS:
        flags |= int(Flag.FEW_DECOYS)
    p_value = np.minimum(expected / max(found.n_places, 1), 1.0)
    shapes, covariance = _test_shapes(scan, point_spread, found, rows, significant[rows], cylinder[rows])
    correlation = correct_for_correlation(found.data, sources.pick(rows), found.neighbours, found.own[rows], noise)
    covariance, disagree = _inflate(sources.pick(rows), covariance, correlation, shapes)
    covariance = covariance + found.between[rows]
    flags = _add_remarks(sources.pick(rows), flags[rows], covariance, shapes, disagree, len(found.data.voxels))
    with np.errstate(invalid="ignore", divide="ignore"):
        inflation = np.sqrt(covariance[:, 0, 0] / sources.covariance[rows, 0, 0])
    return Verdict(
        rows,
        polarity.score[rows],
        p_value[rows],
        q[rows],
        expected[rows],
        flags,
        covariance,
        take_off_bias(sources.pick(rows)),
        inflation,
        shapes,
        polarity.null,
        polarity.sign,
        acceptance_score(polarity, int(np.count_nonzero(counted & significant)), config.q, config.max_expected_false),
    )


def _add_remarks(
    sources: Sources,
    flags: NDArray[np.int64],
    covariance: NDArray[np.float64],
    shapes: Shapes,
    disagree: NDArray[np.bool_],
    full_window: int,
) -> NDArray[np.int64]:
    """Flags with what the fits and the shape tests add."""
    significant = (flags & Flag.NOT_SIGNIFICANT) == 0
    flags = flags.copy()
    flags[sources.n_data < PARTIAL_WINDOW * full_window] |= Flag.PARTIAL_WINDOW
    flags[sources.chi2 > POOR_FIT * sources.dof] |= Flag.POOR_FIT
    flags[shapes.n_neighbours > 0] |= Flag.JOINT_FIT
    flags[~np.isfinite(covariance[:, 0, 0])] |= Flag.FIT_FAILED
    flags[shapes.cylinder_delta_chi2 < -VEIN_MARGIN] |= Flag.VEIN
    bubble = shapes.bubble_delta_chi2 < -_BUBBLE_MARGIN
    flags[bubble & shapes.bubble_testable] |= Flag.BUBBLE
    flags[significant & ~shapes.bubble_testable] |= Flag.BUBBLE_NOT_EXCLUDED
    flags[disagree] |= Flag.WINDOWS_DISAGREE
    return flags


def _inflate(
    sources: Sources, covariance: NDArray[np.float64], correlation: NDArray[np.float64], shapes: Shapes
) -> tuple[NDArray[np.float64], NDArray[np.bool_]]:
    """Errors grow by the noise's correlation, by the root of the misfit where that exceeds one, and to cover
    windows that disagree.

    The correlation's factor is the strength's; positions take the same.
    """
    misfit = np.maximum(np.nan_to_num(sources.misfit, nan=1.0), 1.0)
    scale = misfit * np.maximum(np.nan_to_num(correlation, nan=1.0), 1.0)
    inflated = covariance * scale[:, None, None]
    disagree = windows_disagree(shapes.q_inner, shapes.q_inner_err, shapes.q_outer, shapes.q_outer_err)
    # With two halves that know equally much this is half their difference. A half that knows nothing can differ by
    # two of its own large errors, and must not make a good error bad.
    gap = (shapes.q_inner - shapes.q_outer) / np.hypot(shapes.q_inner_err, shapes.q_outer_err)
    inflated[disagree, 0, 0] *= 1 + gap[disagree] ** 2
    inflated[:, 0, 0] += (TABLE_REL_SD * sources.q) ** 2
    return inflated, disagree


def take_off_bias(sources: Sources) -> NDArray[np.float64]:
    """Strengths (n,) less what seeking the position adds to them.

    At the place where noise makes a source strongest its strength is high by σ²/2q for each of the three coordinates
    fitted (second order in σ/q, with σ the strength's error from the noise: 1.5 % at ten standard deviations). Below
    d' = √3 the expansion no longer holds, and half is the most that is taken off.
    """
    with np.errstate(invalid="ignore", divide="ignore"):
        variance = sources.covariance[:, 0, 0] * np.fmax(sources.misfit, 1.0)
        share = np.minimum(1.5 * variance / sources.q**2, 0.5)
    return np.asarray(sources.q * (1 - np.nan_to_num(share, nan=0.0)), dtype=np.float64)


def windows_disagree(
    inner: NDArray[np.float64],
    inner_err: NDArray[np.float64],
    outer: NDArray[np.float64],
    outer_err: NDArray[np.float64],
) -> NDArray[np.bool_]:
    """Whether inner and outer halves, as ``split_windows`` gives them, differ by more than their errors allow."""
    with np.errstate(invalid="ignore"):
        return np.asarray(np.abs(inner - outer) > _DISAGREE * np.hypot(inner_err, outer_err), dtype=np.bool_)


def _test_shapes(
    scan: Scan,
    point_spread: PointSpread,
    found: SearchResult,
    rows: NDArray[np.int64],
    significant: NDArray[np.bool_],
    cylinder: NDArray[np.float64],
) -> tuple[Shapes, NDArray[np.float64]]:
    """Bubble, windows and neighbours of every row, and the covariance with neighbours free.

    Bubbles are asked for only where something is at stake.
    """
    sources, own = found.sources.pick(rows), found.own[rows]
    doubtful = sources.pick(significant), found.neighbours, own[significant]
    bubble = np.full(len(rows), np.nan)
    testable = np.zeros(len(rows), np.bool_)
    bubble[significant], testable[significant] = compare_bubbles(
        found.data,
        *doubtful,
        b0_t=scan.b0_t,
        voxel_mm=scan.grid.voxel_mm,
        echo_time_s=float(scan.echo_times_s[0]),
        supports=point_spread.supports,
    )
    halves = split_windows(found.data, sources, found.neighbours, own)
    explaining = found.sources.pick(found.own >= 0)
    covariance, n_neighbours = joint_covariance(found.data, sources, explaining, found.neighbours, own)
    return Shapes(cylinder, bubble, testable, *halves, n_neighbours), covariance
