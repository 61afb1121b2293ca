"""One volume of evidence per pattern."""

from __future__ import annotations

import numpy as np
import pytest

from ferrosight.errors import InputError
from ferrosight.types import EvidenceMap, Grid


def test_there_is_one_volume_per_pattern() -> None:
    grid = Grid((3, 5, 7), np.eye(4))
    assert EvidenceMap(grid, ("dipole", "xz"), np.zeros((2, 3, 5, 7))).z.dtype == np.float32
    with pytest.raises(InputError, match=r"evidence must have shape \(1, 3, 5, 7\), but has \(2, 3, 5, 7\)"):
        EvidenceMap(grid, ("dipole",), np.zeros((2, 3, 5, 7)))
