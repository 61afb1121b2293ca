"""Arrays that have the right shape, are finite, and cannot be changed."""

from __future__ import annotations

import numpy as np
import pytest

from ferrosight.errors import InputError
from ferrosight.types._validate import frozen_array


def test_the_right_array_is_viewed_not_copied() -> None:
    array = np.zeros((2, 3))
    frozen = frozen_array("a", array, np.float64, (2, 3))
    assert np.shares_memory(array, frozen)
    assert array.flags.writeable
    assert not frozen.flags.writeable


def test_the_message_names_what_was_expected_and_found() -> None:
    with pytest.raises(InputError, match=r"field must have shape \(2, any\), but has \(3, 3\)"):
        frozen_array("field", np.zeros((3, 3)), np.float64, (2, None))
    with pytest.raises(InputError, match="field must be finite everywhere, but 2 of its 3"):
        frozen_array("field", [1.0, np.nan, np.inf], np.float64, finite=True)
