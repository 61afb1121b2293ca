"""What lies in a subject: labelled clusters that live and die, and everything that looks like them."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ferrosight.simulate.background import is_in_tissue
from ferrosight.simulate.courses import STEP_VOXELS, Course, CourseName, draw_course, draw_dose, draw_wandering
from ferrosight.simulate.spec import (
    PlacedCells,
    Position,
    ScanSpec,
    Source,
    Sphere,
    build_bubble,
    build_graft,
)
from ferrosight.simulate.vessels import grow_vessel_tree

FloatArray = NDArray[np.float64]
Range = tuple[float, float]

#: Most cells that are placed one by one in a dense cluster. More are a solid one.
MOST_PLACED = 300

#: Share of a dense cluster that is cells. Assumption.
_PACKING = 0.6

#: Spread of iron between single cells, relative. Assumption.
CELL_TO_CELL_CV = 0.5

#: How often a place is drawn before there is no more room.
_TRIES = 2000


@dataclass(frozen=True)
class Content:
    """What a preset puts into its full field of view; in a smaller one numbers shrink with the volume.

    Parameters
    ----------
    cells : cells of each dense cluster
    iron_per_cell_pg, cell_radius_um : a labelled cell
    ms_am2_per_kg_fe : the label's magnetisation
    grafts : cells and half axes (µm) of each graft, its cells scattered one by one
    solid_grafts : the same, with iron spread evenly
    particles_pg : iron of clusters that are no cells, log-uniform between these
    n_particles : how many
    n_trees, root_radius_um, twig_radius_um, blood_delta_chi, blood_per_s : trees of veins; blood relaxes
        faster than tissue by ``blood_per_s``
    n_haemorrhages, haemorrhage_um, haemorrhage_delta_chi, haemorrhage_per_s : their radii, uniform
    n_bubbles, bubble_um : gas, and radii
    n_calcifications, calcification_um, calcification_delta_chi : mineral without signal, and radii
    cavities_um : radii of air spaces, which lie in the edge of the tissue
    """

    cells: tuple[int, ...] = ()
    iron_per_cell_pg: float = math.nan
    cell_radius_um: float = 7.0
    ms_am2_per_kg_fe: float = math.nan
    grafts: tuple[tuple[int, Position], ...] = ()
    solid_grafts: tuple[tuple[int, Position], ...] = ()
    n_particles: int = 0
    particles_pg: Range = (math.nan, math.nan)
    n_trees: int = 0
    root_radius_um: float = math.nan
    twig_radius_um: float = math.nan
    blood_delta_chi: float = 0.4e-6
    blood_per_s: float = 0.0
    n_haemorrhages: int = 0
    haemorrhage_um: Range = (math.nan, math.nan)
    haemorrhage_delta_chi: Range = (0.5e-6, 2e-6)
    haemorrhage_per_s: float = 100.0
    n_bubbles: int = 0
    bubble_um: Range = (math.nan, math.nan)
    n_calcifications: int = 0
    calcification_um: Range = (math.nan, math.nan)
    calcification_delta_chi: float = -1.5e-6
    cavities_um: tuple[float, ...] = ()


def draw_sources(
    spec: ScanSpec,
    content: Content,
    share: float,
    seed: np.random.SeedSequence,
    day: float,
    course: CourseName = "mixed",
) -> ScanSpec:
    """The scan with a subject's sources in it, as they are on ``day`` after labelling.

    Before day 0 nothing is labelled. Nothing that is drawn depends on the day, so that a subject is the same on
    every day but for what its clusters' ``course`` does to them (see ``draw_course``), and every body has the same
    ``object_id``. ``share`` of the preset's field of view is seen: of every kind there is that share, at least one.
    """
    streams = seed.spawn(5)
    room = _Room(spec, np.random.default_rng(streams[0]))
    sources: list[Source | None] = []
    # cavities and veins first: what is smaller finds room beside them
    rng = np.random.default_rng(streams[1])
    sources += [room.add_cavity(radius_um, rng) for radius_um in content.cavities_um]
    rng = np.random.default_rng(streams[2])
    for _ in range(_scale(content.n_trees, share)):
        sources += _grow_tree(room, content, rng)
    clusters = _draw_clusters(room, content, share, spec.b0_t, streams[3], day, course)
    sources += clusters if day >= 0 else []
    sources += _draw_confusers(room, content, share, np.random.default_rng(streams[4]))
    return replace(spec, sources=tuple(_name(sources)))


class _Room:
    """Where something may still lie, in tissue and clear of what lies there already."""

    def __init__(self, spec: ScanSpec, rng: np.random.Generator) -> None:
        self._spec, self._rng = spec, rng
        self._taken: list[tuple[FloatArray, float]] = []
        self._veins = np.zeros((0, 3))
        self.finest_mm = min(spec.grid.voxel_mm)

    def take(self, radius_mm: float) -> Position | None:
        """A place (RAS+ mm) with ``radius_mm`` of tissue around it; ``None`` where there is no room left."""
        grid = self._spec.grid
        voxel = np.array(grid.voxel_mm)
        margin = np.minimum(np.ceil((radius_mm + voxel) / voxel), (np.array(grid.shape) - 1) / 2)
        clear = radius_mm + 2 * float(voxel.max())
        for _ in range(_TRIES):
            ijk = self._rng.uniform(margin, np.array(grid.shape) - 1 - margin)
            if not is_in_tissue(self._spec, ijk[None], radius_mm + float(voxel.max()))[0]:
                continue
            spot = grid.to_mm(ijk)
            if any(np.linalg.norm(spot - other) < clear + radius for other, radius in self._taken):
                continue
            if len(self._veins) and np.linalg.norm(self._veins - spot, axis=1).min() < radius_mm + voxel.min():
                continue
            self._taken.append((spot, radius_mm))
            return float(spot[0]), float(spot[1]), float(spot[2])
        return None

    def add_cavity(self, radius_um: float, rng: np.random.Generator) -> Source:
        """An air space whose centre lies on the tissue's surface."""
        edge = self.draw_surface(rng, 1.0)
        self._taken.append((edge, radius_um * 1e-3))
        return build_bubble((float(edge[0]), float(edge[1]), float(edge[2])), radius_um)

    def draw_surface(self, rng: np.random.Generator, of_radius: float) -> FloatArray:
        """A point (3,), RAS+ mm, at ``of_radius`` of the tissue's radius, in a random direction."""
        way = rng.normal(size=3)
        way /= np.linalg.norm(way)
        shape = np.array(self._spec.shape)
        half = shape / 2 * min(self._spec.tissue_fraction, 1.0)
        return np.asarray(self._spec.grid.to_mm((shape - 1) / 2 + way * half * of_radius))

    def add_vein(self, start_mm: Position, end_mm: Position) -> None:
        """Keep clear of a vein."""
        along = np.linspace(0, 1, 8)[:, None]
        points = np.array(start_mm) * (1 - along) + np.array(end_mm) * along
        self._veins = np.concatenate([self._veins, points])

    def holds(self, spot: FloatArray) -> bool:
        """Whether a point (3,), RAS+ mm, lies in tissue."""
        return bool(is_in_tissue(self._spec, self._spec.grid.to_ijk(spot)[None], 0.0)[0])


def _scale(n: int, share: float) -> int:
    return max(1, round(n * share)) if n else 0


def _grow_tree(room: _Room, content: Content, rng: np.random.Generator) -> list[Source]:
    root = room.draw_surface(rng, 1.15)
    target = room.draw_surface(rng, 0.3)
    way = target - root
    veins = grow_vessel_tree(
        (float(root[0]), float(root[1]), float(root[2])),
        (float(way[0]), float(way[1]), float(way[2])),
        content.root_radius_um,
        content.twig_radius_um,
        rng,
        delta_chi=content.blood_delta_chi,
        inside_per_s=content.blood_per_s,
        is_inside=room.holds,
    )
    for vein in veins:
        room.add_vein(vein.start_mm, vein.end_mm)
    return list(veins)


@dataclass(frozen=True)
class _Plan:
    """A cluster before it is placed: cells, half axes (µm) of where they lie, and what it is made of."""

    n: int
    half_axes_um: Position
    is_placed: bool
    is_graft: bool


def _draw_clusters(
    room: _Room, content: Content, share: float, b0_t: float, seed: np.random.SeedSequence, day: float, name: CourseName
) -> list[Source | None]:
    """Labelled clusters as they are on a day; None where a cluster is not there, or not yet."""
    dense = _spread(content.cells, share)
    plans = [_Plan(n, dense_half_axes(n, content.cell_radius_um), n <= MOST_PLACED, False) for n in dense]
    plans += [_Plan(n, half_axes, True, True) for n, half_axes in _spread(content.grafts, share)]
    plans += [_Plan(n, half_axes, False, True) for n, half_axes in _spread(content.solid_grafts, share)]
    # large ones first: they need the most room
    plans.sort(key=lambda plan: -max(plan.half_axes_um))
    sources: list[Source | None] = []
    streams = seed.spawn(len(plans) + 1)
    dose = draw_dose(seed, day) if name == "growing" else 1.0
    for plan, stream in zip(plans, streams, strict=False):
        spot = room.take(max(plan.half_axes_um) * 1e-3)
        if spot is None:
            continue
        rng = np.random.default_rng(stream)
        # what was transplanted does not grow: only what the label seeks and finds does
        course = Course() if plan.is_graft and name == "growing" else draw_course(name, rng)
        walked = draw_wandering(day, STEP_VOXELS * room.finest_mm, np.random.default_rng(stream.spawn(1)[0]))
        there = (float(spot[0] + walked[0]), float(spot[1] + walked[1]), float(spot[2] + walked[2]))
        plain = (there, plan.n, plan.half_axes_um, content, rng, max(day, 0.0), course, dose)
        sources.append(draw_placed(*plain) if plan.is_placed else _draw_solid(*plain, b0_t))
    rng = np.random.default_rng(streams[-1])
    for _ in range(_scale(content.n_particles, share)):
        iron_pg = math.exp(rng.uniform(*np.log(content.particles_pg)))
        spot = room.take(0.0)
        if spot is not None:
            moment = np.array([content.ms_am2_per_kg_fe * iron_pg * 1e-15])
            sources.append(PlacedCells(np.array([spot]), moment, 1.0, iron_pg=iron_pg, n_cells=math.nan))
    return sources


def _name(sources: Sequence[Source | None]) -> list[Source]:
    """The sources that are there, each with a name of its kind and number, which those that are not keep as well."""
    counts: Counter[str] = Counter()
    named = []
    for source in sources:
        kind = "labelled" if source is None else source.kind
        counts[kind] += 1
        if source is not None:
            named.append(replace(source, object_id=f"{kind}-{counts[kind]:02d}"))
    return named


def _spread(items: tuple[Any, ...], share: float) -> list[Any]:
    """``share`` of the items, at least one, evenly over their order."""
    n = _scale(len(items), min(share, 1.0))
    return [items[int(i)] for i in np.linspace(0, len(items) - 1, n).round()] if n else []


def dense_half_axes(n: int, cell_radius_um: float) -> Position:
    """Half axes, µm, of the ball that ``n`` packed cells lie in; a single cell lies at its middle."""
    radius = cell_radius_um * float(np.cbrt(n / _PACKING)) if n > 1 else 0.0
    return radius, radius, radius


def draw_placed(
    spot: Position,
    n: int,
    half_axes_um: Position,
    content: Content,
    rng: np.random.Generator,
    day: float,
    course: Course,
    dose: float,
) -> PlacedCells | None:
    """``n`` cells, each with its place, load and day of death, as they are on a day; None where none is there.

    ``half_axes_um`` are those of the cells on the first day. The same ``rng`` gives every cell the same place, load
    and death on every day; more of them lie farther out. ``dose`` is label that arrived over what was meant to.
    The label is saturated: its moment is the same in every magnet.
    """
    n_now, n_most = course.count_cells(n, day), course.count_most(n)
    way = rng.normal(size=(n_most, 3))
    way *= np.cbrt(rng.random((n_most, 1))) / np.linalg.norm(way, axis=1, keepdims=True)
    spread = math.sqrt(math.log(1 + CELL_TO_CELL_CV**2))
    iron_pg = rng.lognormal(math.log(content.iron_per_cell_pg) - spread**2 / 2, spread, n_most)
    iron_pg *= dose * course.iron_kept(day)
    alive = course.find_living(n_most, day, rng) & (np.arange(n_most) < n_now)
    if not alive.any():
        return None
    reach_um = np.array(_grow_half_axes(half_axes_um, n, n_now, content.cell_radius_um))
    return PlacedCells(
        np.array(spot) + way[alive] * reach_um * 1e-3,
        content.ms_am2_per_kg_fe * iron_pg[alive] * 1e-15,
        content.cell_radius_um,
        iron_pg=float(iron_pg[alive].sum()),
        n_cells=int(alive.sum()),
    )


def _draw_solid(
    spot: Position,
    n: int,
    half_axes_um: Position,
    content: Content,
    rng: np.random.Generator,
    day: float,
    course: Course,
    dose: float,
    b0_t: float,
) -> Source | None:
    """The same, with the iron of so many cells spread evenly."""
    turn = rng.uniform(0, 360, 3)
    n_now = course.count_cells(n, day)
    n_cells = round(n_now * course.share_living(day))
    iron_pg = n_cells * content.iron_per_cell_pg * dose * course.iron_kept(day)
    if not n_cells:
        return None
    return build_graft(
        spot,
        _grow_half_axes(half_axes_um, n, n_now, content.cell_radius_um),
        content.ms_am2_per_kg_fe * iron_pg * 1e-15,
        b0_t,
        rotation_deg=(float(turn[0]), float(turn[1]), float(turn[2])),
        iron_pg=iron_pg,
        n_cells=n_cells,
    )


def _grow_half_axes(half_axes_um: Position, n: int, n_now: int, cell_radius_um: float) -> Position:
    """Half axes of ``n_now`` cells that lie as densely as ``n`` did."""
    if n == 1:
        return dense_half_axes(n_now, cell_radius_um)
    x, y, z = (float(half_axis * np.cbrt(n_now / n)) for half_axis in half_axes_um)
    return x, y, z


def _draw_confusers(room: _Room, content: Content, share: float, rng: np.random.Generator) -> list[Source]:
    sources: list[Source] = []
    for _ in range(_scale(content.n_haemorrhages, share)):
        radius = rng.uniform(*content.haemorrhage_um)
        delta_chi = rng.uniform(*content.haemorrhage_delta_chi)
        spot = room.take(radius * 1e-3)
        if spot is not None:
            sources.append(Sphere(spot, radius, delta_chi, "haemorrhage", content.haemorrhage_per_s))
    for _ in range(_scale(content.n_bubbles, share)):
        radius = rng.uniform(*content.bubble_um)
        spot = room.take(radius * 1e-3)
        if spot is not None:
            sources.append(build_bubble(spot, radius))
    for _ in range(_scale(content.n_calcifications, share)):
        radius = rng.uniform(*content.calcification_um)
        spot = room.take(radius * 1e-3)
        if spot is not None:
            sources.append(Sphere(spot, radius, content.calcification_delta_chi, "calcification"))
    return sources
