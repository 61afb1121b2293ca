"""From a subject's visits to the evidence that something grows, and the alarm."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from ferrosight.relapse.births import trace_births
from ferrosight.relapse.combine import average_lineages, pick_growing, weigh_by_birth
from ferrosight.relapse.identify import find_obstacle, find_obstacles
from ferrosight.relapse.lineage_evidence import Bets, trace_growth
from ferrosight.relapse.normalise import predict_carry_over, take_off_reference
from ferrosight.relapse.pool import Lineages, keep_rows, pool_neighbours
from ferrosight.relapse.variance import bound_sd_factor
from ferrosight.types.relapse import Measured, RelapseEvidence, StudyDesign, SubjectSeries
from ferrosight.types.schema import RELAPSE
from ferrosight.types.table import Table

#: Share of alpha that pays for a bound of the variance that is too low.
VARIANCE_SHARE = 0.2
#: Weight of new clusters beside that of growing ones, where they are evidence.
BIRTH_WEIGHT = 0.05
BETS = Bets()


def weigh_evidence(series: SubjectSeries, design: StudyDesign) -> RelapseEvidence:
    """Evidence at every visit that a cluster of this subject grows, or that clusters appear.

    The chance that it ever reaches 1/alpha, however often one looks, is at most alpha if no cluster grows and none
    appears beyond the scan's own false ones. See ``docs/relapse.md`` for what that rests on.

    Parameters
    ----------
    series
        The subject's visits in the order of their days.
    design
        What the study says of itself.

    Returns
    -------
    RelapseEvidence, with missing e-values where growth is not identifiable.
    """
    sentences = find_obstacles(series, design)
    obstacles = [find_obstacle(measured, series, design) for measured in series.measured]
    usable = [one for one, obstacle in zip(series.measured, obstacles, strict=True) if not (sentences or obstacle)]
    sentences += [obstacle for obstacle in obstacles if obstacle]
    if not series.measured:
        sentences.append("Not identifiable: nothing was measured at more than one visit.")
    if not usable:
        return _say_nothing(series, design, sentences)
    sd_factor, charge = _bound_errors(design)
    each = [_trace_quantity(measured, series.days, design, sd_factor) for measured in usable]
    lineages = [one[0] for one in each]
    e_values = np.concatenate([one[1] for one in each])
    births = np.ones(len(series.days))
    share = 0.0
    if design.hidden_clusters_max is not None:
        births = trace_births(series.new_candidates, design.false_births_per_visit_max, design.hidden_clusters_max)
        share = BIRTH_WEIGHT
    else:
        sentences.append("New clusters are no evidence here: nobody bounds how many were there before, unseen.")
    growth = np.mean([average_lineages(e_values, one.births) for one, e_values in each], axis=0)
    total = charge * ((1 - share) * growth + share * births)
    table = _tabulate(series, design, total)
    alarms = np.flatnonzero(table["alarm"])
    weighted = [charge / len(each) * weigh_by_birth(one.births)[:, None] * e_values for one, e_values in each]
    growing = pick_growing(np.concatenate(weighted), design.alpha)
    first = int(alarms[0]) if alarms.size else -1
    sentences += _describe(series, design, first, lineages, growing)
    return RelapseEvidence(
        identifiable=True,
        table=table,
        first_alarm=first,
        sentences=tuple(sentences),
        quantities=tuple(m.quantity for m, one in zip(usable, lineages, strict=True) for _ in one.members),
        members=tuple(members for one in lineages for members in one.members),
        births=np.concatenate([one.births for one in lineages]),
        e_values=e_values,
        growing=growing,
        birth_e_values=births,
    )


def _bound_errors(design: StudyDesign) -> tuple[float, float]:
    """Upper bound of true over stated standard deviations, and what is left of the evidence once its risk is paid."""
    if design.test_retest is None:
        assert design.sd_factor_max is not None
        return design.sd_factor_max, 1.0
    ratio, n_pairs = design.test_retest
    return bound_sd_factor(ratio, n_pairs, VARIANCE_SHARE * design.alpha), 1 - VARIANCE_SHARE


def _trace_quantity(
    measured: Measured, days: NDArray[np.float64], design: StudyDesign, sd_factor: float
) -> tuple[Lineages, NDArray[np.float64]]:
    """A quantity's lineages and their e-values, (n_lineages, n_visits)."""
    values, sds, factor_sd = take_off_reference(measured)
    if measured.pooled:
        lineages = keep_rows(values, sds, measured.births)
    else:
        lineages = pool_neighbours(values, sds, measured.births, measured.positions_mm, design.link_reach_mm)
    kept = (measured.carry_over_max or 0.0) if measured.before_dose is None and measured.quantity == "iron" else 0.0
    raised = predict_carry_over(lineages.births, len(days), kept)
    logs = trace_growth(
        lineages.values / raised,
        sd_factor * lineages.sds / raised,
        days,
        lineages.births,
        factor_sd,
        design.outlier_share,
        BETS,
    )
    return lineages, np.exp(logs)


def _tabulate(series: SubjectSeries, design: StudyDesign, total: NDArray[np.float64]) -> Table:
    running = np.maximum.accumulate(total)
    return Table(
        RELAPSE,
        {
            "session_id": np.array(series.session_ids),
            "day": series.days,
            "e_value": total,
            "running_e_value": running,
            "alarm": running >= 1 / design.alpha,
            "alpha": np.full(len(total), design.alpha),
        },
    )


def _describe(
    series: SubjectSeries,
    design: StudyDesign,
    first: int,
    lineages: list[Lineages],
    growing: NDArray[np.bool_],
) -> list[str]:
    """What is known and what is not, in plain words."""
    n = sum(len(one.members) for one in lineages)
    if first < 0:
        return [
            f"No alarm over {len(series.days)} visits and {n} lineages. That is no proof that nothing grows: slow "
            "growth, or growth of few cells, may not have shown yet."
        ]
    grown = int(growing[:, -1].sum())
    which = (
        f"Named as growing: {grown} of {n} lineages."
        if grown
        else "No single lineage can be named: the evidence is that of several together, or of new clusters."
    )
    return [
        f"Alarm at {series.session_ids[first]} (day {series.days[first]:g}): something that bears the label grows or "
        f"appears. If nothing did, the chance of an alarm ever would be at most {design.alpha:g}.",
        which,
        "Growth of what bears the label is not malignancy: inflammation, bleeding and treatment can do the same.",
    ]


def _say_nothing(series: SubjectSeries, design: StudyDesign, sentences: list[str]) -> RelapseEvidence:
    n = len(series.session_ids)
    columns = {
        "session_id": np.array(series.session_ids),
        "day": series.days,
        "alpha": np.full(n, design.alpha),
    }
    return RelapseEvidence(
        identifiable=False,
        table=Table(RELAPSE, columns),
        first_alarm=-1,
        sentences=tuple(sentences),
        quantities=(),
        members=(),
        births=np.zeros(0, dtype=np.int64),
        e_values=np.zeros((0, n)),
        growing=np.zeros((0, n), dtype=bool),
        birth_e_values=np.full(n, np.nan),
    )
