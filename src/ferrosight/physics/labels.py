"""Iron-oxide labels: magnetisation per kilogram of *iron*, its spread and where the number comes from.

Publications give magnetisation per kilogram of oxide, of iron, or without saying which. Everything here is
per kilogram of iron: a value per kilogram of oxide is divided by the oxide's mass fraction of iron.
"""

from __future__ import annotations

import math
import tomllib
from pathlib import Path
from typing import Any

from ferrosight.errors import LabelError
from ferrosight.physics.constants import DENSITY_MAGNETITE, IRON_FRACTION_MAGHEMITE, IRON_FRACTION_MAGNETITE
from ferrosight.types.label import Label

BOLTZMANN_J_PER_K = 1.380649e-23
BODY_TEMPERATURE_K = 310.15

#: Saturation magnetisation of bulk oxides, A m² per kg of oxide (doi 10.1186/s42833-019-0002-6).
_MAGHEMITE_LOW, _MAGNETITE_HIGH = 60.0, 100.0
_OXIDE_LOW = _MAGHEMITE_LOW / IRON_FRACTION_MAGHEMITE
_OXIDE_HIGH = _MAGNETITE_HIGH / IRON_FRACTION_MAGNETITE
#: Normal quantile of a two-sided 95 % interval.
_Z95 = 1.959963984540054
#: Centre and spread that put an oxide of unstated composition between maghemite's lowest and magnetite's
#: highest value with 95 % (log-normal).
_OXIDE_MS = math.sqrt(_OXIDE_LOW * _OXIDE_HIGH)
_OXIDE_REL_SD = math.log(_OXIDE_HIGH / _OXIDE_LOW) / (2 * _Z95)
_OXIDE_SOURCE = (
    "assumption: no measurement of this label; between maghemite at 60 and magnetite at 100 A m²/kg of oxide "
    f"(doi 10.1186/s42833-019-0002-6), {_OXIDE_LOW:.1f} to {_OXIDE_HIGH:.1f} per kg of iron"
)


def _oxide(label_id: str, name: str, core_diameter_nm: float | None = None, core_source: str = "") -> Label:
    """A label of which only "an iron oxide" is known."""
    return Label(label_id, name, _OXIDE_MS, _OXIDE_REL_SD, _OXIDE_SOURCE, core_diameter_nm, core_source)


#: The labels known by name. None fixes a load: iron per cell belongs to a cell type and a protocol.
LABELS: dict[str, Label] = {
    label.label_id: label
    for label in (
        Label(
            "ferumoxides",
            "ferumoxides (Feridex, Endorem)",
            ms_am2_per_kg_fe=93.6,
            # The range is lopsided; the spread reaches its further end with 95 %.
            ms_rel_sd=math.log(127 / 93.6) / _Z95,
            ms_source="assumption: 93.6 A m²/kg of iron, range 88 to 127",
            core_source="saturated below 1 T",
        ),
        _oxide("ferumoxytol", "ferumoxytol (Feraheme)", core_source="saturated near 1.5 T"),
        _oxide("ferucarbotran", "ferucarbotran (Resovist)"),
        Label(
            "molday-ion",
            "Molday ION",
            # Mean and spread of 88, 101 and 92, which three concentrations in gel imply at 2.9 T.
            ms_am2_per_kg_fe=93.7,
            ms_rel_sd=0.071,
            ms_source="from the susceptibility of three gels at 2.895 T, doi 10.1371/journal.pone.0220639",
        ),
        _oxide("mpio-0.9", "0.9 µm iron-oxide microparticles"),
        _oxide("mpio-1.63", "1.63 µm iron-oxide microparticles"),
        _oxide("vsop", "very small iron-oxide particles (VSOP)", 4.0, "assumption: a 4 nm core"),
        _oxide("citrate", "citrate-coated iron oxide"),
        _oxide("magnetoliposome", "magnetoliposomes"),
    )
}


def magnetisation_am2_per_kg_fe(label: Label, b0_t: float) -> float:
    """Magnetic moment per kilogram of iron at ``b0_t`` tesla, A m²/kg Fe.

    Langevin's curve L(x) = coth x − 1/x with x = V·M·B0/(k·T) for a core of volume V at body temperature,
    where M is the label's saturation magnetisation per volume of magnetite. A 4 nm core of
    M = 450 kA/m (120 A m²/kg Fe) reaches 0.81 / 0.91 / 0.96 of saturation at 1.5 / 3 / 7 T. A label
    without a core diameter is saturated.
    """
    if label.core_diameter_nm is None:
        return label.ms_am2_per_kg_fe
    volume_m3 = math.pi / 6 * (label.core_diameter_nm * 1e-9) ** 3
    per_volume = label.ms_am2_per_kg_fe * IRON_FRACTION_MAGNETITE * DENSITY_MAGNETITE
    x = volume_m3 * per_volume * b0_t / (BOLTZMANN_J_PER_K * BODY_TEMPERATURE_K)
    return label.ms_am2_per_kg_fe * _langevin(x)


def _langevin(x: float) -> float:
    if x < 1e-3:  # coth x − 1/x loses its digits near zero
        return x / 3
    return 1 / math.tanh(x) - 1 / x


def get_label(id_or_path: str | Path) -> Label:
    """The label of that id, or the one that a TOML file describes.

    The file's keys are the fields of ``Label``; ``label_id`` and ``name`` default to the file's name,
    ``ms_am2_per_kg_fe`` and ``ms_rel_sd`` are required.

    Raises
    ------
    LabelError
        Unknown id, unreadable file, unknown or missing keys, or impossible numbers.
    """
    known = LABELS.get(str(id_or_path))
    if known is not None:
        return known
    path = Path(id_or_path)
    if path.suffix.lower() != ".toml":
        raise LabelError(f"there is no label {str(id_or_path)!r}; choose {', '.join(LABELS)}, or name a .toml file.")
    return _label_from_values(path, _read_toml(path))


def _read_toml(path: Path) -> dict[str, Any]:
    try:
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise LabelError(f"there is no label file {path}; check the path.") from None
    except OSError as error:
        raise LabelError(f"the label file {path} cannot be read: {error.strerror}.") from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise LabelError(f"the label file {path} is not valid TOML: {error}.") from None


_TEXT_KEYS = ("label_id", "name", "ms_source", "core_source", "iron_per_cell_source")
_NUMBER_KEYS = ("ms_am2_per_kg_fe", "ms_rel_sd", "core_diameter_nm", "iron_per_cell_pg", "iron_per_cell_sd_pg")


def _label_from_values(path: Path, values: dict[str, Any]) -> Label:
    unknown = sorted(set(values) - {*_TEXT_KEYS, *_NUMBER_KEYS})
    if unknown:
        known = ", ".join((*_TEXT_KEYS, *_NUMBER_KEYS))
        raise LabelError(f"the label file {path} has keys that mean nothing: {', '.join(unknown)}; known are {known}.")
    for key in ("ms_am2_per_kg_fe", "ms_rel_sd"):
        if key not in values:
            raise LabelError(f"the label file {path} lacks {key}; add it.")
    for key, value in values.items():
        kind, right = ("text", isinstance(value, str))
        if key in _NUMBER_KEYS:
            kind, right = "a number", isinstance(value, int | float) and not isinstance(value, bool)
        if not right:
            raise LabelError(f"{key} in the label file {path} must be {kind}, but is {value!r}.")
    unsourced = {"ms_source": "assumption"}
    for number, source in (("core_diameter_nm", "core_source"), ("iron_per_cell_pg", "iron_per_cell_source")):
        if number in values:
            unsourced[source] = "assumption"
    return Label(**{"label_id": path.stem, "name": path.stem, **unsourced, **values})
