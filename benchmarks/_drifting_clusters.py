"""Clusters that drift, split, merge and go unseen, by other rules than the ones linking expects.

Homes wander; a cluster is pulled back to its home (an Ornstein–Uhlenbeck process in small steps) and now and then
leaps. Masses fade at a rate of each cluster's own, with jumps. A cluster that splits gives two homes that drift apart;
clusters near each other are drawn together and may fuse; two closer than the resolution are seen as one at the middle
of their mass. Detection depends on mass and on the place (a smooth map of noise, with corners that see little), and
each visit has false candidates, brighter places more of them, with masses near the limit of detection.
"""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components
from scipy.spatial import KDTree
from scipy.special import expit
from scipy.stats import gamma, norm

from ferrosight.types import Detections

_Floats = NDArray[np.float64]
_Ints = NDArray[np.int64]

AS_ONE_MM = 0.45
POSITION_ERR_MM = 0.05
LIMIT_AM2 = 1e-13
#: Log masses of false candidates over the local limit: a gamma distribution of two degrees, from here on.
FALSE_FROM, FALSE_SCALE = -0.1, 0.2


@dataclass(frozen=True)
class Scene:
    """What is simulated: ``spacing_mm`` is the cube root of the volume for each cluster."""

    n_clusters: int
    spacing_mm: float
    n_visits: int = 10
    days_between: float = 3.0
    pull_per_day: float = 0.15
    jitter_mm: float = 0.09
    wander_mm: float = 0.05
    leap_per_day: float = 0.004
    leap_mm: float = 0.8
    split_per_day: float = 0.006
    fuse_per_day: float = 0.02
    gone_per_day: float = 0.006
    new_per_day: float = 0.006
    false_share: float = 0.05


@dataclass(frozen=True)
class Story:
    """Detections, the true links between them (n_links, 2), and which of them are false candidates."""

    detections: Detections
    links: _Ints
    is_false: NDArray[np.bool_]


@dataclass
class _Bodies:
    """All bodies ever, growing: home, place, log mass, fade, whether there, and the bodies each came from."""

    home: _Floats
    place: _Floats
    mass: _Floats
    fade: _Floats
    alive: NDArray[np.bool_]
    parents: list[tuple[int, ...]]

    def add(self, home: _Floats, place: _Floats, mass: _Floats, fade: _Floats, parents: list[tuple[int, ...]]) -> None:
        self.home, self.place = np.concatenate([self.home, home]), np.concatenate([self.place, place])
        self.mass, self.fade = np.concatenate([self.mass, mass]), np.concatenate([self.fade, fade])
        self.alive = np.concatenate([self.alive, np.ones(len(home), dtype=bool)])
        self.parents += parents


def simulate_story(scene: Scene, rng: np.random.Generator) -> Story:
    """Draw a story; positions come with unequal errors along the axes, a registration error of each visit included."""
    side = scene.spacing_mm * np.cbrt(scene.n_clusters / scene.n_visits)
    bodies = _start(round(scene.n_clusters / scene.n_visits), side, rng)
    noise_map = _draw_noise_map(side, rng)
    visits = []
    for visit in range(scene.n_visits):
        if visit:
            for _ in range(6):
                _step(bodies, scene, scene.days_between / 6, side, rng)
        visits.append(_look(bodies, scene, noise_map, side, rng))
    return _tell(visits, bodies, scene, noise_map, side, rng)


def _start(n: int, side: float, rng: np.random.Generator) -> _Bodies:
    home = rng.uniform(0, side, (n, 3))
    mass = np.log(LIMIT_AM2) + rng.gamma(3.0, 0.6, n) + 0.3
    return _Bodies(home, home.copy(), mass, rng.gamma(2.0, 0.008, n), np.ones(n, dtype=bool), [()] * n)


def _step(bodies: _Bodies, scene: Scene, days: float, side: float, rng: np.random.Generator) -> None:
    """Move, fade, go, come, split and fuse over a small step."""
    live = np.flatnonzero(bodies.alive)
    leaps = rng.random(len(live)) < scene.leap_per_day * days
    bodies.home[live] += rng.normal(scale=scene.wander_mm * np.sqrt(days), size=(len(live), 3))
    bodies.home[live[leaps]] += rng.normal(scale=scene.leap_mm, size=(leaps.sum(), 3))
    pull = 1 - np.exp(-scene.pull_per_day * 4 * days)
    bodies.place[live] += pull * (bodies.home[live] - bodies.place[live])
    bodies.place[live] += rng.normal(scale=scene.jitter_mm * np.sqrt(days), size=(len(live), 3))
    jump = (rng.random(len(live)) < 0.01 * days) * rng.normal(-0.3, 0.2, len(live))
    bodies.mass[live] += -bodies.fade[live] * days + jump + rng.normal(scale=0.05 * np.sqrt(days), size=len(live))
    bodies.alive[live[rng.random(len(live)) < scene.gone_per_day * days]] = False
    n_new = rng.poisson(scene.new_per_day * days * bodies.alive.sum())
    fresh = _start(n_new, side, rng)
    bodies.add(fresh.home, fresh.place, fresh.mass, fresh.fade, fresh.parents)
    _split(bodies, scene, days, rng)
    _fuse(bodies, scene, days, rng)


def _split(bodies: _Bodies, scene: Scene, days: float, rng: np.random.Generator) -> None:
    live = np.flatnonzero(bodies.alive)
    ready = live[(rng.random(len(live)) < scene.split_per_day * days) & (bodies.mass[live] > np.log(3 * LIMIT_AM2))]
    if not len(ready):
        return
    share = rng.beta(4, 4, len(ready))
    way = rng.normal(size=(len(ready), 3))
    way /= np.linalg.norm(way, axis=1, keepdims=True)
    apart = way * rng.gamma(4.0, 0.25, len(ready))[:, None]
    for part, offset in ((share, 1 - share), (1 - share, -share)):
        home = bodies.home[ready] + apart * offset[:, None]
        place = bodies.place[ready] + 0.5 * apart * offset[:, None]
        parents = [(int(parent),) for parent in ready]
        bodies.add(home, place, bodies.mass[ready] + np.log(part), bodies.fade[ready], parents)
    bodies.alive[ready] = False


def _fuse(bodies: _Bodies, scene: Scene, days: float, rng: np.random.Generator) -> None:
    live = np.flatnonzero(bodies.alive)
    used: set[int] = set()
    pairs = KDTree(bodies.place[live]).query_pairs(1.2, output_type="ndarray") if len(live) > 1 else np.zeros((0, 2))
    for p, q in pairs[rng.random(len(pairs)) < scene.fuse_per_day * days].astype(int):
        a, b = int(live[p]), int(live[q])
        if a in used or b in used:
            continue
        used |= {a, b}
        total = np.logaddexp(bodies.mass[a], bodies.mass[b])
        share = np.exp(bodies.mass[a] - total)
        middle = share * bodies.place[a] + (1 - share) * bodies.place[b]
        fade = np.array([share * bodies.fade[a] + (1 - share) * bodies.fade[b]])
        bodies.add(middle[None], middle[None], np.array([total]), fade, [(a, b)])
        bodies.alive[[a, b]] = False


def _draw_noise_map(side: float, rng: np.random.Generator) -> tuple[_Floats, _Floats, _Floats]:
    """Waves that make up the logarithm of the local noise: wave vectors, phases, sizes."""
    n = 12
    return rng.normal(scale=2 * np.pi / side * 2, size=(n, 3)), rng.uniform(0, 2 * np.pi, n), np.full(n, 0.18)


def _local_limit(place: _Floats, noise_map: tuple[_Floats, _Floats, _Floats], side: float) -> _Floats:
    """Log moment found half the time at each place: higher towards two corners."""
    waves, phases, sizes = noise_map
    smooth = np.cos(place @ waves.T + phases) @ sizes
    corner = np.linalg.norm(place / side - np.array([0.0, 0.0, 1.0]), axis=1)
    return np.log(LIMIT_AM2) + smooth + 2.0 * np.exp(-((corner / 0.35) ** 2))


def _chance(mass: _Floats, place: _Floats, noise_map: tuple[_Floats, _Floats, _Floats], side: float) -> _Floats:
    return 0.98 * expit(5 * (mass - _local_limit(place, noise_map, side)))


@dataclass(frozen=True)
class _Seen:
    place: _Floats
    mass: _Floats
    bodies: list[list[int]]


def _look(
    bodies: _Bodies, scene: Scene, noise_map: tuple[_Floats, _Floats, _Floats], side: float, rng: np.random.Generator
) -> _Seen:
    """What a visit shows: bodies nearer than the resolution as one, if seen at all, and false candidates."""
    live = np.flatnonzero(bodies.alive)
    pairs = KDTree(bodies.place[live]).query_pairs(AS_ONE_MM, output_type="ndarray")
    graph = coo_array((np.ones(len(pairs)), (pairs[:, 0], pairs[:, 1])), shape=(len(live), len(live)))
    n_seen, group = connected_components(graph, directed=False)
    mass = np.exp(bodies.mass[live])
    total = np.bincount(group, mass, n_seen)
    place = np.stack([np.bincount(group, mass * bodies.place[live, i], n_seen) / total for i in range(3)], axis=1)
    order = np.argsort(group, kind="stable")
    members = [live[own].tolist() for own in np.split(order, np.cumsum(np.bincount(group, minlength=n_seen))[:-1])]
    found = rng.random(n_seen) < _chance(np.log(total), place, noise_map, side)
    n_false = rng.poisson(scene.false_share * len(live))
    false_place = rng.uniform(0, side, (n_false, 3))
    false_mass = _local_limit(false_place, noise_map, side) + rng.gamma(2.0, FALSE_SCALE, n_false) + FALSE_FROM
    kept = np.flatnonzero(found)
    return _Seen(
        np.concatenate([place[kept], false_place]),
        np.concatenate([np.log(total[kept]), false_mass]),
        [members[k] for k in kept] + [[] for _ in range(n_false)],
    )


def _tell(
    visits: list[_Seen],
    bodies: _Bodies,
    scene: Scene,
    noise_map: tuple[_Floats, _Floats, _Floats],
    side: float,
    rng: np.random.Generator,
) -> Story:
    """Add errors of measurement and registration, and trace who becomes whom."""
    visit = np.concatenate([np.full(len(seen.mass), t) for t, seen in enumerate(visits)])
    place = np.concatenate([seen.place for seen in visits])
    mass = np.concatenate([seen.mass for seen in visits])
    held = [own for seen in visits for own in seen.bodies]
    n = len(visit)
    shift = rng.normal(scale=0.03, size=(scene.n_visits, 3))
    relative = np.clip(0.5 * np.exp(_local_limit(place, noise_map, side) - mass), 0.02, 0.4)
    spread = POSITION_ERR_MM * (0.4 + 2 * relative)[:, None] * np.array([1.0, 1.0, 1.6])
    measured = place + shift[visit] + rng.normal(size=(n, 3)) * spread
    moment = np.exp(mass) * np.exp(rng.normal(size=n) * relative)
    covariance = np.zeros((n, 3, 3))
    covariance[:, range(3), range(3)] = spread**2 + 0.03**2
    chance = _chance(np.log(moment), measured, noise_map, side)
    names = [f"v{t:02d}_x{x:.4f}y{y:.4f}z{z:.4f}" for t, (x, y, z) in zip(visit, measured, strict=True)]
    share = _share_of_false(np.log(moment), _local_limit(measured, noise_map, side), relative)
    density = scene.false_share * n / scene.n_visits / side**3
    detections = Detections(
        sessions=tuple(f"v{t:02d}" for t in range(scene.n_visits)),
        days=np.arange(scene.n_visits) * scene.days_between,
        cluster_ids=np.array(names),
        visit=visit,
        position_mm=measured,
        covariance_mm2=covariance,
        moment_am2=moment,
        moment_am2_err=moment * relative,
        detection_probability=np.clip(np.repeat(chance[:, None], scene.n_visits, axis=1), 1e-3, 1.0),
        false_per_mm3=density * share,
        volume_mm3=side**3,
    )
    links = _trace(visit, held, bodies.parents)
    return Story(detections, links, np.array([not own for own in held]))


def _share_of_false(mass: _Floats, limit: _Floats, relative: _Floats) -> _Floats:
    """Density of the false candidates' measured log masses over that of all, which linking takes to be normal.

    A scan knows it from its own nulls: they say how many false candidates of a score to expect.
    """
    nodes, weights = np.polynomial.hermite_e.hermegauss(15)
    excess = (mass - limit)[:, None] + relative[:, None] * nodes - FALSE_FROM
    false = gamma.pdf(excess, 2.0, scale=FALSE_SCALE) @ (weights / weights.sum())
    return np.maximum(false / norm.pdf(mass, mass.mean(), max(float(mass.std()), 1.0)), 1e-6)


def _trace(visit: _Ints, held: list[list[int]], parents: list[tuple[int, ...]]) -> _Ints:
    """Links from each detection back to the last ones that held its bodies or what these came from."""
    last: dict[int, int] = {}
    links = set()
    by_visit = [np.flatnonzero(visit == t).tolist() for t in range(int(visit.max()) + 1)]
    for rows in by_visit:
        found = [(row, _look_back(body, last, parents)) for row in rows for body in held[row]]
        links |= {(source, row) for row, sources in found for source in sources}
        for row in rows:
            for body in held[row]:
                last[body] = row
    return np.array(sorted(links), dtype=np.int64).reshape(-1, 2)


def _look_back(body: int, last: dict[int, int], parents: list[tuple[int, ...]]) -> set[int]:
    if body in last:
        return {last[body]}
    return set().union(*(_look_back(parent, last, parents) for parent in parents[body]))


def thicken(scene: Scene, density: float) -> Scene:
    """The same scene with so many times the clusters in a volume."""
    return dataclasses.replace(scene, spacing_mm=scene.spacing_mm / np.cbrt(density))
