"""Loads that were measured and published, as data: nothing is fitted to them."""

from __future__ import annotations

import math
from dataclasses import dataclass


@dataclass(frozen=True)
class PublishedLoad:
    """Iron per cell, pg; ``sd_pg`` NaN where none was given. ``bound`` is "at most" where it is a maximum."""

    cells: str
    label: str
    mean_pg: float
    sd_pg: float
    source: str
    bound: str = ""


PUBLISHED_LOADS: tuple[PublishedLoad, ...] = (
    PublishedLoad("MSC", "ferumoxides–protamine", 10.94, 1.86, "Arbab 2004, Blood 104:1217"),
    PublishedLoad("CD34+ progenitor", "ferumoxides–protamine", 2.01, 0.1, "Arbab 2004, Blood 104:1217"),
    PublishedLoad("macrophage", "1.63 µm MPIO", 39.1, math.nan, "Williams 2007, doi 10.1002/jmri.20930"),
    PublishedLoad("MSC", "iron oxide with poly-L-lysine", 22.0, math.nan, "doi 10.1002/mrm.26585", "at most"),
    PublishedLoad("immortalised progenitor", "silica USPIO", 42.1, 4.0, "Langmuir 23:1427", "at most"),
    PublishedLoad("4T1", "ProMag MPIO", 16.2, math.nan, "doi 10.3390/tomography10110135"),
)
