"""Classes of mass: round numbers lie inside them, and every known mass in one."""

from __future__ import annotations

import numpy as np

from ferrosight.evaluate.masses import choose_mass, split_by_mass, true_mass
from ferrosight.types import KnownVisit


def test_every_known_mass_is_in_one_class_and_round_ones_are_not_on_edges():
    mass = np.array([0.3, 0.5, 1.0, 0.9999999, 1.0000001, 2.0, 10.0, 123.0, np.nan])
    classes = list(split_by_mass(mass))
    members = np.array([of for _, _, of in classes])
    np.testing.assert_array_equal(members.sum(axis=0), np.isfinite(mass))
    for low, high, of in classes:
        assert ((mass[of] > 1.01 * low) & (mass[of] < high / 1.01)).all()
        assert np.isclose(high / low, 10 ** (1 / 3))
    assert any(set(np.flatnonzero(of)) == {2, 3, 4} for _, _, of in classes)


def test_the_mass_is_iron_unless_more_bodies_have_a_moment(make_clusters, make_truth):
    kinds = ["labelled", "labelled", "vein"]
    places = [(0, 0, 0), (1, 1, 1), (2, 2, 2)]
    nan = float("nan")

    def choose(iron, moment):
        return choose_mass([KnownVisit("a", make_clusters([]), make_truth(places, kind=kinds, **iron, **moment))])

    assert choose({"iron_pg": [1.0, 2.0, nan]}, {"moment_am2": [1e-13, 2e-13, 1e-11]}) == "iron_pg"
    assert choose({"iron_pg": [1.0, nan, nan]}, {"moment_am2": [1e-13, 2e-13, 1e-11]}) == "moment_am2"
    assert choose({"iron_pg": [1.0, 2.0, nan]}, {}) == "iron_pg"
    assert choose({}, {"moment_am2": [1e-13, nan, nan]}) == "moment_am2"


def test_only_labelled_bodies_with_a_positive_number_have_a_mass(make_truth):
    kinds = ["labelled", "labelled", "labelled", "vein"]
    truth = make_truth([(i, 0, 0) for i in range(4)], kind=kinds, iron_pg=[2.0, 0.0, float("nan"), 5.0])
    np.testing.assert_array_equal(true_mass(truth, "iron_pg"), [2.0, np.nan, np.nan, np.nan])
