"""What a simulated scan really holds."""

from __future__ import annotations

from dataclasses import dataclass

from ferrosight.types.table import Table


@dataclass(frozen=True)
class Truth:
    """Everything put into a simulated scan (schema TRUTH), with the seed it was drawn from."""

    table: Table
    seed: int
