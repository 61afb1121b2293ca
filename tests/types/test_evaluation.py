"""Arrays of one result have one length, and nobody changes them."""

from __future__ import annotations

import numpy as np
import pytest

from ferrosight.errors import InputError
from ferrosight.types import Matching
from ferrosight.types.evaluation import FrocCurve


def test_lengths_agree_and_arrays_are_frozen():
    found = Matching([0, -1], [0, -1], [0.1, np.nan], [0, -1, -1])
    with pytest.raises(ValueError, match="read-only"):
        found.body[0] = 3
    with pytest.raises(InputError, match="place must have shape"):
        Matching([0, -1], [0], [0.1, np.nan], [0])


def test_a_curve_has_as_many_of_each():
    assert len(FrocCurve("all", [5.0, 4.0], [0.0, 1.0], [0.5, 0.6]).score) == 2
    with pytest.raises(InputError, match="recall must have shape"):
        FrocCurve("all", [5.0, 4.0], [0.0, 1.0], [0.5])
