"""MRI's and PET's candidates of one visit made one list, each with what both say of it.

Every candidate of one modality is asked of in the other, at its place and within what the registration leaves open. It
is accepted by either alone, or by both scores added with the weights that are expected of a labelled cell at the limit
of detection; how many false candidates that leaves is known from each modality's own (``numerics.joint_evidence``).
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.stats import norm

from ferrosight.numerics.joint_evidence import (
    KNOWN_SHARES,
    UNKNOWN_SHARES,
    Routes,
    Side,
    Strengths,
    score_of_expected,
)
from ferrosight.numerics.place_evidence import STRENGTHS
from ferrosight.pet.judge import q_values
from ferrosight.types import JOINT_CLUSTERS, Flag, Table, flag_names
from ferrosight.types.config import PetConfig

Array = NDArray[np.float64]

#: Two candidates are one within this squared distance in their common covariance: all but 1 in 1000 (χ² of three).
_SAME_PLACE = 16.27
#: A modality says something at this level.
_LEVEL = 0.05
_Z95_ONE_SIDED = 1.6448536269514722
#: Reasons that belong to a scan's own evidence, and are judged anew with the other's.
_OWN_REASONS = {flag_names(int(Flag.NOT_SIGNIFICANT)), flag_names(int(Flag.FIT_FAILED))}


@dataclass(frozen=True, eq=False)
class Opinion:
    """One modality's candidates, in the MRI's space.

    Parameters
    ----------
    clusters : schema CLUSTERS or PET_CLUSTERS, n rows
    places_mm, covariance_mm2 : (n, 3), (n, 3, 3); PET's with the registration's error
    n_places : voxels that were searched
    n_floor : false candidates expected in all, however weak
    other_p, other_score : (n,) what the other modality says of these places; NaN where it does not see them
    other_heard : (n, k) the score that the other would give to a source of each of the k ``STRENGTHS`` there
    other_values : a row per candidate of what the other measured there, schema PET_FORCED or FORCED; NaN where nothing
    """

    clusters: Table
    places_mm: Array
    covariance_mm2: Array
    n_places: float
    n_floor: float
    other_p: Array
    other_score: Array
    other_heard: Array
    other_values: Table

    @property
    def side(self) -> Side:
        """Its search, as counts of false candidates need it."""
        floor = score_of_expected(np.array([max(self.n_floor, 1e-9)]), self.n_places)[0]
        return Side(self.n_places, float(floor))

    @property
    def scores(self) -> Array:
        """Each candidate's own score (n,)."""
        return score_of_expected(self.clusters["expected_false"], self.n_places)

    def score_at(self, expected_false: float) -> float:
        """The score at which so many false candidates are expected."""
        return float(score_of_expected(np.array([expected_false]), self.n_places)[0])

    def expect(self, own_strength: Array, other_strength: Array) -> Strengths:
        """What is expected of candidates that are of sources of these strengths (n,) in both modalities."""
        pairs = zip(other_strength, self.other_heard, strict=True)
        heard = np.array([float(np.interp(strength, STRENGTHS, row)) for strength, row in pairs])
        return Strengths(own_strength, np.maximum(np.nan_to_num(heard), 0.0))

    @property
    def is_vetoed(self) -> NDArray[np.bool_]:
        """Candidates (n,) that were rejected for what they look like, not for being weak."""
        reasons = (set(filter(None, str(names).split(";"))) for names in self.clusters["reasons"])
        return np.array([bool(names - _OWN_REASONS) for names in reasons], dtype=np.bool_)


def judge_jointly(mri: Opinion, pet: Opinion, config: PetConfig, *, ratio: Array | None = None) -> Table:
    """One list of both modalities' candidates with joint evidence.

    Parameters
    ----------
    mri, pet
        What each found, and what the other says there.
    ratio : (n_mri + n_pet,), optional
        At each candidate's place PET's over MRI's signal of a cell, in standard deviations, where cells bear both
        labels and both are known; NaN where it is not, which takes the median of the others. Without any both are
        taken to find as small a cluster.

    Returns
    -------
    Table
        Schema JOINT_CLUSTERS: MRI's candidates and those of PET that are none of them, least expected_false first. What
        MRI rejects as a vein, a bubble or the like stays rejected; PET's evidence there is judged alone.
    """
    ratio = np.full(len(mri.clusters) + len(pet.clusters), np.nan) if ratio is None else ratio
    partner, vetoed = _match(mri, pet), mri.is_vetoed
    strengths = _expect_signals(mri, pet, ratio, config.q)
    blocked = np.isin(np.arange(len(pet.clusters)), partner[vetoed][partner[vetoed] >= 0])
    mri_there = np.where(blocked, np.minimum(np.nan_to_num(pet.other_score), 0.0), pet.other_score)
    from_mri = strengths[0].weigh(mri.scores, mri.other_score, mri.n_places)
    from_pet = strengths[1].weigh(pet.scores, mri_there, pet.n_places)
    alone = mri.clusters["expected_false"], pet.clusters["expected_false"]
    rows: list[dict[str, Any]] = []
    # False candidates that each route would let through with a row: MRI alone, PET alone; and the row's odds.
    routed: list[tuple[float, float, float]] = []
    for row in range(len(mri.clusters)):
        spot = int(partner[row]) if not vetoed[row] else -1
        rows.append(_describe_mri(mri, pet, row, spot))
        of_spot = (alone[1][spot], from_pet[spot]) if spot >= 0 else (math.inf, -math.inf)
        routed.append((alone[0][row], of_spot[0], math.nan if vetoed[row] else max(from_mri[row], of_spot[1])))
    taken = set(partner[~vetoed].tolist())
    for spot in range(len(pet.clusters)):
        if spot not in taken:
            rows.append(_describe_pet(pet, spot, mri_there[spot]))
            routed.append((math.inf, alone[1][spot], from_pet[spot]))
    shares = KNOWN_SHARES if (np.isfinite(ratio) & (ratio > 0)).any() else UNKNOWN_SHARES
    routes = Routes(mri.side, pet.side, strengths, shares)
    return _judge(rows, np.array(routed, dtype=float).reshape(-1, 3), routes, config)


def _expect_signals(mri: Opinion, pet: Opinion, ratio: Array, expected_false: float) -> tuple[Strengths, Strengths]:
    """What is expected of MRI's candidates and of PET's, each seen from its own side.

    The signals are those of the cells that the better modality alone finds with this number of false candidates.
    """
    limits = mri.score_at(expected_false), pet.score_at(expected_false)
    known = np.isfinite(ratio) & (ratio > 0)
    elsewhere = float(np.median(ratio[known])) if known.any() else limits[1] / max(limits[0], 1e-9)
    ratio = np.where(known, ratio, elsewhere)
    of_mri = np.minimum(limits[1] / ratio, limits[0])
    of_pet = np.minimum(ratio * limits[0], limits[1])
    n = len(mri.clusters)
    return mri.expect(of_mri[:n], of_pet[:n]), pet.expect(of_pet[n:], of_mri[n:])


def _match(mri: Opinion, pet: Opinion) -> NDArray[np.int64]:
    """For each of MRI's candidates PET's that is the same, -1 for none: the nearest first, none twice."""
    partner = np.full(len(mri.clusters), -1, dtype=np.int64)
    if not len(mri.clusters) or not len(pet.clusters):
        return partner
    away = mri.places_mm[:, None] - pet.places_mm[None]
    both = mri.covariance_mm2[:, None] + pet.covariance_mm2[None]
    squares = np.einsum("mpa,mpa->mp", away, np.linalg.solve(both, away[..., None])[..., 0])
    squares[~np.isfinite(squares)] = np.inf
    for flat in np.argsort(squares, axis=None, kind="stable"):
        one, other = divmod(int(flat), squares.shape[1])
        if squares[one, other] > _SAME_PLACE:
            break
        if partner[one] < 0 and other not in partner:
            partner[one] = other
    return partner


def _describe_mri(mri: Opinion, pet: Opinion, row: int, spot: int) -> dict[str, Any]:
    """A candidate of MRI, with PET's row of it if there is one."""
    clusters, values = mri.clusters, mri.other_values
    names = ["cluster_id", "moment_am2", "moment_am2_err", "moment_am2_low", "moment_am2_high", "iron_pg", "n_cells"]
    found: dict[str, Any] = {name: clusters[name][row] for name in names}
    found |= {"mri_cluster_id": str(clusters["cluster_id"][row]), "reasons": str(clusters["reasons"][row])}
    found["upper_limit_moment_am2"] = _limit(found["moment_am2"], found["moment_am2_err"])
    names = ["activity_bq", "activity_bq_err", "activity_bq_low", "activity_bq_high", "upper_limit_bq", "remarks"]
    found |= {name: values[name][row] for name in names}
    found |= _say_place(mri, row)
    found |= {
        "score_mri": mri.scores[row],
        "p_value_mri": min(clusters["expected_false"][row] / mri.n_places, 1.0),
        "score_pet": mri.other_score[row],
        "p_value_pet": mri.other_p[row],
    }
    if spot >= 0:
        found |= {"pet_cluster_id": str(pet.clusters["cluster_id"][spot]), "suv_peak": pet.clusters["suv_peak"][spot]}
        if not pet.scores[spot] < mri.other_score[row]:
            found |= {
                "score_pet": pet.scores[spot],
                "p_value_pet": min(pet.clusters["expected_false"][spot] / pet.n_places, 1.0),
            }
    return found


def _describe_pet(pet: Opinion, spot: int, mri_score: float) -> dict[str, Any]:
    """A candidate of PET that is none of MRI's."""
    clusters, values = pet.clusters, pet.other_values
    names = ["cluster_id", "activity_bq", "activity_bq_err", "activity_bq_low", "activity_bq_high", "suv_peak"]
    found: dict[str, Any] = {name: clusters[name][spot] for name in names}
    found |= {"pet_cluster_id": str(clusters["cluster_id"][spot]), "reasons": str(clusters["reasons"][spot])}
    found["upper_limit_bq"] = _limit(found["activity_bq"], found["activity_bq_err"])
    names = ["moment_am2", "moment_am2_err", "moment_am2_low", "moment_am2_high", "remarks"]
    found |= {name: values[name][spot] for name in names}
    found["upper_limit_moment_am2"] = _limit(found["moment_am2"], found["moment_am2_err"])
    found |= _say_place(pet, spot)
    found |= {
        "score_pet": pet.scores[spot],
        "p_value_pet": min(clusters["expected_false"][spot] / pet.n_places, 1.0),
        "score_mri": mri_score,
        "p_value_mri": float(norm.sf(mri_score)),
    }
    return found


def _limit(value: float, err: float) -> float:
    """The 95 % one-sided upper limit."""
    return float(max(value, 0.0) + _Z95_ONE_SIDED * err) if np.isfinite(value) else math.nan


def _say_place(opinion: Opinion, row: int) -> dict[str, Any]:
    errors = np.sqrt(np.diag(opinion.covariance_mm2[row]))
    place = {f"{axis}_mm": float(opinion.places_mm[row, a]) for a, axis in enumerate("xyz")}
    return place | {f"{axis}_mm_err": float(errors[a]) for a, axis in enumerate("xyz")}


def _judge(rows: list[dict[str, Any]], routed: Array, routes: Routes, config: PetConfig) -> Table:
    """Expected false candidates, q and verdict of every row, in order, from what each route says of it (n, 3)."""
    judged = np.isfinite(routed[:, 2])
    expected = np.full(len(rows), np.nan)
    expected[judged] = routes.expect_any(*routed[judged].T)
    q = np.full(len(rows), np.nan)
    q[judged] = q_values(expected[judged])
    accepted = judged & (q <= config.q) & (expected <= config.max_expected_false)
    for index, row in enumerate(rows):
        kept = [name for name in str(row["reasons"]).split(";") if name and name not in _OWN_REASONS]
        if judged[index]:
            kept = [] if accepted[index] else [flag_names(int(Flag.NOT_SIGNIFICANT))]
        row |= {
            "expected_false": expected[index],
            "q_value": q[index],
            "status": "accepted" if accepted[index] else "rejected",
            "reasons": ";".join(kept),
        }
    n_places = sum(side.n_places for side in routes.sides)
    for index, row in enumerate(rows):
        row["p_value"] = min(expected[index] / n_places, 1.0)
        row["score"] = float(norm.isf(row["p_value"]))
    order = np.argsort(np.where(judged, expected, np.inf), kind="stable")
    return Table.from_rows(JOINT_CLUSTERS, [rows[index] for index in order])


def name_findings(
    table: Table, moment_per_cell_am2: float = math.nan, activity_per_cell_bq: float = math.nan
) -> NDArray[np.str_]:
    """What each accepted row (schema JOINT_CLUSTERS) is, "" for the others.

    With the moment and the activity of a cell what one modality sees says what the other should: where that is less
    than what the other could have missed, nothing is decided; nor where the other did not see the place.
    """
    names = []
    bq_per_am2 = activity_per_cell_bq / moment_per_cell_am2
    for row in range(len(table)):
        if table["status"][row] != "accepted":
            names.append("")
            continue
        p_values = [table[f"p_value_{one}"][row] for one in ("mri", "pet")]
        iron, active = (p <= _LEVEL for p in p_values)
        if iron and not active:
            missed = table["moment_am2"][row] * bq_per_am2 < table["upper_limit_bq"][row]
        else:
            missed = table["activity_bq"][row] / bq_per_am2 < table["upper_limit_moment_am2"][row]
        if iron and active:
            names.append("both")
        elif missed or iron == active or not np.isfinite(p_values).all():
            names.append("undecided")
        else:
            names.append("iron_without_activity" if iron else "activity_without_iron")
    return np.array(names, dtype=np.str_)
