"""One list of two: the same thing once, agreement counts where neither alone would, vetoes stay, findings named."""

from __future__ import annotations

import numpy as np
from scipy.stats import norm

from ferrosight.numerics.place_evidence import STRENGTHS
from ferrosight.pet import Opinion, judge_jointly, name_findings
from ferrosight.types import CLUSTERS, FORCED, JOINT_CLUSTERS, PET_CLUSTERS, PET_FORCED, Table
from ferrosight.types.config import PetConfig

CONFIG = PetConfig()


def make_opinion(
    modality: str, places: list[float], expected: list[float], other: list[float], reasons: list[str] | None = None
) -> Opinion:
    """Candidates on the x axis, known to 0.1 mm (MRI) or 0.4 mm (PET)."""
    n, is_mri = len(places), modality == "mri"
    schema, forced = (CLUSTERS, PET_FORCED) if is_mri else (PET_CLUSTERS, FORCED)
    value = "moment_am2" if is_mri else "activity_bq"
    measured = "activity_bq" if is_mri else "moment_am2"
    clusters = Table(
        schema,
        {
            "cluster_id": np.array([f"{modality}{i}" for i in range(n)]),
            "expected_false": np.array(expected, float),
            "reasons": np.array(reasons or [""] * n),
            value: np.full(n, 5.0),
            f"{value}_err": np.full(n, 1.0),
        },
    )
    places_mm = np.zeros((n, 3))
    places_mm[:, 0] = places
    scores = np.array(other, float)
    return Opinion(
        clusters,
        places_mm,
        np.broadcast_to((0.1 if is_mri else 0.4) ** 2 * np.eye(3), (n, 3, 3)),
        1e5 if is_mri else 2e4,
        2.0 if is_mri else 60.0,
        norm.sf(scores),
        scores,
        # All of a source's signal is seen where it is looked for.
        np.tile(STRENGTHS, (n, 1)),
        Table(forced, {measured: np.full(n, 0.5), f"{measured}_err": np.full(n, 1.0)}),
    )


def test_agreement_is_accepted_where_neither_alone_would_be() -> None:
    mri = make_opinion("mri", [0.0, 9.0], [0.5, 0.5], [3.5, -0.5])
    pet = make_opinion("pet", [0.3, 5.0], [0.8, 0.8], [3.4, 0.1])
    table = judge_jointly(mri, pet, CONFIG)
    assert table["cluster_id"].tolist()[0] == "mri0"
    assert table["pet_cluster_id"].tolist()[0] == "pet0"
    assert table["status"].tolist() == ["accepted", "rejected", "rejected"]
    assert set(table["reasons"][1:].tolist()) == {"not_significant"}
    assert set(table["cluster_id"][1:].tolist()) == {"mri1", "pet1"}
    assert (np.diff(table["expected_false"]) >= 0).all()


def test_each_alone_is_enough_where_it_is_strong() -> None:
    mri = make_opinion("mri", [0.0], [1e-6], [-1.0])
    pet = make_opinion("pet", [5.0], [1e-6], [-1.0])
    table = judge_jointly(mri, pet, CONFIG)
    assert table["status"].tolist() == ["accepted"] * 2
    found = dict(zip(table["cluster_id"].tolist(), name_findings(table).tolist(), strict=True))
    assert found == {"mri0": "iron_without_activity", "pet0": "activity_without_iron"}


def test_what_mri_calls_a_vein_stays_one_and_lends_pet_nothing() -> None:
    mri = make_opinion("mri", [0.0], [1e-6], [5.0], ["vein"])
    pet = make_opinion("pet", [0.1], [0.5], [5.0])
    table = judge_jointly(mri, pet, CONFIG)
    assert table["status"].tolist() == ["rejected"] * 2
    by_id = dict(zip(table["cluster_id"].tolist(), table["reasons"].tolist(), strict=True))
    assert by_id == {"mri0": "vein", "pet0": "not_significant"}
    strong = judge_jointly(mri, make_opinion("pet", [0.1], [1e-7], [5.0]), CONFIG)
    assert dict(zip(strong["cluster_id"].tolist(), strong["status"].tolist(), strict=True)) == {
        "mri0": "rejected",
        "pet0": "accepted",
    }


def test_far_apart_is_not_the_same() -> None:
    table = judge_jointly(make_opinion("mri", [0.0], [0.1], [0.0]), make_opinion("pet", [3.0], [0.1], [0.0]), CONFIG)
    assert len(table) == 2


def test_nothing_found_is_an_empty_table() -> None:
    table = judge_jointly(make_opinion("mri", [], [], []), make_opinion("pet", [], [], []), CONFIG)
    assert len(table) == 0
    assert table.schema is JOINT_CLUSTERS
    assert name_findings(table).shape == (0,)


def test_a_modality_too_weak_to_tell_decides_nothing() -> None:
    row = {
        "status": "accepted",
        "p_value_mri": 1e-5,
        "p_value_pet": 0.6,
        "moment_am2": 1e-13,
        "activity_bq": 5.0,
        "upper_limit_bq": 100.0,
    }
    table = Table.from_rows(JOINT_CLUSTERS, [row])
    # A hundred cells: 50 Bq could have been missed, 500 Bq could not.
    assert name_findings(table, 1e-15, 0.5).tolist() == ["undecided"]
    assert name_findings(table, 1e-15, 5.0).tolist() == ["iron_without_activity"]
    assert name_findings(table.with_columns(p_value_pet=[np.nan]), 1e-15, 5.0).tolist() == ["undecided"]
    assert name_findings(table.with_columns(p_value_pet=[0.001]), 1e-15, 0.5).tolist() == ["both"]


def test_the_expected_ratio_decides_the_weights() -> None:
    """PET says nothing where it hardly sees a cell: that counts less against what MRI says."""
    mri = make_opinion("mri", [0.0], [0.05], [0.5])
    pet = make_opinion("pet", [], [], [])
    assert judge_jointly(mri, pet, CONFIG, ratio=np.array([0.3]))["score_pet"][0] == 0.5
    both = make_opinion("mri", [0.0], [0.4], [2.0])
    equal, weak = (judge_jointly(both, pet, CONFIG, ratio=ratio) for ratio in (np.array([1.0]), np.array([0.1])))
    assert equal["expected_false"][0] < weak["expected_false"][0]
