"""Subjects who are scanned again and again with particles that seek their cells: what lies in them at each visit.

Tissue and protocol are a preset's, its field of view cut; veins, haemorrhages, bubbles and mineral are as many as the
preset has in that volume (Poisson). Its cavities are left out: a cut-out of a brain's middle has none. The subject lies
differently at every visit, as in the demo. Sizes of clusters are counted in the noise that ``ferrosight plan`` expects.
"""

from __future__ import annotations

import dataclasses
import functools
import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from ferrosight.limits import find_limit
from ferrosight.physics.labels import get_label, magnetisation_am2_per_kg_fe
from ferrosight.simulate import (
    PRESET_LABEL_ID,
    Preset,
    ScanSpec,
    Source,
    Sphere,
    Vein,
    build_affine,
    build_graft,
    get_preset,
)
from ferrosight.simulate.anatomy import MOST_PLACED, Content, dense_half_axes, draw_placed, draw_sources
from ferrosight.simulate.background import is_in_tissue
from ferrosight.simulate.courses import STEP_VOXELS, Course, draw_dose, draw_wandering
from ferrosight.types import Grid, Protocol, Scan, Search
from ferrosight.types.plan import PlanDesign

FloatArray = NDArray[np.float64]

#: What a cell binds of each dose, and how large it is. Assumptions.
IRON_PER_CELL_PG, CELL_RADIUS_UM = 1.0, 7.0
#: Clusters that stay, and how large they are, in noise standard deviations (log-uniform): some below the threshold.
N_STABLE, SIZES_SD = 5, (4.0, 20.0)
#: The relapse's first cells over those that would be found, and how differently subjects' cells double (assumptions).
START_SHARE, DOUBLING_CV = 0.125, 0.2
#: Clusters lie that far apart and from other bodies and the tissue's edge, finest voxel edges.
_APART, _CLEAR, _DEEP = 10.0, 2.0, 3.0


@dataclass(frozen=True)
class Case:
    """A preset with the field of view and the days that its subjects are scanned with."""

    preset: str
    shape: tuple[int, int, int]
    interval_days: float
    doubling_days: float


CASES = {
    "mouse-brain-9t": Case("mouse-brain-9t", (48, 48, 32), 7.0, 7.0),
    "human-brain-3t": Case("human-brain-3t", (48, 48, 24), 30.0, 30.0),
}


@dataclass(frozen=True)
class Body:
    """A cluster that is to be followed: cells at the first visit, how fast they double (infinite: not at all)."""

    place_mm: FloatArray
    n_cells: int
    doubling_days: float = math.inf

    def count(self, day: float) -> int:
        """Its cells on a day."""
        grown = 1.0 if math.isinf(self.doubling_days) else 2 ** (day / self.doubling_days)
        return max(round(self.n_cells * grown), 1)


@dataclass(frozen=True)
class Subject:
    """Whom ``draw_subject`` made: the scan with all that is not followed, and the clusters that are."""

    case: Case
    spec: ScanSpec
    bodies: tuple[Body, ...]
    seed: int
    magnetisation: float


def build_protocol(preset: Preset) -> Protocol:
    """The preset's protocol as the ideal observer takes it."""
    grid = Grid(preset.scan.shape, build_affine(preset.scan.shape, preset.voxel_mm, preset.rotation_deg))
    b0 = grid.direction_in_array(np.asarray(preset.scan.b0_direction))
    return Protocol(
        preset.scan.b0_t,
        preset.scan.echo_times_s,
        preset.voxel_mm,
        preset.scan.snr,
        preset.scan.r2star_per_s,
        (float(b0[0]), float(b0[1]), float(b0[2])),
        preset.scan.support,
    )


def build_search(preset: Preset) -> Search:
    """Found with a chance of 90 % where 0.01 false ones are to be expected in the preset's own field of view."""
    return Search(0.9, 0.01, float(np.prod(preset.scan.shape)))


@functools.cache
def find_cells_per_sd(name: str) -> tuple[float, float]:
    """Of a preset: cells that weigh as much as one standard deviation of a measurement's noise, and that are found."""
    preset = get_preset(name)
    limit = find_limit(build_protocol(preset), build_search(preset))
    over_ideal = PlanDesign.__dataclass_fields__["noise_over_ideal"].default
    magnetisation = magnetisation_am2_per_kg_fe(get_label(PRESET_LABEL_ID), preset.scan.b0_t)
    per_sd = over_ideal * limit.moment_am2 / limit.d_prime_required / (magnetisation * IRON_PER_CELL_PG * 1e-15)
    return float(per_sd), float(limit.threshold * per_sd)


def draw_subject(case: Case, seed: int, *, n_stable: int, sizes_sd: tuple[float, float], relapses: bool) -> Subject:
    """A subject, the same for the same seed: clusters that stay, and one more that grows from the first visit on."""
    preset = get_preset(case.preset)
    rng = np.random.default_rng([seed, 1])
    spec = dataclasses.replace(
        preset.scan,
        shape=case.shape,
        affine=build_affine(case.shape, preset.voxel_mm, preset.rotation_deg),
        background_hz=preset.scan.background_hz
        * min(max(n / full for n, full in zip(case.shape, preset.scan.shape, strict=True)), 1.0),
    )
    share = float(np.prod(case.shape) / np.prod(preset.scan.shape))
    counts = ("n_trees", "n_haemorrhages", "n_bubbles", "n_calcifications")
    content = dataclasses.replace(
        preset.content,
        cells=(),
        grafts=(),
        solid_grafts=(),
        cavities_um=(),
        **{name: int(rng.poisson(share * getattr(preset.content, name))) for name in counts},
    )
    spec = draw_sources(spec, content, 1.0, np.random.SeedSequence([seed, 2]), 0.0)
    per_sd, found = find_cells_per_sd(case.preset)
    sizes = np.exp(rng.uniform(*np.log(sizes_sd), n_stable)) * per_sd
    places = _draw_places(spec, n_stable + relapses, rng)
    bodies = [Body(place, max(round(float(n)), 1)) for place, n in zip(places, sizes, strict=False)]
    if relapses:
        log_sd = math.sqrt(math.log1p(DOUBLING_CV**2))
        doubling = case.doubling_days * math.exp(log_sd * rng.standard_normal())
        bodies.append(Body(places[-1], max(round(START_SHARE * found), 1), doubling))
    magnetisation = magnetisation_am2_per_kg_fe(get_label(PRESET_LABEL_ID), spec.b0_t)
    return Subject(case, spec, tuple(bodies), seed, magnetisation)


def _draw_places(spec: ScanSpec, n: int, rng: np.random.Generator) -> list[FloatArray]:
    """Places (n, 3), RAS+ mm, in tissue, clear of each other and of all that lies there."""
    edge = min(spec.grid.voxel_mm)
    places: list[FloatArray] = []
    for _ in range(100_000):
        if len(places) == n:
            return places
        ijk = rng.uniform(0, np.array(spec.shape) - 1)
        spot = spec.grid.to_mm(ijk)
        if not is_in_tissue(spec, ijk[None], _DEEP * edge)[0]:
            continue
        if any(np.linalg.norm(spot - other) < _APART * edge for other in places):
            continue
        if all(measure_gap(source, spot) > _CLEAR * edge for source in spec.sources):
            places.append(spot)
    raise SystemExit(f"no room for {n} clusters in {spec.shape}.")


def measure_gap(source: Source, spot: FloatArray) -> float:
    """From a place to a source's surface, mm."""
    if isinstance(source, Vein):
        start, end = np.array(source.start_mm), np.array(source.end_mm)
        along = np.clip((spot - start) @ (end - start) / ((end - start) @ (end - start)), 0, 1)
        return float(np.linalg.norm(start + along * (end - start) - spot)) - source.radius_um * 1e-3
    assert isinstance(source, Sphere)
    return float(np.linalg.norm(np.array(source.position_mm) - spot)) - source.radius_um * 1e-3


def find_dose(subject: Subject, day: float) -> float:
    """Label that arrives on a day over what is meant to, the same for all clusters."""
    return draw_dose(np.random.SeedSequence([subject.seed, 3]), day)


def build_visit(subject: Subject, day: float) -> ScanSpec:
    """The scan of a day with all that lies in the subject, as it lies at the first visit."""
    dose, edge = find_dose(subject, day), min(subject.spec.grid.voxel_mm)
    followed = []
    for number, body in enumerate(subject.bodies):
        walk = draw_wandering(day, STEP_VOXELS * edge, np.random.default_rng([subject.seed, 4, number]))
        x, y, z = body.place_mm + walk
        followed.append(_build_body(subject, number, body.count(day), (float(x), float(y), float(z)), dose))
    return dataclasses.replace(subject.spec, sources=(*followed, *subject.spec.sources))


def _build_body(subject: Subject, number: int, n: int, place: tuple[float, float, float], dose: float) -> Source:
    """``n`` cells packed into a ball: one by one, each with its own load, or, where they are many, evenly."""
    half_axes = dense_half_axes(n, CELL_RADIUS_UM)
    name = f"labelled-{number + 1:02d}"
    if n > MOST_PLACED:
        iron_pg = n * IRON_PER_CELL_PG * dose
        moment = subject.magnetisation * iron_pg * 1e-15
        graft = build_graft(place, half_axes, moment, subject.spec.b0_t, iron_pg=iron_pg, n_cells=n)
        return dataclasses.replace(graft, object_id=name)
    content = Content(
        iron_per_cell_pg=IRON_PER_CELL_PG, cell_radius_um=CELL_RADIUS_UM, ms_am2_per_kg_fe=subject.magnetisation
    )
    rng = np.random.default_rng([subject.seed, 5, number])
    # All that there could ever be are drawn, so that a cell has the same load and direction at every visit.
    cells = draw_placed(place, MOST_PLACED, half_axes, content, rng, 0.0, Course(), dose)
    assert cells is not None
    iron_pg = float(cells.moments_am2[:n].sum() / subject.magnetisation * 1e15)
    return dataclasses.replace(
        cells,
        positions_mm=cells.positions_mm[:n],
        moments_am2=cells.moments_am2[:n],
        iron_pg=iron_pg,
        n_cells=n,
        object_id=name,
    )


def find_volume_mm3(n_cells: int) -> float:
    """Volume of the ball that so many cells are packed into."""
    return 4 / 3 * math.pi * (dense_half_axes(max(n_cells, 2), CELL_RADIUS_UM)[0] * 1e-3) ** 3


def measure_void(scan: Scan, place_mm: FloatArray, *, reach: float = 10.0, dark: float = 0.5) -> float:
    """Volume, mm³, of the dark spot at a place of the last echo, as an eye would see it; 0 for none.

    Dark is below half of the median magnitude within ten finest voxel edges; the spot is all that hangs together and
    comes within one and a half of them of the place.
    """
    magnitude = np.abs(scan.signal[-1])
    points = np.stack(np.meshgrid(*(np.arange(n) for n in magnitude.shape), indexing="ij"), axis=-1)
    edge = min(scan.grid.voxel_mm)
    far = np.linalg.norm(scan.grid.to_mm(points) - place_mm, axis=-1)
    near = far <= reach * edge
    labels, _ = ndimage.label((magnitude < dark * np.median(magnitude[near])) & near)
    hit = np.unique(labels[far <= 1.5 * edge])
    size = np.isin(labels, hit[hit > 0]).sum()
    return float(size * np.prod(scan.grid.voxel_mm))
