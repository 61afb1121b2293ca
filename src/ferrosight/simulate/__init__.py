"""Scans whose truth is known: the same ``Scan`` that the readers return, plus ``Truth``.

Nothing here uses the tables that the fit uses: the signal near a source is summed over fine cells, so that a
mistake in the fit cannot hide in the truth it is tested against.
"""

from ferrosight.simulate.courses import COURSES, CourseName
from ferrosight.simulate.demo_study import (
    DEMO_IRON_PER_CELL_PG,
    DEMO_LABEL_ID,
    DEMO_MS_AM2_PER_KG_FE,
    DEMO_SUBJECTS,
    DemoSubject,
    simulate_demo_visit,
)
from ferrosight.simulate.inject import inject_clusters
from ferrosight.simulate.moved import draw_posture, simulate_moved_scan
from ferrosight.simulate.pet import (
    PetCounts,
    contrast_activity_bq,
    expect_counts,
    expect_source_counts,
    simulate_pet_scan,
)
from ferrosight.simulate.pet_spec import PET_SCANNERS, HotSphere, PetScanner, PetSpec, Warm, build_pet_spec
from ferrosight.simulate.scan import simulate_scan
from ferrosight.simulate.scanners import PRESET_LABEL_ID, PRESETS, Preset, get_preset
from ferrosight.simulate.spec import (
    Cells,
    Ellipsoid,
    PlacedCells,
    Point,
    ScanSpec,
    Source,
    Sphere,
    Vein,
    build_affine,
    build_bubble,
    build_graft,
)
from ferrosight.simulate.vessels import grow_vessel_tree

__all__ = [
    "COURSES",
    "DEMO_IRON_PER_CELL_PG",
    "DEMO_LABEL_ID",
    "DEMO_MS_AM2_PER_KG_FE",
    "DEMO_SUBJECTS",
    "PET_SCANNERS",
    "PRESETS",
    "PRESET_LABEL_ID",
    "Cells",
    "CourseName",
    "DemoSubject",
    "Ellipsoid",
    "HotSphere",
    "PetCounts",
    "PetScanner",
    "PetSpec",
    "PlacedCells",
    "Point",
    "Preset",
    "ScanSpec",
    "Source",
    "Sphere",
    "Vein",
    "Warm",
    "build_affine",
    "build_bubble",
    "build_graft",
    "build_pet_spec",
    "contrast_activity_bq",
    "draw_posture",
    "expect_counts",
    "expect_source_counts",
    "get_preset",
    "grow_vessel_tree",
    "inject_clusters",
    "simulate_demo_visit",
    "simulate_moved_scan",
    "simulate_pet_scan",
    "simulate_scan",
]
