"""Clusters live as their course says: laws of death and growth, over many draws and against the slow obvious way."""

from __future__ import annotations

import math

import numpy as np
import pytest

from ferrosight.errors import InputError
from ferrosight.simulate.anatomy import Content, draw_placed
from ferrosight.simulate.courses import DOSE_SD, Course, draw_course, draw_dose, draw_wandering

CONTENT = Content(iron_per_cell_pg=2.0, cell_radius_um=7.0, ms_am2_per_kg_fe=93.6)


def place(n: int, day: float, course: Course, seed: int = 1, dose: float = 1.0):
    return draw_placed((0.1, 0.2, 0.3), n, (40.0, 40.0, 40.0), CONTENT, np.random.default_rng(seed), day, course, dose)


def test_half_of_the_cells_are_dead_after_a_half_life_and_the_living_gave_off_iron():
    course = Course(half_life_days=10.0, exocytosis_per_day=0.02)
    before, after = place(20_000, 0.0, course), place(20_000, 10.0, course)
    assert before is not None
    assert after is not None
    assert after.n_cells == pytest.approx(10_000, abs=4 * math.sqrt(5_000))
    # day by day, a hundredth of a day at a time
    kept = (1 - 0.02 / 100) ** 1000
    assert after.iron_pg / after.n_cells == pytest.approx(2.0 * kept, rel=0.02)
    assert after.moments_am2.sum() == pytest.approx(93.6e-15 * after.iron_pg)
    assert course.share_living(10.0) == pytest.approx(0.5)
    assert place(3, 10_000.0, course) is None


def test_growth_is_gompertz_s_as_stepped_hour_by_hour():
    course = Course(doubling_days=6.0, grows_times=20.0)
    n, capacity = 1000.0, 20_000.0
    slowing = math.log(2) / 6.0 / math.log(20.0)
    for _ in range(35 * 240):
        n += slowing * n * math.log(capacity / n) / 240
    assert course.count_cells(1000, 35.0) == pytest.approx(n, rel=2e-3)
    assert course.count_cells(1000, 0.0) == 1000
    assert course.count_cells(1000, 2000.0) == pytest.approx(20_000, abs=1)
    assert course.count_most(1000) == 20_000
    assert Course().count_cells(7, 50.0) == Course().count_most(7) == 7


def test_cells_of_a_growing_cluster_keep_place_and_load_and_more_lie_farther_out():
    course = Course(doubling_days=7.0)
    small, large = place(4, 0.0, course), place(4, 28.0, course, dose=1.1)
    assert small is not None
    assert large is not None
    assert len(small.moments_am2) == 4 < len(large.moments_am2) == large.n_cells
    np.testing.assert_allclose(large.moments_am2[:4], 1.1 * small.moments_am2)
    centre = np.array([0.1, 0.2, 0.3])
    scale = np.cbrt(large.n_cells / 4)
    np.testing.assert_allclose(large.positions_mm[:4] - centre, scale * (small.positions_mm - centre), rtol=1e-9)
    assert np.linalg.norm(large.positions_mm - centre, axis=1).max() < 0.04 * scale
    from_one = place(1, 28.0, course)
    assert from_one is not None
    assert np.ptp(from_one.positions_mm, axis=0).min() > 0


def test_a_cluster_that_appears_is_not_there_before_its_day():
    course = Course(doubling_days=7.0, first_day=10.0)
    assert place(5, 9.9, course) is None
    at, later = place(5, 10.0, course), place(5, 17.0, course)
    assert at is not None
    assert later is not None
    assert at.n_cells == 5
    assert later.n_cells == pytest.approx(Course(doubling_days=7.0).count_cells(5, 7.0))


def test_studies_are_made_of_the_courses_they_are_named_after():
    drawn = {
        name: [draw_course(name, np.random.default_rng(seed)) for seed in range(600)]
        for name in ("mixed", "constant", "fading", "growing")
    }
    assert set(drawn["constant"]) == {Course()}
    assert all(math.isfinite(course.half_life_days) for course in drawn["fading"])
    for name in ("mixed", "growing"):
        assert np.mean([course == Course() for course in drawn[name]]) == pytest.approx(1 / 3, abs=0.06)
    grow = [course for course in drawn["growing"] if course != Course()]
    assert all(math.isinf(course.half_life_days) and 5 <= course.doubling_days <= 14 for course in grow)
    assert np.mean([course.first_day > 0 for course in grow]) == pytest.approx(0.5, abs=0.07)


def test_a_walk_goes_on_where_it_was_and_spreads_with_the_root_of_time():
    ends = np.array([draw_wandering(16.0, 0.01, np.random.default_rng(seed)) for seed in range(1000)])
    assert np.std(ends) == pytest.approx(0.04, rel=0.05)
    week, day_more = (draw_wandering(day, 0.01, np.random.default_rng(3)) for day in (7.0, 8.0))
    assert 0 < np.abs(day_more - week).max() < 0.05
    assert not draw_wandering(0.0, 0.01, np.random.default_rng(3)).any()
    assert not draw_wandering(-7.0, 0.01, np.random.default_rng(3)).any()


def test_doses_vary_about_what_was_meant_to_arrive():
    doses = [draw_dose(np.random.SeedSequence(seed), 7.0) for seed in range(2000)]
    assert np.mean(doses) == pytest.approx(1.0, abs=4 * DOSE_SD / math.sqrt(2000))
    assert np.std(doses) == pytest.approx(DOSE_SD, rel=0.1)
    assert doses[0] == draw_dose(np.random.SeedSequence(0), 7.0) != draw_dose(np.random.SeedSequence(0), 14.0)


def test_a_course_that_makes_no_sense_is_refused():
    with pytest.raises(InputError, match="positive half-life"):
        Course(doubling_days=0.0)
    with pytest.raises(InputError, match="grow more than 1 times"):
        Course(grows_times=1.0)
