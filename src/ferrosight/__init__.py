"""Ferrosight: iron-oxide-labelled cells in serial MRI, found and counted with honest error bars.

For research use only; not a diagnostic device.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from ferrosight.io.bids import read_bids
    from ferrosight.study.visit import analyse_scan, measure_at
    from ferrosight.types.catalogue import Catalogue
    from ferrosight.types.config import Config
    from ferrosight.types.label import IronPerCell, Label
    from ferrosight.types.scan import PhaseSign, Scan

__version__ = "0.1.0"

__all__ = [
    "Catalogue",
    "Config",
    "IronPerCell",
    "Label",
    "PhaseSign",
    "Scan",
    "__version__",
    "analyse_scan",
    "measure_at",
    "read_bids",
]

#: Where each public name lives; imported when first asked for, so that ``import ferrosight`` stays fast.
_HOMES = {
    "Catalogue": "ferrosight.types.catalogue",
    "Config": "ferrosight.types.config",
    "IronPerCell": "ferrosight.types.label",
    "Label": "ferrosight.types.label",
    "PhaseSign": "ferrosight.types.scan",
    "Scan": "ferrosight.types.scan",
    "analyse_scan": "ferrosight.study.visit",
    "measure_at": "ferrosight.study.visit",
    "read_bids": "ferrosight.io.bids",
}


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(importlib.import_module(_HOMES[name]), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
