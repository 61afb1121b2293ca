"""Numbers of nature and of iron oxides, in SI units."""

from __future__ import annotations

from typing import Final

#: Gyromagnetic ratio of the proton (CODATA 2018), rad s⁻¹ T⁻¹.
GAMMA_RAD_PER_S_T: Final = 2.6752218744e8

#: The same in Hz T⁻¹.
GAMMA_HZ_PER_T: Final = 42.577478518e6

#: Vacuum permeability (CODATA 2018), T m A⁻¹.
MU0: Final = 1.25663706212e-6

#: Volume susceptibility of water, SI (the value that MRI-PDQ uses).
CHI_WATER: Final = -9.035e-6

#: Volume susceptibility of air at room temperature, SI. Assumption: a textbook value, not traced to a source.
CHI_AIR: Final = 0.36e-6

#: Standard atomic weights, g/mol.
_FE: Final = 55.845
_O: Final = 15.999

#: Kilograms of iron per kilogram of oxide, from the atomic weights.
IRON_FRACTION_MAGNETITE: Final = 3 * _FE / (3 * _FE + 4 * _O)
IRON_FRACTION_MAGHEMITE: Final = 2 * _FE / (2 * _FE + 3 * _O)

#: Density of the oxide, kg m⁻³ (doi 10.1186/s42833-019-0002-6).
DENSITY_MAGNETITE: Final = 5180.0
DENSITY_MAGHEMITE: Final = 4870.0
