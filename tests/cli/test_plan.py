"""The plan of a serial study: the same numbers in the table and as JSON, a figure, a sentence for bad input."""

from __future__ import annotations

import json

import pytest

FEW = ("--simulated", 20, "--visits", 8, "--snr", 25, "--voxel-mm", "0.1,0.12,0.2")


def test_the_object_says_when_how_early_and_how_many(ferrosight, tmp_path):
    figure = tmp_path / "plan.svg"
    ended = ferrosight("plan", *FEW, "--other-doubling-days", 20, "--plot", figure, "--json")
    assert ended.code == 0, ended.err
    found = json.loads(ended.out)
    first, second = found["plans"]
    assert (first["doubling_days"], second["doubling_days"]) == (7.0, 20.0)
    assert first["days"] == [7.0 * visit for visit in range(8)]
    assert len(first["called"]) == len(first["called_low"]) == 8
    assert {lead["rule"].partition(" (")[0] for lead in first["leads"]} == {
        "first visible lesion",
        "new lesion of 10 mm",
    }
    assert found["comparison"]["group_size"] == 10
    text = figure.read_text(encoding="utf-8")
    assert "relapses called" in text
    assert "doubling in 20 days" in text


def test_the_table_says_the_same(ferrosight):
    ended = ferrosight("plan", *FEW)
    found = json.loads(ferrosight("plan", *FEW, "--json").out)["plans"][0]
    assert ended.code == 0
    assert f"{found['cells_per_noise_sd']:.3g}  " in ended.out
    assert f"{found['leads'][0]['lead_days']:.3g} d" in ended.out
    assert "Simulated:" in ended.out
    assert "(an assumption)" in ended.out


def test_the_seed_decides(ferrosight):
    one, same, other = (ferrosight("plan", *FEW, "--json", "--seed", seed).out for seed in (3, 3, 4))
    assert one == same
    assert one != other


def test_iron_of_prelabelled_cells_cannot_be_planned(ferrosight):
    said = ferrosight("plan", "--study-kind", "prelabelled").assert_refused()
    assert "cannot show growth" in said
    assert "PET" in said


@pytest.mark.parametrize(
    "options",
    [
        ("--visits", 2),
        ("--doubling-days", 0),
        ("--voxel-mm", "0.1,0.1"),
        ("--label", "nonsense"),
        ("--alpha", 2),
        ("--animals-per-group", 1),
        ("--plot", "plan.txt"),
        ("--visits", 100_000, "--doubling-days", 1e6),
        ("--doubling-days", 1e-3),
        ("--start-cells", 1e30),
    ],
)
def test_bad_input_is_one_sentence(ferrosight, options):
    ferrosight("plan", *options).assert_refused()


def test_a_negative_seed_is_wrong_usage(ferrosight):
    ended = ferrosight("plan", "--seed", -1)
    assert (ended.code, ended.out) == (2, "")
    assert "'--seed'" in ended.err
    assert "Traceback" not in ended.err
