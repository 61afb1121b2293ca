"""Ferrosight: iron-oxide-labelled cells in serial MRI, found and counted with honest error bars.

For research use only; not a diagnostic device.
"""

from __future__ import annotations

__version__ = "0.1.0"
