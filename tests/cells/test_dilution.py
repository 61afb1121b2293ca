"""Label is conserved by division, lost only by death and exocytosis, and spreads between cells as stated."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ferrosight.cells.dilution import (
    divide_cells,
    iron_left,
    keep_vesicles,
    moments_of_share,
    population_growth,
    spread_between_cells,
)
from ferrosight.cells.load import trace_load
from ferrosight.errors import InputError
from ferrosight.types.uptake import Division


def grow_colonies(vesicles, time_h, doubling_h, division, rng):
    """Every descendant's vesicles: cells pass k exponential stages between divisions, begun in steady growth."""
    stages = round(1 / division.cycle_cv**2)
    rate = np.log(2) / doubling_h / (2 ** (1 / stages) - 1)
    weights = 2.0 ** (-np.arange(stages) / stages)  # younger stages are the commoner in a growing population
    stage = rng.choice(stages, size=len(vesicles), p=weights / weights.sum())
    to_go, cells = rng.gamma(stages - stage) / rate, np.asarray(vesicles)
    done, left = [], np.full(len(cells), time_h)
    while len(cells):
        divides = to_go < left
        done.append(cells[~divides])
        left = np.tile((left - to_go)[divides], 2)
        cells = divide_cells(cells[divides], division.share, rng)
        to_go = rng.gamma(stages, size=len(cells)) / rate
    return np.concatenate(done)


@given(
    vesicles=st.lists(st.integers(0, 500), min_size=1, max_size=20),
    share=st.floats(0.5, 1.0),
    seed=st.integers(0, 2**31),
)
def test_a_division_conserves_every_vesicle_of_every_cell(vesicles, share, seed):
    before = np.array(vesicles)
    after = divide_cells(before, share, np.random.default_rng(seed))
    assert np.array_equal(after[: len(before)] + after[len(before) :], before)


@pytest.mark.parametrize("share", [0.5, 0.75, 0.95])
def test_total_label_of_a_growing_colony_is_conserved_and_its_mean_is_m0_over_2_to_the_n(share):
    rng, n_founders = np.random.default_rng(11), 400
    division = Division(endosomes=60, share=share, cycle_cv=0.5)
    cells = grow_colonies(np.full(n_founders, 60), 120.0, 30.0, division, rng)
    assert cells.sum() == 60 * n_founders
    assert len(cells) / n_founders == pytest.approx(2.0**4, rel=0.05)
    in_step = np.full(n_founders, 60)
    for n in range(1, 5):
        in_step = divide_cells(in_step, share, rng)
        assert in_step.mean() == 60 * 2.0**-n


@pytest.mark.parametrize(("share", "cycle_cv"), [(0.5, 1.0), (0.5, 0.25), (0.7, 0.25), (0.9, 0.5)])
@pytest.mark.parametrize("endosomes", [20, 200])
def test_the_spread_between_cells_is_that_of_simulated_colonies(share, cycle_cv, endosomes):
    rng = np.random.default_rng([int(100 * share), int(100 * cycle_cv), endosomes])
    division = Division(endosomes, share, cycle_cv)
    for doublings in (1.0, 2.5, 5.0):
        spreads = []
        for _ in range(5):
            cells = grow_colonies(np.full(3000, endosomes), doublings * 40.0, 40.0, division, rng)
            spreads.append(cells.std() / cells.mean())
        stated = spread_between_cells(0.0, doublings, division)
        assert stated == pytest.approx(np.mean(spreads), rel=0.03)


def test_the_spread_of_fresh_cells_stays_and_few_vesicles_add_to_it():
    assert spread_between_cells(0.5, 0.0, Division(30)) == pytest.approx(0.5)
    liquid = spread_between_cells(0.0, 3.0, Division())
    assert spread_between_cells(0.5, 3.0, Division()) ** 2 == pytest.approx(1.25 * (1 + liquid**2) - 1)
    of_30, of_300 = (spread_between_cells(0.5, 7.0, Division(n)) for n in (30, 300))
    assert of_30 > 1.5 * of_300


@given(
    doublings=st.floats(0, 12),
    share=st.floats(0.5, 1.0),
    cycle_cv=st.floats(0.1, 1),
)
def test_the_mean_never_depends_on_how_label_is_shared_and_the_spread_never_falls(doublings, share, cycle_cv):
    mean, square = moments_of_share(doublings, Division(50, share, cycle_cv))
    assert mean == pytest.approx(2.0**-doublings)
    assert square >= mean**2 * (1 - 1e-12)
    assert square <= 1 + 1e-12
    assert spread_between_cells(0.4, doublings, Division(50, share, cycle_cv)) >= 0.4 * (1 - 1e-9)


def test_exocytosis_thins_vesicles_as_simulated():
    rng = np.random.default_rng(3)
    left = keep_vesicles(np.full(100_000, 40), 0.7, rng)
    assert left.mean() == pytest.approx(12.0, rel=0.01)
    stated = spread_between_cells(0.0, 0.0, Division(40), exocytosed_share=0.7)
    assert stated == pytest.approx(left.std() / left.mean(), rel=0.01)


@given(
    doubling_h=st.floats(8, 500),
    other_h=st.floats(8, 500),
    leave=st.floats(0, 0.01),
    death=st.floats(0, 0.01),
    time_h=st.floats(0, 500),
)
def test_total_iron_does_not_depend_on_how_fast_cells_divide(doubling_h, other_h, leave, death, time_h):
    """Cells times iron per cell, each by its own law."""
    totals = []
    for doubling in (doubling_h, other_h):
        divide = np.log(2) / doubling
        start = trace_load(1.0, divide, leave, 24.0, 0.0, 24.0)
        later = trace_load(1.0, divide, leave, 24.0, time_h, 24.0)
        totals.append(population_growth(divide, death, time_h) * later / start)
    assert totals[0] == pytest.approx(totals[1], rel=1e-9)
    assert totals[0] == pytest.approx(iron_left(leave, death, time_h), rel=1e-9)


def test_exocytosis_before_its_onset_loses_nothing():
    assert iron_left(0.01, 0.0, [10.0, 48.0, 100.0], 48.0) == pytest.approx([1.0, 1.0, np.exp(-0.52)])


@pytest.mark.parametrize("wrong", [{"endosomes": 0.0}, {"share": 0.4}, {"share": 1.1}, {"cycle_cv": 0.0}])
def test_an_impossible_division_is_refused(wrong):
    with pytest.raises(InputError):
        Division(**wrong)
