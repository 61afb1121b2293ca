"""Branching trees of veins."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from ferrosight.simulate.spec import Position, Vein

FloatArray = NDArray[np.float64]

#: Length of a branch over its radius, pieces per branch, and how far each piece turns, degrees. Assumptions.
_LENGTH_PER_RADIUS = 18.0
_PIECES = 3
_BEND_DEG = 8.0

#: Share of the parent's radius that the larger daughter of a fork has, from and to. Assumption.
_LARGER_DAUGHTER = (0.65, 0.9)


def grow_vessel_tree(
    root_mm: Position,
    direction: Position,
    radius_um: float,
    twig_radius_um: float,
    rng: np.random.Generator,
    *,
    delta_chi: float,
    inside_per_s: float = 0.0,
    is_inside: Callable[[FloatArray], bool] = lambda _: True,
) -> tuple[Vein, ...]:
    """A tree of straight pieces from ``root_mm`` (RAS+) along ``direction``, forking in two until it is thin.

    At a fork the cubes of the radii add up, and the angles cost the least (Murray 1926, doi
    10.1073/pnas.12.3.207 and 10.1085/jgp.9.6.835). A branch ends where it is thinner than ``twig_radius_um``
    or where ``is_inside``, asked at the ends of its pieces, no longer holds once it did. Every end of a vessel
    is a weak magnetic pole: begin the root outside what gives signal.
    """
    veins: list[Vein] = []
    along = np.array(direction, dtype=np.float64)
    pending = [(np.array(root_mm, dtype=np.float64), along / np.linalg.norm(along), radius_um, False)]
    while pending:
        at, along, radius, entered = pending.pop()
        for _ in range(_PIECES):
            along = _turn(along, math.radians(_BEND_DEG) * rng.normal(), rng.uniform(0, 2 * math.pi))
            end = at + along * radius * 1e-3 * _LENGTH_PER_RADIUS / _PIECES
            veins.append(Vein(_position(at), _position(end), radius, delta_chi, inside_per_s=inside_per_s))
            at = end
            inside = is_inside(at)
            left = entered and not inside
            entered = entered or inside
            if left:
                break
        if left:
            continue
        pending += [(at, way, one, entered) for way, one in _fork(along, radius, rng) if one >= twig_radius_um]
    return tuple(veins)


def _fork(along: FloatArray, radius: float, rng: np.random.Generator) -> list[tuple[FloatArray, float]]:
    larger = radius * rng.uniform(*_LARGER_DAUGHTER)
    smaller = float(np.cbrt(radius**3 - larger**3))
    around = rng.uniform(0, 2 * math.pi)
    return [
        (_turn(along, _fork_angle(radius, one, other), around + side), one)
        for one, other, side in ((larger, smaller, 0.0), (smaller, larger, math.pi))
    ]


def _fork_angle(parent: float, one: float, other: float) -> float:
    """Angle between a parent and its daughter ``one``, radians: cos = (r0⁴ + r1⁴ - r2⁴)/(2 r0² r1²)."""
    return math.acos(max(-1.0, min(1.0, (parent**4 + one**4 - other**4) / (2 * parent**2 * one**2))))


def _turn(along: FloatArray, angle: float, around: float) -> FloatArray:
    """A unit vector at ``angle`` to ``along``, ``around`` saying on which side."""
    first = np.zeros(3)
    first[int(np.argmin(np.abs(along)))] = 1.0
    first -= (first @ along) * along
    first /= np.linalg.norm(first)
    side = math.cos(around) * first + math.sin(around) * np.cross(along, first)
    return np.asarray(math.cos(angle) * along + math.sin(angle) * side)


def _position(point: FloatArray) -> Position:
    return float(point[0]), float(point[1]), float(point[2])
