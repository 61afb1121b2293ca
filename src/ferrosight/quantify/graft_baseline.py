"""What a scan without label holds where a labelled visit has grafts: the same regions' susceptibility in both."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from ferrosight.quantify.graft_regions import find_graft_regions, measure_regions
from ferrosight.types import Rigid
from ferrosight.types.catalogue import Catalogue
from ferrosight.types.config import QuantifyConfig
from ferrosight.types.field import FieldMap
from ferrosight.types.scan import Scan

FloatArray = NDArray[np.float64]


def measure_grafts_before(
    catalogue: Catalogue,
    scan: Scan,
    field_map: FieldMap,
    baseline: Scan,
    baseline_field_map: FieldMap,
    config: QuantifyConfig,
) -> tuple[FloatArray, FloatArray]:
    """Moment and its error (n,), A m², that the ``baseline`` has in the region of each row that is a graft.

    Regions are those of the labelled ``scan``, carried over by the scanner's frame; what a region of the baseline's own
    holds beside them is left out of their windows. NaN for rows that are no grafts, and where the baseline has no
    tissue or its window would be too large.
    """
    moment, err = np.full((2, len(catalogue.clusters)), np.nan)
    regions = find_graft_regions(catalogue, scan, field_map, config)
    if regions:
        rows, still = list(regions), [Rigid.identity()] * len(regions)
        moment[rows], err[rows] = measure_regions(
            list(regions.values()), still, baseline, baseline_field_map, catalogue, config
        )
    return moment, err
