"""Tracks are the likeliest of all explanations, probabilities their shares, and both right on average."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ferrosight.link import link, link_detections
from ferrosight.numerics import packing_odds
from ferrosight.types import Detections, LinkKind, TrackSet
from ferrosight.types.config import LinkConfig

from .draws import AM2, build_detections, draw_from_model
from .reference import Event, list_events, list_explanations, weigh_explanation

CONFIG = LinkConfig(
    motion_mm=0.25,
    separation_mm=0.6,
    mass_loss_per_day=0.03,
    new_per_day=0.05,
    gone_per_day=0.04,
    split_per_day=0.03,
    merge_per_day=0.1,
    max_gap_visits=1,
    least_probability=1e-4,
)


@st.composite
def few_clusters(draw: st.DrawFn) -> Detections:
    n = draw(st.integers(2, 5))
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    visit = np.sort(rng.integers(0, draw(st.sampled_from([2, 3, 4])), n))
    turn = np.linalg.qr(rng.normal(size=(n, 3, 3)))[0]
    spread = rng.uniform(0.03, 0.25, (n, 3)) ** 2
    n_visits = int(visit.max()) + 1
    return build_detections(
        visit,
        rng.normal(0, 0.5, (n, 3)),
        moment=AM2 * np.exp(rng.normal(1, 0.5, n)),
        relative_err=rng.uniform(0.05, 0.4, n),
        covariance=np.einsum("nij,nj,nkj->nik", turn, spread, turn),
        chance=rng.uniform(0.2, 0.97, (n, n_visits)),
        false_per_mm3=0.001,
        volume=200.0,
    )


def tell_events(found: TrackSet) -> set[Event]:
    """The chosen explanation as the reference writes it."""
    events: set[Event] = {("false", (i,), (i,)) for i in np.flatnonzero(found.track < 0).tolist()}
    links, names = found.links, {LinkKind.CONTINUE: "continue", LinkKind.SPLIT: "split", LinkKind.MERGE: "merge"}
    for k in np.flatnonzero(links.chosen):
        i, j, kind = int(links.source[k]), int(links.target[k]), LinkKind(links.kind[k])
        same = links.chosen & (links.kind == kind)
        after = links.source[same & (links.target == j)] if kind == LinkKind.MERGE else [i]
        before = links.target[same & (links.source == i)] if kind == LinkKind.SPLIT else [j]
        events.add((names[kind], tuple(sorted(map(int, after))), tuple(sorted(map(int, before)))))
    return events


@pytest.mark.parametrize("use_mass", [True, False])
@settings(max_examples=25, deadline=None)
@given(data=few_clusters())
def test_no_other_explanation_is_likelier_and_probabilities_are_shares(data, use_mass):
    config = dataclasses.replace(CONFIG, use_mass=use_mass, gate_sd=100.0)
    explanations = list(list_explanations(list_events(data, config)))
    weights = np.array([weigh_explanation(data, config, some) for some in explanations])
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(link, "LEAST_LOG_ODDS", -60.0)
        patch.setattr(packing_odds, "_LEAST_STATE", -60.0)
        found = link_detections(data, config)
    best = explanations[int(weights.argmax())]
    assert tell_events(found) == set(best)
    alone = weigh_explanation(data, config, ())
    assert found.optimality.log_odds == pytest.approx(weights.max() - alone, abs=1e-6)
    assert found.optimality.gap < 1e-9
    share = np.exp(weights - weights.max()) / np.exp(weights - weights.max()).sum()
    linked = {}
    for some, value in zip(explanations, share, strict=True):
        for kind, after, before in some:
            for pair in ((i, j) for i in after for j in before if kind != "false"):
                linked[pair] = linked.get(pair, 0.0) + value
    pairs = zip(found.links.source.tolist(), found.links.target.tolist(), strict=True)
    got = dict(zip(pairs, found.links.probability.tolist(), strict=True))
    for pair, value in linked.items():
        assert got.get(pair, 0.0) == pytest.approx(value, abs=2e-4)
    for i in range(len(data)):
        false = sum(v for some, v in zip(explanations, share, strict=True) if ("false", (i,), (i,)) in some)
        free = sum(v for some, v in zip(explanations, share, strict=True) if all(i not in e[2] for e in some))
        ends = sum(v for some, v in zip(explanations, share, strict=True) if all(i not in e[1] for e in some))
        assert found.false_probability[i] == pytest.approx(false, abs=1e-6)
        assert found.new_probability[i] == pytest.approx(free, abs=1e-6)
        assert found.end_probability[i] == pytest.approx(ends, abs=1e-6)


def test_what_is_left_out_as_hopeless_changes_little():
    rng = np.random.default_rng(2)
    data, _, _ = draw_from_model(CONFIG, 30, 12.0, np.array([0.0, 2, 5, 7]), 0.1, rng)
    usual = link_detections(data, CONFIG)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(link, "LEAST_LOG_ODDS", -7.0)
        patch.setattr(packing_odds, "_MOST_STATES", 20_000)
        patch.setattr(packing_odds, "_MOST_SETS", 10_000)
        thorough = link_detections(data, CONFIG)
    assert thorough.optimality.n_nearly == 0
    assert usual.track.tolist() == thorough.track.tolist()
    assert np.abs(usual.new_probability - thorough.new_probability).max() < 0.02


def test_of_links_said_to_be_likely_so_many_are_right():
    """Drawn from the model, at a density where most links are in doubt."""
    rng = np.random.default_rng(11)
    config = dataclasses.replace(CONFIG, merge_per_day=1e-6, mass_loss_per_day=0.0, least_probability=0.01)
    said, right, false_said, false_is = [], [], [], []
    for _ in range(6):
        data, truth, is_false = draw_from_model(config, 60, 8.0, np.array([0.0, 2, 5, 7, 10]), 0.15, rng)
        found = link_detections(data, config)
        pairs = zip(found.links.source.tolist(), found.links.target.tolist(), strict=True)
        right += [pair in truth for pair in pairs]
        said += found.links.probability.tolist()
        false_said += found.false_probability.tolist()
        false_is += is_false.tolist()
    said, right = np.array(said), np.array(right)
    for low, high in ((0.01, 0.1), (0.1, 0.3), (0.3, 0.7), (0.7, 0.9), (0.9, 1.0)):
        own = (said >= low) & (said < high)
        expected, spread = said[own].sum(), np.sqrt((said * (1 - said))[own].sum())
        assert own.sum() > 30
        # neighbouring links depend on each other: twice what independent ones would spread
        assert abs(right[own].sum() - expected) < 2 * 3 * spread + 0.03 * own.sum()
    false_said, false_is = np.array(false_said), np.array(false_is)
    spread = np.sqrt((false_said * (1 - false_said)).sum())
    assert abs(false_is.sum() - false_said.sum()) < 6 * spread


def test_many_clusters_at_once_are_linked_as_few_are(monkeypatch):
    rng = np.random.default_rng(4)
    data, _, _ = draw_from_model(CONFIG, 80, 8.0, np.array([0.0, 2, 5, 7]), 0.1, rng)
    at_once = link_detections(data, CONFIG)
    monkeypatch.setattr(link, "_ALL_AT_ONCE", 0)
    by_price = link_detections(data, CONFIG)
    assert by_price.optimality.log_odds == pytest.approx(at_once.optimality.log_odds, rel=1e-5)
    assert by_price.optimality.gap < 1e-4
    assert np.mean(by_price.track == at_once.track) > 0.99


def draw_scene(seed: int) -> Detections:
    return draw_from_model(CONFIG, 25, 8.0, np.array([0.0, 2, 5, 7]), 0.2, np.random.default_rng(seed))[0]


def test_turning_and_shifting_the_subject_changes_nothing():
    data = draw_scene(1)
    turn = np.linalg.qr(np.random.default_rng(0).normal(size=(3, 3)))[0]
    moved = dataclasses.replace(
        data,
        position_mm=data.position_mm @ turn.T + [3, -4, 5],
        covariance_mm2=turn @ data.covariance_mm2 @ turn.T,
    )
    one, other = link_detections(data, CONFIG), link_detections(moved, CONFIG)
    assert one.track.tolist() == other.track.tolist()
    # which of the hopeless are left out may hang on rounding
    assert other.false_probability == pytest.approx(one.false_probability, abs=1e-3)


def test_the_order_of_rows_changes_nothing():
    data = draw_scene(2)
    order = np.random.default_rng(1).permutation(len(data))
    rows = {
        field.name: getattr(data, field.name)[order]
        for field in dataclasses.fields(data)
        if field.name not in ("sessions", "days", "volume_mm3")
    }
    one, other = link_detections(data, CONFIG), link_detections(dataclasses.replace(data, **rows), CONFIG)
    names = [one.track_ids[t] if t >= 0 else "" for t in one.track[order]]
    assert names == [other.track_ids[t] if t >= 0 else "" for t in other.track]
    assert other.new_probability == pytest.approx(one.new_probability[order], abs=1e-3)


def test_links_by_position_alone_do_not_read_the_moments():
    data, config = draw_scene(3), dataclasses.replace(CONFIG, use_mass=False)
    other = np.exp(np.random.default_rng(3).normal(0, 3, len(data)))
    changed = dataclasses.replace(data, moment_am2=AM2 * other, moment_am2_err=AM2 * other * 0.3)
    one, two = link_detections(data, config), link_detections(changed, config)
    for name in ("source", "target", "kind", "probability", "event_probability", "chosen"):
        assert np.array_equal(getattr(one.links, name), getattr(two.links, name))
    assert np.array_equal(one.track, two.track)


def test_a_miss_costs_little_where_nothing_is_seen():
    """The same gap, in a corner that sees little and in one that sees all: one cluster, or two."""

    def link_across(chance: float) -> TrackSet:
        data = build_detections(
            np.array([0, 2]), np.array([[0.0, 0, 0], [2.0, 0, 0]]), days=np.arange(3) * 2.0, chance=[0.9, chance, 0.9]
        )
        return link_detections(data, dataclasses.replace(CONFIG, motion_mm=0.2))

    corner, clear = link_across(0.05), link_across(0.999)
    assert corner.links.probability[0] > 0.9
    assert clear.links.probability.max(initial=0.0) < 0.5
    assert len(corner.track_ids) == 1
    assert len(clear.track_ids) == 2


def test_a_split_and_a_merge_end_tracks_and_begin_new_ones():
    place = np.array([[0.0, 0, 0], [0.3, 0, 0], [-0.3, 0, 0], [0.3, 0.1, 0], [-0.3, 0, 0.1], [0.0, 0, 0]])
    moment = AM2 * np.array([10.0, 5, 5, 5, 5, 10])
    data = build_detections(np.array([0, 1, 1, 2, 2, 3]), place, moment=moment, relative_err=0.03)
    found = link_detections(data, CONFIG)
    ids = data.cluster_ids
    assert found.track.tolist() == [0, 1, 2, 1, 2, 3]
    assert found.track_ids.tolist() == [ids[0], ids[1], ids[2], ids[5]]
    assert found.parents == ((), (ids[0],), (ids[0],), tuple(sorted((ids[1], ids[2]))))
    kinds = found.links.kind[found.links.chosen].tolist()
    assert sorted(kinds) == [LinkKind.CONTINUE] * 2 + [LinkKind.SPLIT] * 2 + [LinkKind.MERGE] * 2


def test_masses_that_do_not_add_up_speak_against_a_split():
    place = np.array([[0.0, 0, 0], [0.3, 0, 0], [-0.3, 0, 0]])
    chance = []
    for moment in ([10.0, 5, 5], [10.0, 10, 10]):
        data = build_detections(np.array([0, 1, 1]), place, moment=AM2 * np.array(moment), relative_err=0.03)
        links = link_detections(data, CONFIG).links
        chance.append(links.event_probability[links.kind == LinkKind.SPLIT].max(initial=0.0))
    odds = np.divide(chance, np.subtract(1, chance))
    assert chance[0] > 0.9
    assert odds[1] < odds[0] / 100


def test_rivals_for_one_cluster_are_kept_with_their_chances():
    place = np.array([[0.0, 0, 0], [0.4, 0, 0], [0.2, 0.01, 0]])
    data = build_detections(np.array([0, 0, 1]), place)
    links = link_detections(data, dataclasses.replace(CONFIG, merge_per_day=1e-6)).links
    assert links.source.tolist() == [0, 1]
    assert links.probability == pytest.approx([0.5, 0.5], abs=0.02)
    assert links.chosen.sum() == 1


@pytest.mark.parametrize("n", [0, 1])
def test_nothing_to_link(n):
    data = build_detections(np.zeros(n, dtype=int), np.zeros((n, 3)), days=np.array([0.0, 3.0]))
    found = link_detections(data, CONFIG)
    assert found.track.tolist() == [0] * n
    assert len(found.links) == 0
    assert len(found.track_ids) == n
