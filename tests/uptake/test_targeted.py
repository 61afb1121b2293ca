"""A targeted label's load is a product of what was measured, and what is not on target counts no cells."""

from __future__ import annotations

import numpy as np
import pytest

from ferrosight.errors import InputError
from ferrosight.uptake.predict import load_on_day
from ferrosight.uptake.targeted import Spread, TargetedLabel, predict_targeted

LABEL = TargetedLabel(Spread(2e5, 0.3), Spread(0.5, 0.2), Spread(1e-5, 0.1))


def draw_factor(spread: Spread, n: int, rng: np.random.Generator) -> np.ndarray:
    s = np.sqrt(spread.log_variance)
    return spread.mean * np.exp(rng.normal(-(s**2) / 2, s, n))


def test_the_load_is_the_product_of_its_factors():
    table = predict_targeted(LABEL, [0, 2]).table
    assert table["iron_per_cell_pg"].tolist() == pytest.approx([1.0, 1.0])
    assert load_on_day(predict_targeted(LABEL, [0, 2]), 1).mean_pg == pytest.approx(1.0)


def test_mean_and_interval_are_those_of_drawn_factors():
    label = TargetedLabel(
        LABEL.receptors_per_cell, LABEL.particles_per_receptor, LABEL.iron_per_particle_pg, 0.6, 0.12, 0.1
    )
    rng, n = np.random.default_rng(4), 400_000
    drawn = np.ones(n)
    for factor in (label.receptors_per_cell, label.particles_per_receptor, label.iron_per_particle_pg):
        drawn = drawn * draw_factor(factor, n, rng)
    drawn = drawn / draw_factor(Spread(0.6, 0.2), n, rng) * np.exp(-0.1 * 3)
    table = predict_targeted(label, [3]).table
    assert table["iron_per_cell_pg"][0] == pytest.approx(drawn.mean(), rel=0.01)
    assert table["batch_rel_sd"][0] == pytest.approx(drawn.std() / drawn.mean(), rel=0.02)
    ends = [table[f"iron_per_cell_pg_{end}"][0] for end in ("low", "high")]
    assert ends == pytest.approx(np.quantile(drawn, [0.025, 0.975]).tolist(), rel=0.02)


def test_cells_are_not_counted_for_iron_in_macrophages():
    """40 % of the spot's iron in macrophages: counting with the share finds the target cells, without it too many."""
    n_target, per_cell = 500, 1.0
    iron = n_target * per_cell / 0.6
    with_share = TargetedLabel(Spread(1e5), Spread(1.0), Spread(1e-5), specific_share=0.6)
    assert iron / load_on_day(predict_targeted(with_share, [0]), 0).mean_pg == pytest.approx(n_target)
    without = TargetedLabel(Spread(1e5), Spread(1.0), Spread(1e-5))
    assert iron / load_on_day(predict_targeted(without, [0]), 0).mean_pg > 1.6 * n_target
    assert any("macrophages" in note for note in predict_targeted(without, [0]).notes)


@pytest.mark.parametrize(
    "wrong",
    [
        {"specific_share": 0.0}, {"specific_share": 1.2}, {"specific_share": 0.5, "specific_share_sd": 0.6},
        {"loss_per_day": -1.0}, {"cell_cv": -1.0},
    ],
)  # fmt: skip
def test_impossible_labels_are_refused(wrong):
    with pytest.raises(InputError):
        TargetedLabel(Spread(1.0), Spread(1.0), Spread(1.0), **wrong)


def test_impossible_numbers_and_days_are_refused():
    for mean, rel_sd in ((0.0, 0.1), (-1.0, 0.1), (1.0, -0.1), (np.inf, 0.0)):
        with pytest.raises(InputError):
            Spread(mean, rel_sd)
    with pytest.raises(InputError, match="imaging days"):
        predict_targeted(LABEL, [])
