"""Numbers as people read them: units, sensible digits, uncertainty, and "n/a" where there is nothing."""

from __future__ import annotations

import math

NA = "n/a"
_NBSP = "\u00a0"
_SUPERSCRIPT = str.maketrans("0123456789-", "⁰¹²³⁴⁵⁶⁷⁸⁹⁻")

IRON_UNITS = ((1e-3, "fg"), (1.0, "pg"), (1e3, "ng"), (1e6, "µg"), (1e9, "mg"))
MOMENT_UNITS = ((1e-18, "aA m²"), (1e-15, "fA m²"), (1e-12, "pA m²"), (1e-9, "nA m²"), (1e-6, "µA m²"))

#: What the tables' fixed units are in the catalogue's units.
TABLE_MOMENT_AM2 = 1e-15
#: What is smaller has no power of ten that a float can hold, and is shown as 0.
_LEAST = 1e-300
TABLE_MOMENT_UNIT = "fA m²"


def is_number(value: object) -> bool:
    """Whether ``value`` is a finite number."""
    return isinstance(value, int | float) and math.isfinite(value)


def _decimals(err: float) -> int:
    """Decimals that leave an error two digits where they start with 1 or 2, else one."""
    exponent = math.floor(math.log10(err))
    leading = err / 10.0**exponent
    return (1 if leading < 2.95 else 0) - exponent


def _round(value: float, decimals: int) -> str:
    text = f"{round(value, decimals):,.{max(decimals, 0)}f}"
    return text.replace("-", "−")


def format_number(value: float, digits: int = 3) -> str:
    """A number with so many significant digits; powers of ten beyond 1e-3 and 1e6."""
    if not is_number(value):
        return NA
    if abs(value) < _LEAST:
        return "0"
    exponent = math.floor(math.log10(abs(value)))
    if not -3 <= exponent < 6:
        mantissa = _round(value / 10.0**exponent, digits - 1)
        return f"{mantissa}{_NBSP}×{_NBSP}10{str(exponent).translate(_SUPERSCRIPT)}"
    return _round(value, digits - 1 - exponent)


def format_pm(value: float, err: float) -> str:
    """``12.3 ± 0.8``; the value alone where its error is missing."""
    if not is_number(value):
        return NA
    if not is_number(err) or err < _LEAST:
        return format_number(value)
    decimals = _decimals(err)
    return f"{_round(value, decimals)}{_NBSP}±{_NBSP}{_round(err, decimals)}"


def _scaled(size: float, units: tuple[tuple[float, str], ...]) -> tuple[float, str]:
    if not is_number(size) or size == 0:
        return units[1]
    return next((unit for unit in reversed(units) if abs(size) >= unit[0]), units[0])


def _quantity(value: float, err: float, units: tuple[tuple[float, str], ...]) -> str:
    if not is_number(value):
        return NA
    factor, unit = _scaled(value, units)
    return f"{format_pm(value / factor, err / factor)}{_NBSP}{unit}"


def format_moment(moment_am2: float, err_am2: float = math.nan) -> str:
    """A magnetic moment in the fitting SI prefix of A m², with its standard deviation where there is one."""
    return _quantity(moment_am2, err_am2, MOMENT_UNITS)


def format_iron(iron_pg: float, err_pg: float = math.nan) -> str:
    """A mass of iron in the fitting prefix of g, with its standard deviation where there is one."""
    return _quantity(iron_pg, err_pg, IRON_UNITS)


def format_range(low: float, high: float, units: tuple[tuple[float, str], ...] = ((1.0, ""), (1.0, ""))) -> str:
    """``3.1–4.5 ng``: both ends in one unit, with digits that tell them apart; two each where they are far apart."""
    if not is_number(low) or not is_number(high):
        return NA
    factor, unit = _scaled(max(abs(low), abs(high)), units)
    low, high = low / factor, high / factor
    if 0 < 10 * low < high:
        return f"{format_number(low, 2)}–{format_number(high, 2)}{_NBSP + unit if unit else ''}"
    top = max(abs(low), abs(high), 1e-300)
    decimals = 1 - math.floor(math.log10(top))
    if high > low:
        decimals = max(decimals, 1 - math.floor(math.log10(high - low)))
    dash = f"{_NBSP}to{_NBSP}" if low < 0 else "–"
    return f"{_round(low, decimals)}{dash}{_round(high, decimals)}{_NBSP + unit if unit else ''}"


def format_iron_range(low_pg: float, high_pg: float) -> str:
    """An interval of iron mass."""
    return format_range(low_pg, high_pg, IRON_UNITS)


def format_moment_range(low_am2: float, high_am2: float) -> str:
    """An interval of magnetic moment."""
    return format_range(low_am2, high_am2, MOMENT_UNITS)


def format_probability(value: float) -> str:
    """A probability or an expected number, small ones as powers of ten."""
    if not is_number(value):
        return NA
    if 0 <= value < 1e-12:
        return f"<{_NBSP}10⁻¹²"
    return f"{value:.2g}" if 1e-3 <= value < 100 else format_number(value, 2)


def format_voxel(voxel_mm: tuple[float, float, float]) -> str:
    """Voxel edges in µm below a tenth of a millimetre, else in mm."""
    in_um = max(voxel_mm) < 0.1
    edges = [f"{edge * 1000 if in_um else edge:.3g}" for edge in voxel_mm]
    return f"{' × '.join(edges)}{_NBSP}{'µm' if in_um else 'mm'}"


def plural(count: int, noun: str) -> str:
    """``1 cluster``, ``2 clusters``, ``1,200 clusters``."""
    return f"{count:,}{_NBSP}{noun}{'' if count == 1 else 's'}"
