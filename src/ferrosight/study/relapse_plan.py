"""What a serial study could show, before an animal is scanned."""

from __future__ import annotations

import dataclasses

import numpy as np
from numpy.typing import NDArray
from scipy import stats

from ferrosight.limits import find_limit
from ferrosight.relapse import weigh_evidence
from ferrosight.simulate.lineages import LineageSpec, simulate_subject, simulate_test_retest
from ferrosight.types.plan import Comparison, Plan, PlanDesign, RuleLead
from ferrosight.types.relapse import StudyDesign

PG_PER_KG = 1e15
#: What other rules see: a volume, mm³. RECIST 1.1 and RANO ask for a new lesion of 10 mm, here a sphere.
RULES_MM3 = {
    "first visible lesion (1 mm³)": 1.0,
    "new lesion of 10 mm (RECIST 1.1, RANO)": float(np.pi / 6 * 10.0**3),
}


def plan_study(design: PlanDesign, rng: np.random.Generator) -> Plan:
    """Chance of a called relapse by each visit, its lead over rules of size, and false alarms, by simulation.

    Animals are those of ``simulate.lineages`` with a relapse that starts at day 0; each is tested as a real one would
    be. Rules of size see a solid sphere of cells, without error, at the same visits.

    Raises
    ------
    InputError
        The protocol shows nothing at all.
    """
    per_cell = design.ms_am2_per_kg_fe * design.iron_per_cell_pg / PG_PER_KG
    limit = find_limit(design.protocol, design.search)
    cells_per_sd = design.noise_over_ideal * limit.moment_am2 / limit.d_prime_required / per_cell
    spec = LineageSpec(
        n_visits=design.n_visits,
        n_clusters=design.stable_clusters,
        threshold=limit.threshold,
        reference_err=design.reference_rel_err,
        carry_over=design.carry_over,
        grows_from=design.start_cells / cells_per_sd,
    )
    days = design.interval_days * np.arange(design.n_visits, dtype=np.float64)
    doubling = design.doubling_days * _draw_spread(design, rng)
    alarm = np.full(design.n_animals, np.nan)
    for animal in range(design.n_animals):
        one = dataclasses.replace(spec, doubling_visits=doubling[animal] / design.interval_days)
        first = _find_alarm(one, design, rng)
        alarm[animal] = np.nan if first < 0 else days[first]
    calm = [_find_alarm(spec, design, rng) >= 0 for _ in range(design.n_animals)]
    count = (alarm[:, None] <= days).sum(axis=0)
    low, high = _bound_share(count, design.n_animals)
    alarmed = np.isfinite(alarm)
    cells = design.start_cells * 2 ** (alarm[alarmed] / doubling[alarmed])
    return Plan(
        design=design,
        days=days,
        called=count / design.n_animals,
        called_low=low,
        called_high=high,
        alarm_days=alarm,
        cells_at_alarm=float(np.median(cells)) if cells.size else float("nan"),
        false_alarms=float(np.mean(calm)),
        leads=tuple(_find_lead(rule, volume, design, doubling, alarm) for rule, volume in RULES_MM3.items()),
        cells_per_sd=cells_per_sd,
        cells_found=limit.threshold * cells_per_sd,
    )


def compare_treatments(first: Plan, second: Plan, group_size: int) -> Comparison:
    """Whether two treatments that change the doubling time could be told apart by the time to alarm.

    Animals that never alarm rank after all that do. Sizes by Noether (J Am Stat Assoc 1987; 82:645): with p the chance
    that one of the faster group is earlier, (z₀.₉₇₅ + z₀.₈)² / (6 (p − ½)²) animals per group.
    """
    times = [np.where(np.isnan(plan.alarm_days), np.inf, plan.alarm_days) for plan in (first, second)]
    before = np.mean(times[0][:, None] < times[1]) + 0.5 * np.mean(times[0][:, None] == times[1])
    effect = abs(float(before) - 0.5)
    wanted = stats.norm.ppf(0.975) + stats.norm.ppf(0.8)
    needed = np.ceil(wanted**2 / (6 * effect**2)) if effect > 0 else np.nan
    power = stats.norm.cdf(effect * np.sqrt(6 * group_size) - stats.norm.ppf(0.975))
    return Comparison(0.5 + effect, float(needed), group_size, float(power))


def _find_alarm(spec: LineageSpec, design: PlanDesign, rng: np.random.Generator) -> int:
    """First visit with an alarm in a new animal, -1 for none."""
    series, _ = simulate_subject(spec, rng, carry_over_max=design.carry_over)
    study = StudyDesign(
        "targeted",
        alpha=design.alpha,
        test_retest=simulate_test_retest(spec, design.test_retest_pairs, rng),
    )
    return weigh_evidence(series, study).first_alarm


def _draw_spread(design: PlanDesign, rng: np.random.Generator) -> NDArray[np.float64]:
    """Each animal's doubling time over the stated one: log-normal, of median 1."""
    sd = np.sqrt(np.log1p(design.doubling_cv**2))
    return np.asarray(np.exp(sd * rng.standard_normal(design.n_animals)))


def _find_lead(
    rule: str, volume_mm3: float, design: PlanDesign, doubling: NDArray[np.float64], alarm: NDArray[np.float64]
) -> RuleLead:
    """When a volume is reached, at the next visit even if the study has ended by then, and how far ahead alarms are."""
    reached = np.maximum(np.log2(volume_mm3 * design.cells_per_mm3 / design.start_cells), 0) * doubling
    called = design.interval_days * np.ceil(reached / design.interval_days)
    # An animal that never alarms is behind by anything: the median is over all.
    lead = np.where(np.isnan(alarm), -np.inf, called - alarm)
    median, doublings = float(np.median(lead)), float(np.median(lead / doubling))
    known = np.isfinite(median)
    return RuleLead(
        rule, float(np.median(called)), median if known else float("nan"), doublings if known else float("nan")
    )


def _bound_share(count: NDArray[np.int64], n: int) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Exact 95 % interval of each share."""
    low = np.where(count == 0, 0.0, stats.beta.ppf(0.025, np.maximum(count, 1), n - count + 1))
    high = np.where(count == n, 1.0, stats.beta.ppf(0.975, count + 1, np.maximum(n - count, 1)))
    return low, high
