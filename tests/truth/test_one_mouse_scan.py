"""One scan of a mouse brain with clusters of one to fifty cells and four impostors, through the whole analysis."""

from __future__ import annotations

import math
from typing import Final

import numpy as np
import pytest
from numpy.typing import NDArray

from ferrosight.physics.labels import get_label
from ferrosight.simulate import (
    DEMO_IRON_PER_CELL_PG,
    DEMO_LABEL_ID,
    DEMO_MS_AM2_PER_KG_FE,
    Cells,
    Point,
    ScanSpec,
    Source,
    Sphere,
    Vein,
    build_affine,
    build_bubble,
    simulate_scan,
)
from ferrosight.simulate.spec import Position
from ferrosight.study.demo import Comparison, compare_with_truth
from ferrosight.study.visit import analyse_visit
from ferrosight.types import IronPerCell

pytestmark = pytest.mark.slow

#: Spread of iron between single cells, relative. Assumption.
_CELL_TO_CELL_CV: Final = 0.5

#: Numbers of cells of the clusters: 1 to 50, about 1 to 100 pg of iron.
_CELLS: Final = (1, 1, 1, 2, 2, 3, 4, 5, 7, 10, 14, 20, 28, 38, 50)

#: Radius of a cell, and share of a packed cluster that is cells. Assumptions.
_CELL_RADIUS_UM: Final = 7.0
_PACKING: Final = 0.6

#: The veins: the first at right angles to B0, the second rising. Both cross the whole of the tissue, for a
#: vein that ends inside it would have a magnetic pole there.
_VEINS: Final = (
    Vein((-4.4, -3.8667, -1.0), (-0.3, 5.7, -1.0), radius_um=70.0, delta_chi=0.4e-6),
    Vein((3.5, -5.9, -0.1), (1.6, 5.12, 1.42), radius_um=50.0, delta_chi=0.4e-6),
)

#: Half axes, mm, of the ellipsoid of clusters and impostors, and the least distance between them and to a vein.
_HALF_AXES_MM: Final = (4.6, 4.6, 1.3)
_SPACING_MM: Final = 1.0


def build_mouse_spec(seed: int) -> ScanSpec:
    """A mouse brain at 9.4 T, 0.1 mm, four echoes, with fifteen clusters of labelled cells and four impostors.

    Positions and loads are drawn from ``seed``: the clusters hold 1 to 50 cells, about 1 to 100 pg of iron
    of the demo's label. Two veins, a gas bubble and a calcification lie between them. All is seen through
    the k-space acquired, as a scanner does. Tissue texture, field and relaxation are assumptions of a
    plausible size, not measurements of a mouse.
    """
    rng = np.random.default_rng(seed)
    shape = (128, 128, 40)
    spots = _draw_spots(rng, len(_CELLS) + 2)
    clusters = [_draw_cluster(spot, n, rng) for spot, n in zip(spots, _CELLS, strict=False)]
    impostors: list[Source] = [
        build_bubble(spots[-2], radius_um=50.0),
        Sphere(spots[-1], radius_um=90.0, delta_chi=-1.0e-6, kind="calcification"),
        *_VEINS,
    ]
    return ScanSpec(
        shape=shape,
        affine=build_affine(shape, (0.1, 0.1, 0.1)),
        echo_times_s=(0.004, 0.008, 0.012, 0.016),
        b0_t=9.4,
        sources=(*clusters, *impostors),
        snr=40.0,
        r2star_per_s=30.0,
        point_spread="kspace",
        tissue_fraction=0.95,
        receive_variation=0.25,
        background_hz=60.0,
        phase_offset_rad=0.4,
        coil_phase_rad=0.8,
        texture_ppm=0.01,
        texture_mm=0.15,
        # To about 1 % of a voxel's signal, less than half the noise, in a quarter of the time.
        sub_sampling=8,
    )


def _draw_cluster(spot: Position, n_cells: int, rng: np.random.Generator) -> Source:
    """``n_cells`` packed cells at a spot, each with a load of its own."""
    spread = math.sqrt(math.log(1 + _CELL_TO_CELL_CV**2))
    iron_pg = float(rng.lognormal(math.log(DEMO_IRON_PER_CELL_PG) - spread**2 / 2, spread, n_cells).sum())
    moment = DEMO_MS_AM2_PER_KG_FE * iron_pg * 1e-15
    if n_cells == 1:
        return Point(spot, moment, core_radius_um=_CELL_RADIUS_UM, iron_pg=iron_pg, n_cells=1)
    radius = _CELL_RADIUS_UM * np.cbrt(n_cells / _PACKING)
    return Cells(spot, float(radius), moment, n_cells, cell_core_radius_um=_CELL_RADIUS_UM, iron_pg=iron_pg)


def _draw_spots(rng: np.random.Generator, n: int) -> list[Position]:
    """Places inside the tissue, no nearer to one another or to a vein than the spacing."""
    along = np.linspace(0, 1, 50)[:, None]
    veins = np.concatenate([np.array(v.start_mm) * (1 - along) + np.array(v.end_mm) * along for v in _VEINS])
    spots: list[NDArray[np.float64]] = []
    while len(spots) < n:
        spot = rng.uniform(-1, 1, 3)
        if spot @ spot > 1:
            continue
        spot = spot * _HALF_AXES_MM
        if np.linalg.norm(spot - np.concatenate([veins, *(s[None] for s in spots)]), axis=1).min() > _SPACING_MM:
            spots.append(spot)
    return [(float(x), float(y), float(z)) for x, y, z in spots]


@pytest.fixture(scope="module")
def comparison() -> Comparison:
    """Fifteen clusters of 1 to 50 cells, two veins, a bubble and a calcification, against what was found."""
    scan, truth = simulate_scan(build_mouse_spec(1), 1)
    load = IronPerCell(DEMO_IRON_PER_CELL_PG, 0.1, "as simulated")
    result = analyse_visit(scan, get_label(DEMO_LABEL_ID), iron_per_cell=load)
    return compare_with_truth(result.catalogue.clusters, truth.table)


def test_only_one_or_two_cells_are_missed_and_intervals_hold_the_truth(comparison: Comparison) -> None:
    assert len(comparison.matches) == 15
    # Three cells and more stand clear of the tissue's texture here; one or two do not.
    assert {match.true_n_cells for match in comparison.matches if not match.is_found} <= {1.0, 2.0}
    # A bubble of this size cannot be told from iron at these echo times.
    assert comparison.n_false <= 2
    assert sum(match.covers_iron for match in comparison.found) >= 0.8 * len(comparison.found)


def test_twelve_of_fifteen_are_found(comparison: Comparison) -> None:
    assert len(comparison.found) >= 12
