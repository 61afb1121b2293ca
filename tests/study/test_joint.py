"""What one cell should show in PET over MRI, in the standard deviations that each modality's own scores are of."""

from __future__ import annotations

import numpy as np
import pytest
from tests.pet.test_joint import make_opinion

from ferrosight.study.joint import _expect_ratio, measure_scatter


def test_a_score_is_a_value_in_its_own_standard_deviations() -> None:
    mri = make_opinion("mri", [0.0, 1.0, 2.0], [1e-3, 1.0, 1e9], [0.0, 0.0, 0.0])
    scatter = measure_scatter(mri, "moment_am2")
    np.testing.assert_allclose(scatter[:2] * mri.scores[:2], 5.0)
    # A candidate whose score is none says nothing.
    assert np.isnan(scatter[2])


def test_the_ratio_of_the_signals_follows_from_the_scores_not_from_the_fits_errors() -> None:
    mri = make_opinion("mri", [0.0, 1.0], [1e-3, 1.0], [0.0, 0.0])
    pet = make_opinion("pet", [5.0], [1e-2], [0.0])
    per_moment = 3.0
    ratio = _expect_ratio(mri, pet, per_moment)
    # All values are 5: a cell's signal is as many standard deviations as the score over 5 says.
    np.testing.assert_allclose(ratio[:2], per_moment * pet.scores[0] / mri.scores)
    typical = np.median(5.0 / mri.scores)
    assert ratio[2] == pytest.approx(per_moment * typical * pet.scores[0] / 5.0)


def test_where_one_found_nothing_the_errors_of_what_was_looked_for_stand_for_it() -> None:
    mri, nothing = make_opinion("mri", [0.0], [1e-3], [0.0]), make_opinion("pet", [], [], [])
    # The activity that was looked for has an error of 1.
    np.testing.assert_allclose(_expect_ratio(mri, nothing, 2.0), [2.0 * 5.0 / mri.scores[0]])
    assert np.isnan(_expect_ratio(mri, nothing, np.nan)).all()
