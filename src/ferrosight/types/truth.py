"""What a simulated scan really holds."""

from __future__ import annotations

from dataclasses import dataclass

from ferrosight.types.table import Table


@dataclass(frozen=True)
class Truth:
    """Everything put into a simulated scan (schema TRUTH), the seed it was drawn from, and the scan's voxel."""

    table: Table
    seed: int
    voxel_mm: tuple[float, float, float]
