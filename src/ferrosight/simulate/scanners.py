"""The presets: protocols, tissues and contents that are worth simulating.

Assumptions, unless a source stands beside a value: nothing here was measured on the animal, tissue or scanner that it
stands for. Values are of the size that such scans have, so that what is found in them is of the right difficulty.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from types import MappingProxyType
from typing import Final

import numpy as np

from ferrosight.errors import InputError
from ferrosight.physics.labels import LABELS
from ferrosight.simulate.anatomy import Content, draw_sources
from ferrosight.simulate.courses import CourseName
from ferrosight.simulate.spec import ScanSpec, build_affine
from ferrosight.types import AxisSupport, PhaseSign

#: What labels the cells of every preset; its magnetisation is an assumption that ``physics.labels`` explains.
PRESET_LABEL_ID: Final = "ferumoxides"
_MS: Final = LABELS[PRESET_LABEL_ID].ms_am2_per_kg_fe

#: Iron per cell, pg, of mesenchymal stem cells and of CD34+ progenitors with ferumoxides and protamine (Arbab 2004,
#: Blood 104:1217).
_STEM_CELL_PG, _PROGENITOR_PG = 10.94, 2.01

#: Radii of those cells, µm. Assumption.
_STEM_CELL_UM, _PROGENITOR_UM = 9.0, 7.0

#: Lines of partial Fourier 6/8, and of zero filling from 3/4.
_SIX_EIGHTHS, _THREE_QUARTERS = AxisSupport(-0.25, 0.5), AxisSupport(-0.375, 0.375)


@dataclass(frozen=True)
class Preset:
    """A scan without sources, what lies in its full field of view, and whose it is.

    ``rotation_deg`` is the slab's, as in ``build_affine``; the scan's own affine is built from it.
    """

    name: str
    description: str
    species: str
    voxel_mm: tuple[float, float, float]
    rotation_deg: tuple[float, float, float]
    scan: ScanSpec
    content: Content
    motion_mm: float = 0.0

    def build_spec(
        self,
        seed: int,
        day: float = 0.0,
        shape: tuple[int, int, int] | None = None,
        course: CourseName = "mixed",
    ) -> ScanSpec:
        """The scan of a subject, drawn from ``seed``, ``day`` days after labelling; before day 0 nothing is labelled.

        ``shape`` cuts the field of view, tissue included, and puts the same share of everything into it; the field
        is as steep as in the full one. ``course`` is what becomes of clusters, as in ``draw_course``.
        """
        size = self.scan.shape if shape is None else shape
        share = float(np.prod(size) / np.prod(self.scan.shape))
        # Background maps are waves as long as the image.
        shorter = max(n / full for n, full in zip(size, self.scan.shape, strict=True))
        spec = replace(
            self.scan,
            shape=size,
            affine=build_affine(size, self.voxel_mm, self.rotation_deg),
            background_hz=self.scan.background_hz * min(shorter, 1.0),
        )
        content_seed, motion_seed = np.random.SeedSequence(seed).spawn(2)
        spec = draw_sources(spec, self.content, share, content_seed, day, course)
        if not self.motion_mm:
            return spec
        moves = np.random.default_rng(motion_seed).normal(scale=self.motion_mm, size=(len(spec.echo_times_s), 3))
        moves[0] = 0.0
        return replace(spec, motion_mm=tuple((float(x), float(y), float(z)) for x, y, z in moves))


def get_preset(name: str) -> Preset:
    """The preset of that name; ``InputError`` lists them all where there is none."""
    if name not in PRESETS:
        raise InputError(f"there is no preset {name!r}; choose {', '.join(PRESETS)}.")
    return PRESETS[name]


def _scan(shape: tuple[int, int, int], echo_times_ms: tuple[float, ...], b0_t: float, **tissue: object) -> ScanSpec:
    affine = np.eye(4)  # a preset builds its own
    times = tuple(time * 1e-3 for time in echo_times_ms)
    return ScanSpec(shape, affine, times, b0_t, point_spread="kspace", sub_sampling=8, **tissue)  # type: ignore[arg-type]


_GEL = Preset(
    "gel-11t",
    "Iron-oxide particles and gas bubbles in a tube of agarose, 11.7 T, one echo",
    "agarose",
    # shape, voxel, echo time, B0 and its direction along the array are those of a real gel scan, SNR measured in it
    voxel_mm=(0.0546875, 0.0363281, 0.0363281),
    rotation_deg=(-90.0, -90.0, 0.0),
    scan=_scan(
        (256, 256, 8),
        (5.0,),
        11.746,
        snr=38.0,
        r2star_per_s=15.0,
        tissue_fraction=0.88,
        tissue_shape="tube",
        receive_variation=0.25,
        background_hz=180.0,
        phase_offset_rad=0.3,
        coil_phase_rad=0.6,
        texture_ppm=0.001,
        texture_mm=0.05,
        bandwidth_hz=200.0,
    ),
    content=Content(
        n_particles=250,
        particles_pg=(0.2, 20.0),
        ms_am2_per_kg_fe=_MS,
        n_bubbles=15,
        bubble_um=(10.0, 40.0),
    ),
)

_MOUSE_BRAIN = Preset(
    "mouse-brain-9t",
    "Mouse brain with labelled progenitors, 9.4 T, four echoes",
    "mus musculus",
    voxel_mm=(0.1, 0.1, 0.1),
    rotation_deg=(0.0, 0.0, 0.0),
    scan=_scan(
        (112, 144, 80),
        (3.5, 7.5, 11.5, 15.5),
        9.4,
        snr=40.0,
        r2star_per_s=30.0,
        r2star_variation=0.2,
        density_variation=0.08,
        structure_mm=0.6,
        tissue_fraction=0.92,
        receive_variation=0.35,
        noise_variation=0.15,
        background_hz=80.0,
        phase_offset_rad=0.4,
        coil_phase_rad=0.8,
        texture_ppm=0.01,
        texture_mm=0.15,
        bandwidth_hz=400.0,
    ),
    content=Content(
        cells=(1, 1, 1, 2, 2, 3, 4, 5, 7, 10, 14, 20, 28, 40, 80, 200),
        iron_per_cell_pg=_PROGENITOR_PG,
        cell_radius_um=_PROGENITOR_UM,
        ms_am2_per_kg_fe=_MS,
        grafts=((500, (400.0, 250.0, 200.0)),),
        n_trees=3,
        root_radius_um=90.0,
        twig_radius_um=25.0,
        blood_per_s=60.0,
        n_haemorrhages=4,
        haemorrhage_um=(30.0, 90.0),
        haemorrhage_per_s=150.0,
        n_bubbles=1,
        bubble_um=(20.0, 40.0),
        n_calcifications=2,
        calcification_um=(30.0, 80.0),
        cavities_um=(450.0, 350.0),
    ),
)

_RAT_HINDLIMB = Preset(
    "rat-hindlimb-7t",
    "Dystrophic rat hind limb with fat and labelled stem cells, 7 T, four bipolar echoes, an affine that follows the "
    "animal and not the magnet",
    "rattus norvegicus",
    voxel_mm=(0.15, 0.15, 0.3),
    rotation_deg=(0.0, 0.0, 0.0),
    scan=_scan(
        (128, 128, 64),
        (2.5, 4.5, 6.5, 8.5),
        7.0,
        b0_direction=(0.0, 0.96, 0.28),
        snr=45.0,
        r2star_per_s=45.0,
        r2star_variation=0.25,
        density_variation=0.1,
        structure_mm=2.0,
        fat_share=0.15,
        tissue_fraction=0.88,
        receive_variation=0.3,
        noise_variation=0.1,
        background_hz=100.0,
        phase_offset_rad=-0.6,
        coil_phase_rad=0.7,
        texture_ppm=0.008,
        texture_mm=0.25,
        bandwidth_hz=600.0,
        is_bipolar=True,
    ),
    content=Content(
        cells=(1, 2, 3, 5, 10, 20, 40, 80, 150, 300, 1000),
        iron_per_cell_pg=_STEM_CELL_PG,
        cell_radius_um=_STEM_CELL_UM,
        ms_am2_per_kg_fe=_MS,
        grafts=((600, (1200.0, 350.0, 350.0)),),
        solid_grafts=((20000, (1200.0, 700.0, 600.0)),),
        n_trees=2,
        root_radius_um=250.0,
        twig_radius_um=80.0,
        blood_per_s=40.0,
        n_haemorrhages=6,
        haemorrhage_um=(60.0, 250.0),
        n_bubbles=2,
        bubble_um=(40.0, 100.0),
        n_calcifications=5,
        calcification_um=(60.0, 200.0),
    ),
)

_HUMAN_BRAIN_3T = Preset(
    "human-brain-3t",
    "Human brain with labelled stem cells, 3 T, five echoes, oblique slab, 6/8 partial Fourier",
    "homo sapiens",
    voxel_mm=(0.8, 0.8, 1.6),
    rotation_deg=(-15.0, 4.0, 0.0),
    scan=_scan(
        (176, 208, 48),
        (6.0, 12.0, 18.0, 24.0, 30.0),
        3.0,
        phase_sign=PhaseSign.NEGATIVE,
        snr=60.0,
        r2star_per_s=20.0,
        r2star_variation=0.2,
        density_variation=0.1,
        structure_mm=5.0,
        support=(AxisSupport(), _SIX_EIGHTHS, AxisSupport()),
        tissue_fraction=0.92,
        receive_variation=0.3,
        noise_variation=0.35,
        background_hz=40.0,
        phase_offset_rad=0.2,
        coil_phase_rad=1.0,
        texture_ppm=0.012,
        texture_mm=1.2,
        bandwidth_hz=260.0,
    ),
    content=Content(
        cells=(30, 60, 100, 200, 300, 500, 1000, 2000, 5000, 10000, 20000),
        iron_per_cell_pg=_STEM_CELL_PG,
        cell_radius_um=_STEM_CELL_UM,
        ms_am2_per_kg_fe=_MS,
        solid_grafts=((200_000, (5000.0, 3000.0, 3000.0)),),
        n_trees=4,
        root_radius_um=1200.0,
        twig_radius_um=350.0,
        blood_per_s=25.0,
        n_haemorrhages=6,
        haemorrhage_um=(500.0, 2000.0),
        haemorrhage_delta_chi=(0.3e-6, 1.0e-6),
        n_calcifications=3,
        calcification_um=(400.0, 1500.0),
        cavities_um=(11_000.0,),
    ),
)

_HUMAN_BRAIN_7T = Preset(
    "human-brain-7t",
    "Human brain with labelled stem cells, 7 T, four echoes, oblique slab, zero-filled slices",
    "homo sapiens",
    voxel_mm=(0.5, 0.5, 1.0),
    rotation_deg=(12.0, 0.0, -3.0),
    scan=_scan(
        (192, 208, 48),
        (5.0, 10.0, 15.0, 20.0),
        7.0,
        phase_sign=PhaseSign.NEGATIVE,
        snr=45.0,
        r2star_per_s=33.0,
        r2star_variation=0.25,
        density_variation=0.1,
        structure_mm=4.0,
        support=(AxisSupport(), AxisSupport(), _THREE_QUARTERS),
        tissue_fraction=0.94,
        receive_variation=0.45,
        noise_variation=0.5,
        background_hz=60.0,
        phase_offset_rad=-0.3,
        coil_phase_rad=1.2,
        texture_ppm=0.012,
        texture_mm=0.8,
        bandwidth_hz=350.0,
    ),
    content=Content(
        cells=(10, 20, 40, 80, 150, 300, 600, 1200, 3000),
        iron_per_cell_pg=_STEM_CELL_PG,
        cell_radius_um=_STEM_CELL_UM,
        ms_am2_per_kg_fe=_MS,
        solid_grafts=((50_000, (3000.0, 2000.0, 2000.0)),),
        n_trees=4,
        root_radius_um=800.0,
        twig_radius_um=220.0,
        blood_per_s=110.0,
        n_haemorrhages=5,
        haemorrhage_um=(300.0, 1200.0),
        haemorrhage_delta_chi=(0.3e-6, 1.0e-6),
        n_calcifications=3,
        calcification_um=(250.0, 900.0),
    ),
)

_MOUSE_LIVER = Preset(
    "mouse-liver-7t",
    "Mouse liver with labelled progenitors, 7 T, four bipolar echoes, moved by breathing",
    "mus musculus",
    voxel_mm=(0.12, 0.12, 0.25),
    rotation_deg=(0.0, 0.0, 8.0),
    scan=_scan(
        (144, 120, 40),
        (1.8, 3.4, 5.0, 6.6),
        7.0,
        snr=35.0,
        r2star_per_s=75.0,
        r2star_variation=0.15,
        density_variation=0.05,
        structure_mm=1.5,
        fat_share=0.08,
        is_fat_diffuse=True,
        tissue_fraction=0.9,
        receive_variation=0.35,
        noise_variation=0.15,
        background_hz=150.0,
        phase_offset_rad=0.9,
        coil_phase_rad=0.8,
        texture_ppm=0.015,
        texture_mm=0.2,
        bandwidth_hz=700.0,
        is_bipolar=True,
    ),
    content=Content(
        cells=(1, 2, 3, 5, 8, 15, 30, 60, 120, 300),
        iron_per_cell_pg=_PROGENITOR_PG,
        cell_radius_um=_PROGENITOR_UM,
        ms_am2_per_kg_fe=_MS,
        grafts=((600, (600.0, 400.0, 300.0)),),
        n_trees=3,
        root_radius_um=300.0,
        twig_radius_um=80.0,
        blood_per_s=20.0,
        n_haemorrhages=2,
        haemorrhage_um=(50.0, 150.0),
        n_bubbles=2,
        bubble_um=(30.0, 80.0),
        n_calcifications=1,
        calcification_um=(50.0, 150.0),
        cavities_um=(1000.0,),
    ),
    motion_mm=0.03,
)

#: Every preset by its name.
PRESETS: Final = MappingProxyType(
    {
        preset.name: preset
        for preset in (_GEL, _MOUSE_BRAIN, _RAT_HINDLIMB, _HUMAN_BRAIN_3T, _HUMAN_BRAIN_7T, _MOUSE_LIVER)
    }
)
