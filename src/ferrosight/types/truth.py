"""What a simulated scan really holds."""

from __future__ import annotations

from dataclasses import dataclass, field

from ferrosight.types.table import Table
from ferrosight.types.transforms import Rigid


@dataclass(frozen=True)
class Truth:
    """Everything put into a simulated scan (schema TRUTH), the seed it was drawn from, and the scan's voxel.

    ``to_subject`` takes the scan's scanner RAS+ mm, which the table is in, to the subject's own space.
    """

    table: Table
    seed: int
    voxel_mm: tuple[float, float, float]
    to_subject: Rigid = field(default_factory=Rigid.identity)
