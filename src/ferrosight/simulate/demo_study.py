"""The demo's three subjects: a graft that fades, a tiny cluster that grows, and a control."""

from __future__ import annotations

from dataclasses import dataclass, replace
from types import MappingProxyType
from typing import Final, Literal

import numpy as np

from ferrosight.physics.labels import LABELS
from ferrosight.simulate.anatomy import Content, dense_half_axes, draw_placed
from ferrosight.simulate.courses import STEP_VOXELS, Course, draw_dose, draw_wandering
from ferrosight.simulate.moved import draw_posture, simulate_moved_scan
from ferrosight.simulate.spec import Position, ScanSpec, Source, Vein, build_affine, build_bubble
from ferrosight.types import Scan, Truth

DEMO_LABEL_ID: Final = "ferumoxides"

#: Saturation of that label, A m² per kg of iron; it turns the demo's iron into moments.
DEMO_MS_AM2_PER_KG_FE: Final = LABELS[DEMO_LABEL_ID].ms_am2_per_kg_fe

#: Iron per CD34+ progenitor labelled with ferumoxides and protamine, pg (Arbab 2004, Blood 104:1217).
DEMO_IRON_PER_CELL_PG: Final = 2.01

#: Days between visits.
_INTERVAL_DAYS: Final = 7.0

_SHAPE: Final = (56, 56, 36)
_VOXEL_MM: Final = (0.1, 0.1, 0.1)

#: A mouse brain's centre at 9.4 T. Assumptions of a plausible size, not measurements of a mouse.
_SCAN: Final = ScanSpec(
    _SHAPE,
    build_affine(_SHAPE, _VOXEL_MM),
    echo_times_s=(0.004, 0.008, 0.012, 0.016),
    b0_t=9.4,
    snr=40.0,
    r2star_per_s=30.0,
    r2star_variation=0.2,
    density_variation=0.08,
    structure_mm=0.6,
    point_spread="kspace",
    tissue_fraction=0.85,
    receive_variation=0.25,
    background_hz=60.0,
    phase_offset_rad=0.4,
    coil_phase_rad=0.8,
    texture_ppm=0.01,
    texture_mm=0.15,
    sub_sampling=8,
)

_CELLS: Final = Content(
    iron_per_cell_pg=DEMO_IRON_PER_CELL_PG, cell_radius_um=7.0, ms_am2_per_kg_fe=DEMO_MS_AM2_PER_KG_FE
)


_STAYS: Final = Course()


@dataclass(frozen=True)
class DemoCluster:
    """A labelled cluster: its cells on the first day, where they lie (packed without half axes), what becomes of it."""

    n_cells: int
    place_mm: Position
    course: Course = _STAYS
    half_axes_um: Position | None = None


@dataclass(frozen=True)
class DemoSubject:
    """Who is scanned, every week for ``n_visits`` visits; label is given once, or where ``targeted`` before each."""

    about: str
    study_kind: Literal["prelabelled", "targeted"]
    n_visits: int
    clusters: tuple[DemoCluster, ...]
    impostors: tuple[Source, ...]

    @property
    def days(self) -> tuple[float, ...]:
        """Days of the visits."""
        return tuple(_INTERVAL_DAYS * visit for visit in range(self.n_visits))


#: The subjects by the group that each is of. Veins cross the whole of the tissue: an end inside it would be a pole.
DEMO_SUBJECTS: Final = MappingProxyType(
    {
        "graft": DemoSubject(
            "cells labelled once; those of a graft die, and two stray clusters stay",
            "prelabelled",
            4,
            (
                DemoCluster(400, (0.32, 0.21, 0.04), Course(10.0, 0.005), (350.0, 250.0, 200.0)),
                DemoCluster(20, (-1.33, 0.62, 0.31)),
                DemoCluster(40, (0.94, -1.42, -0.38)),
            ),
            (Vein((-3.1, 1.5, -0.6), (3.1, 1.9, -0.6), 60.0, 0.4e-6, inside_per_s=60.0, object_id="vein-01"),),
        ),
        "targeted": DemoSubject(
            "particles that seek the cells, given before every scan; one tiny cluster grows, two stay",
            "targeted",
            6,
            (
                DemoCluster(4, (0.71, 0.52, 0.27), Course(doubling_days=5.0, grows_times=200.0)),
                DemoCluster(15, (-1.24, -0.73, -0.41)),
                DemoCluster(30, (0.18, -1.57, 0.46)),
            ),
            (Vein((-3.1, 1.7, -0.3), (3.1, 1.4, 0.3), 60.0, 0.4e-6, inside_per_s=60.0, object_id="vein-01"),),
        ),
        "control": DemoSubject(
            "particles that seek the cells, given before every scan; three clusters stay, and a bubble lies among them",
            "targeted",
            4,
            (
                DemoCluster(8, (1.29, 0.44, 0.33)),
                DemoCluster(18, (-0.91, 0.88, -0.47)),
                DemoCluster(40, (0.13, -1.32, 0.12)),
            ),
            (
                Vein((-3.1, 1.5, 0.5), (3.1, 1.8, 0.5), 60.0, 0.4e-6, inside_per_s=60.0, object_id="vein-01"),
                Vein((-0.6, -3.1, -0.8), (0.9, 3.1, -0.7), 45.0, 0.4e-6, inside_per_s=60.0, object_id="vein-02"),
                replace(build_bubble((-1.52, -0.94, 0.18), 35.0), object_id="air-01"),
            ),
        ),
    }
)


def build_demo_visit(subject: DemoSubject, seed: int, visit: int) -> ScanSpec:
    """The scan of one visit, drawn from ``seed``: the subject as it lies at the first visit, clusters as of the day."""
    day = subject.days[visit]
    seeds = np.random.SeedSequence(seed).spawn(2 * len(subject.clusters) + 1)
    dose = draw_dose(seeds[-1], day) if subject.study_kind == "targeted" else 1.0
    sources: list[Source] = []
    for number, cluster in enumerate(subject.clusters):
        cells, walk = (np.random.default_rng(one) for one in seeds[2 * number : 2 * number + 2])
        x, y, z = np.array(cluster.place_mm) + draw_wandering(day, STEP_VOXELS * min(_VOXEL_MM), walk)
        half_axes = cluster.half_axes_um or dense_half_axes(cluster.n_cells, _CELLS.cell_radius_um)
        placed = draw_placed(
            (float(x), float(y), float(z)),
            cluster.n_cells,
            half_axes,
            _CELLS,
            cells,
            day,
            cluster.course,
            dose,
        )
        if placed is not None:
            sources.append(replace(placed, object_id=f"labelled-{number + 1:02d}"))
    return replace(_SCAN, sources=(*sources, *subject.impostors))


def simulate_demo_visit(subject: DemoSubject, seed: int, visit: int) -> tuple[Scan, Truth]:
    """One scan of a subject, which lies differently at every visit, and what it holds."""
    spec = build_demo_visit(subject, seed, visit)
    return simulate_moved_scan(spec, seed, draw_posture(_VOXEL_MM, seed, visit), visit=visit)
