"""Slow reference: every explanation of a few clusters, its density written out from the model with scipy."""

from __future__ import annotations

import itertools
from collections.abc import Iterator

import numpy as np
from scipy import stats

from ferrosight.types import Detections
from ferrosight.types.config import LinkConfig

Event = tuple[str, tuple[int, ...], tuple[int, ...]]


def list_events(data: Detections, config: LinkConfig) -> list[Event]:
    """(kind, clusters whose "after" is taken, clusters whose "before" is taken)."""
    n, reach = len(data), config.max_gap_visits + 1

    def follows(i: int, j: int) -> bool:
        return 0 < data.visit[j] - data.visit[i] <= reach

    events: list[Event] = [("false", (i,), (i,)) for i in range(n)]
    events += [("continue", (i,), (j,)) for i, j in itertools.permutations(range(n), 2) if follows(i, j)]
    for i in range(n):
        for j, k in itertools.combinations(range(n), 2):
            if follows(i, j) and follows(i, k):
                events.append(("split", (i,), (j, k)))
            if follows(j, i) and follows(k, i):
                events.append(("merge", (j, k), (i,)))
    return events


def list_explanations(events: list[Event]) -> Iterator[tuple[Event, ...]]:
    """All sets of events in which no cluster's "after" or "before" is taken twice."""

    def extend(start: int, after: frozenset[int], before: frozenset[int], so_far: tuple[Event, ...]):
        yield so_far
        for number in range(start, len(events)):
            _, a, b = events[number]
            if not after & set(a) and not before & set(b):
                yield from extend(number + 1, after | set(a), before | set(b), (*so_far, events[number]))

    yield from extend(0, frozenset(), frozenset(), ())


def weigh_explanation(data: Detections, config: LinkConfig, events: tuple[Event, ...]) -> float:
    """Log density of the clusters under an explanation."""
    after = {i for _, own, _ in events for i in own}
    before = {i for _, _, own in events for i in own}
    total = sum(weigh_event(data, config, event) for event in events)
    total += sum(np.log(first_seen(data, config, i)) + mark(data, config, i) for i in set(range(len(data))) - before)
    return float(total + sum(np.log(not_seen_again(data, config, i)) for i in set(range(len(data))) - after))


def mark(data: Detections, config: LinkConfig, i: int) -> float:
    logs = np.log(data.moment_am2)
    return float(stats.norm.logpdf(logs[i], logs.mean(), max(logs.std(), 1.0))) if config.use_mass else 0.0


def first_seen(data: Detections, config: LinkConfig, i: int) -> float:
    """Density of clusters that came at any visit until now, stayed, and were missed until now."""
    density = len(data) / data.volume_mm3 / len(data.days)
    chance, now, total = data.detection_probability[i], int(data.visit[i]), 0.0
    for came in range(now + 1):
        new = density if came == 0 else config.new_per_day * density * (data.days[came] - data.days[came - 1])
        stay = np.exp(-config.gone_per_day * (data.days[now] - data.days[came]))
        total += new * stay * np.prod(1 - chance[came:now])
    return float(total * chance[now])


def not_seen_again(data: Detections, config: LinkConfig, i: int) -> float:
    """Chance to go before any later visit, having been missed until then, or to be missed at all of them."""
    chance, now, last = data.detection_probability[i], int(data.visit[i]), len(data.days) - 1
    total = 0.0
    for gone in range(now + 1, last + 2):
        stay = np.exp(-config.gone_per_day * (data.days[min(gone, last + 1) - 1] - data.days[now]))
        go = 1.0 if gone == last + 1 else -np.expm1(-config.gone_per_day * (data.days[gone] - data.days[gone - 1]))
        total += stay * go * np.prod(1 - chance[now + 1 : gone])
    return float(total)


def weigh_event(data: Detections, config: LinkConfig, event: Event) -> float:
    kind, after, before = event
    if kind == "false":
        return float(np.log(data.false_per_mm3[after[0]]) + mark(data, config, after[0]))
    chance, visit = data.detection_probability, data.visit
    seen = sum(np.log(chance[j, visit[j]]) for j in before)
    days = data.days[visit]
    if kind == "continue":
        (i,), (j,) = after, before
        step, between = days[j] - days[i], slice(visit[i] + 1, visit[j])
        missed = 0.5 * (np.log(1 - chance[i, between]).sum() + np.log(1 - chance[j, between]).sum())
        scale = data.covariance_mm2[i] + data.covariance_mm2[j] + config.motion_mm**2 * step * np.eye(3)
        place = t_logpdf(data.position_mm[j] - data.position_mm[i], scale, config)
        stays = -(config.gone_per_day + config.split_per_day) * step
        return float(seen + missed + stays + place + mass_change(data, config, [i], [j]))
    return float(seen + weigh_branch(data, config, after, before))


def weigh_branch(data: Detections, config: LinkConfig, after: tuple[int, ...], before: tuple[int, ...]) -> float:
    merging = len(after) == 2
    (one,), parts = (before, after) if merging else (after, before)
    days, visit, chance = data.days[data.visit], data.visit, data.detection_probability
    near, far = sorted(parts, key=lambda i: abs(days[i] - days[one]))
    step, longer = abs(days[near] - days[one]), abs(days[far] - days[one])
    if merging:
        missed = np.log(1 - chance[one, visit[near] + 1 : visit[one]]).sum()
        missed += np.log(1 - chance[far, visit[far] + 1 : visit[near] + 1]).sum()
        stays, rate = step + longer, config.merge_per_day
    else:
        missed = np.log(1 - chance[one, visit[one] + 1 : visit[near]]).sum()
        missed += np.log(1 - chance[far, visit[near] : visit[far]]).sum()
        stays, rate = longer, config.split_per_day
    total = missed - config.gone_per_day * stays + np.log(1 - np.exp(-rate * step))
    total += mass_change(data, config, list(after), list(before))
    share = 0.5
    if config.use_mass:
        masses = back_to(data, config, parts, step, one, merging)
        share = masses[0] / masses.sum()
    # the whole's error, its motion, and each part's error and own motion since: independent, mapped to both residuals
    blocks = [data.covariance_mm2[one], config.motion_mm**2 * step * np.eye(3)]
    for i in parts:
        extra = config.motion_mm**2 * (abs(days[i] - days[one]) - step)
        blocks.append(data.covariance_mm2[i] + extra * np.eye(3))
    blocks.append(config.separation_mm**2 * np.eye(3))
    blocks.append((0.0 if config.use_mass else config.separation_mm**2 / 12) * np.eye(3))
    eye, none = np.eye(3), np.zeros((3, 3))
    to_middle = np.hstack([eye, eye, share * eye, (1 - share) * eye, none, eye])
    to_apart = np.hstack([none, none, eye, -eye, eye, none])
    full = np.zeros((18, 18))
    for k, block in enumerate(blocks):
        full[3 * k : 3 * k + 3, 3 * k : 3 * k + 3] = block
    apart = data.position_mm[parts[0]] - data.position_mm[parts[1]]
    middle = share * data.position_mm[parts[0]] + (1 - share) * data.position_mm[parts[1]] - data.position_mm[one]
    if merging:
        cov_apart = to_apart @ full @ to_apart.T
        kernel = t_logpdf(apart, cov_apart, config) - t_logpdf(np.zeros(3), cov_apart, config)
        return float(total + t_logpdf(middle, to_middle @ full @ to_middle.T, config) + kernel)
    both = np.vstack([to_middle, to_apart])
    return float(total + np.log(2) + t_logpdf(np.concatenate([middle, apart]), both @ full @ both.T, config))


def back_to(
    data: Detections, config: LinkConfig, parts: tuple[int, ...], step: float, one: int, merging: bool
) -> np.ndarray:
    """Masses of the parts at the time of the one nearer to the whole."""
    days = data.days[data.visit]
    extra = np.array([abs(days[i] - days[one]) - step for i in parts])
    return data.moment_am2[list(parts)] * np.exp((-1 if merging else 1) * config.mass_loss_per_day * extra)


def mass_change(data: Detections, config: LinkConfig, sources: list[int], targets: list[int]) -> float:
    if not config.use_mass:
        return 0.0
    days, variance = data.days[data.visit], (data.moment_am2_err / data.moment_am2) ** 2
    merging = len(sources) == 2
    whole, parts = (targets[0], sources) if merging else (sources[0], targets)
    steps = np.array([abs(days[i] - days[whole]) for i in parts])
    masses = back_to(data, config, tuple(parts), steps.min(), whole, merging)
    shares = masses / masses.sum()
    ratio = np.log(masses.sum() / data.moment_am2[whole]) * (-1 if merging else 1)
    spread = config.mass_change**2 * (steps - steps.min()) + variance[parts]
    scale2 = config.mass_change**2 * steps.min() + variance[whole] + (shares**2 * spread).sum()
    value = stats.t.logpdf(ratio + config.mass_loss_per_day * steps.min(), config.tail_dof, scale=np.sqrt(scale2))
    return float(value + (np.log(np.prod(shares)) if len(targets) == 2 else 0.0))


def t_logpdf(residual: np.ndarray, scale: np.ndarray, config: LinkConfig) -> float:
    return float(stats.multivariate_t.logpdf(residual, np.zeros(len(residual)), scale, df=config.tail_dof))
