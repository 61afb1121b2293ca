"""Phase is read only where its scaling is beyond doubt."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from ferrosight.errors import ImageError
from ferrosight.io.phase import find_phase_convention

PATH = Path("sub-01_part-phase_MEGRE.nii.gz")


@pytest.mark.parametrize(
    ("low", "high", "units", "manufacturer"),
    [
        (-np.pi, np.pi, "rad", ""),
        (-0.2, 0.3, "rad", "Siemens"),
        (0.0, 2 * np.pi, "rad", ""),
        (-3.142, 3.142, "Radians", "GE"),
        (-4096, 4094, "", "Siemens"),
        (-4096, 4092, "arbitrary", "SIEMENS Healthineers"),
        (0, 4095, "", "Siemens"),
        (-3142, 3141.59, "", "Philips Medical Systems"),
    ],
)
def test_known_ranges_become_radians(low, high, units, manufacturer):
    convention = find_phase_convention(low, high, units, manufacturer, PATH)
    ends = np.array([low, high]) * convention.rad_per_unit + convention.offset_rad
    if units.lower().startswith("rad"):
        np.testing.assert_array_equal(ends, [low, high])
    else:
        np.testing.assert_allclose(ends, [-np.pi, np.pi], rtol=2e-3)


@pytest.mark.parametrize(
    ("low", "high", "units", "manufacturer"),
    [
        (-4096, 4094, "rad", "Siemens"),
        (-180, 180, "rad", ""),
        (-0.1, 2 * np.pi, "rad", ""),
        (-4096, 4094, "", ""),
        (-4096, 4094, "arbitrary", "unknown"),
        (-4096, 4094, "", "GE MEDICAL SYSTEMS"),
        (-3142, 3142, "", "GE MEDICAL SYSTEMS"),
        (-3142, 3142, "", "Siemens"),
        (-1000, 1200, "", "Siemens"),
        (0, 2000, "", "Siemens"),
        (-8192, 4096, "", "Siemens"),
        (-500, 496, "", "Philips"),
        (-np.pi, np.pi, "", "Siemens"),
        (-np.pi, np.pi, "arbitrary", ""),
        (-180, 180, "deg", ""),
    ],
)
def test_everything_else_is_refused_by_name(low, high, units, manufacturer):
    with pytest.raises(ImageError, match="phase of unknown scaling") as caught:
        find_phase_convention(low, high, units, manufacturer, PATH)
    assert PATH.name in str(caught.value)
    assert "Units" in str(caught.value)
