"""What a cluster alone is worth, against clusters that come, stay and are seen by lot."""

from __future__ import annotations

import numpy as np
import pytest

from ferrosight.link.model import gather_clusters, weigh_alone
from ferrosight.types.config import LinkConfig

from .draws import AM2, build_detections

DAYS = np.array([0.0, 2.0, 5.0, 6.0])
CHANCE = np.array([0.3, 0.8, 0.4, 0.6])
CONFIG = LinkConfig(new_per_day=0.1, gone_per_day=0.08, use_mass=False)


def weigh_every_visit():
    return weigh_alone(build_detections(np.arange(4), np.zeros((4, 3)), days=DAYS, chance=CHANCE), CONFIG)


def test_first_and_last_sightings_are_as_frequent_as_drawn():
    rng = np.random.default_rng(6)
    n = 400_000
    density = 4 / (4 * 1000.0)
    came = np.concatenate(
        [np.full(n, 0)]
        + [np.full(rng.poisson(n * CONFIG.new_per_day * (DAYS[t] - DAYS[t - 1])), t) for t in range(1, 4)]
    )
    leaves = DAYS[came] + rng.exponential(1 / CONFIG.gone_per_day, len(came))
    there = (came[:, None] <= np.arange(4)) & (leaves[:, None] > DAYS)
    seen = there & (rng.random((len(came), 4)) < CHANCE)
    any_seen = seen.any(axis=1)
    first = np.bincount(seen.argmax(axis=1)[any_seen], minlength=4)
    alone = weigh_every_visit()
    expected = np.exp(alone.new) / density * n
    assert np.abs(first - expected).max() < 5 * np.sqrt(expected.max())
    for t in range(4):
        last = ~seen[seen[:, t], t + 1 :].any(axis=1)
        assert last.mean() == pytest.approx(np.exp(alone.end[t]), abs=5 * 0.5 / np.sqrt(len(last)))


def test_new_clusters_are_expected_where_earlier_visits_saw_little():
    data = build_detections(
        np.array([3, 3]), np.eye(3)[:2], days=DAYS, chance=np.array([[0.9] * 4, [0.01] * 3 + [0.9]])
    )
    alone = weigh_alone(data, CONFIG)
    assert alone.new[1] > alone.new[0] + 0.5


def test_masses_weigh_the_false_and_the_new_alike():
    data = build_detections(np.array([0, 1]), np.zeros((2, 3)), moment=AM2 * np.array([2.0, 40.0]))
    with_mass, without = (weigh_alone(data, LinkConfig(use_mass=use)) for use in (True, False))
    assert with_mass.new - without.new == pytest.approx(with_mass.false - without.false)
    assert with_mass.end.tolist() == without.end.tolist()


def test_a_false_candidate_is_never_ruled_out():
    data = build_detections(np.array([0]), np.zeros((1, 3)), false_per_mm3=0.0)
    assert np.isfinite(weigh_alone(data, CONFIG).false).all()


def test_unseen_visits_add_up():
    data = build_detections(np.arange(4), np.zeros((4, 3)), days=DAYS, chance=CHANCE)
    unseen = gather_clusters(data).unseen
    assert unseen[0, 3] - unseen[0, 1] == pytest.approx(np.log(0.2 * 0.6))
