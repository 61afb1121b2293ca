"""Scans that are worth simulating as they are."""

from __future__ import annotations

import math
from typing import Final

import numpy as np
from numpy.typing import NDArray

from ferrosight.physics.labels import LABELS
from ferrosight.simulate.spec import Cells, Point, Position, ScanSpec, Source, Sphere, Vein, build_affine, build_bubble

DEMO_LABEL_ID: Final = "ferumoxides"

#: Saturation of that label, A m² per kg of iron; it turns the demo's iron into moments.
DEMO_MS_AM2_PER_KG_FE: Final = LABELS[DEMO_LABEL_ID].ms_am2_per_kg_fe

#: Iron per CD34+ progenitor labelled with ferumoxides and protamine, pg (Arbab 2004, Blood 104:1217).
DEMO_IRON_PER_CELL_PG: Final = 2.01

#: Spread of iron between single cells, relative. Assumption.
_CELL_TO_CELL_CV: Final = 0.5

#: Numbers of cells of the demo's clusters: 1 to 50, about 1 to 100 pg of iron.
_DEMO_CELLS: Final = (1, 1, 1, 2, 2, 3, 4, 5, 7, 10, 14, 20, 28, 38, 50)

#: Radius of a cell, and share of a packed cluster that is cells. Assumptions.
_CELL_RADIUS_UM: Final = 7.0
_PACKING: Final = 0.6

#: The demo's veins: the first at right angles to B0, the second rising. Both cross the whole of the tissue, for a
#: vein that ends inside it would have a magnetic pole there.
_DEMO_VEINS: Final = (
    Vein((-4.4, -3.8667, -1.0), (-0.3, 5.7, -1.0), radius_um=70.0, delta_chi=0.4e-6),
    Vein((3.5, -5.9, -0.1), (1.6, 5.12, 1.42), radius_um=50.0, delta_chi=0.4e-6),
)

#: Half axes, mm, of the ellipsoid that the demo's points lie in, and the least distance between them and to a vein.
_DEMO_HALF_AXES_MM: Final = (4.6, 4.6, 1.3)
_DEMO_SPACING_MM: Final = 1.0


def build_demo_spec(seed: int) -> ScanSpec:
    """A mouse brain at 9.4 T, 0.1 mm, four echoes, with fifteen clusters of labelled cells and four impostors.

    Positions and loads are drawn from ``seed``: the clusters hold 1 to 50 cells, about 1 to 100 pg of iron
    of ``DEMO_LABEL_ID``. Two veins, a gas bubble and a calcification lie between them. All is seen through
    the k-space acquired, as a scanner does. Tissue texture, field and relaxation are assumptions of a
    plausible size, not measurements of a mouse.
    """
    rng = np.random.default_rng(seed)
    shape = (128, 128, 40)
    spots = _draw_spots(rng, len(_DEMO_CELLS) + 2)
    clusters = [_draw_cluster(spot, n, rng) for spot, n in zip(spots, _DEMO_CELLS, strict=False)]
    impostors: list[Source] = [
        build_bubble(spots[-2], radius_um=50.0),
        Sphere(spots[-1], radius_um=90.0, delta_chi=-1.0e-6, kind="calcification"),
        *_DEMO_VEINS,
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
    """Places inside the tissue, no nearer to one another or to a vein than the demo's spacing."""
    along = np.linspace(0, 1, 50)[:, None]
    veins = np.concatenate([np.array(v.start_mm) * (1 - along) + np.array(v.end_mm) * along for v in _DEMO_VEINS])
    spots: list[NDArray[np.float64]] = []
    while len(spots) < n:
        spot = rng.uniform(-1, 1, 3)
        if spot @ spot > 1:
            continue
        spot = spot * _DEMO_HALF_AXES_MM
        if np.linalg.norm(spot - np.concatenate([veins, *(s[None] for s in spots)]), axis=1).min() > _DEMO_SPACING_MM:
            spots.append(spot)
    return [(float(x), float(y), float(z)) for x, y, z in spots]
