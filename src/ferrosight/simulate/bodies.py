"""Magnetised bodies as the simulator sees them: their field anywhere, and how fast it changes.

All lengths are metres along the array's axes, fields are Hz, positive where B0 is strengthened.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from ferrosight.physics.constants import GAMMA_HZ_PER_T, MU0
from ferrosight.simulate._kernels import add_curvatures, add_dipoles, add_far_dipoles, add_tube, measure_to_segment

FloatArray = NDArray[np.float64]

#: Field of a dipole: (Hz m³ per A m²) · m · (3cos²θ-1)/r³.
HZ_M3_PER_AM2 = GAMMA_HZ_PER_T * MU0 / (4 * np.pi)

#: Beyond this many radii a swarm of cells is seen as one point at its centroid. A dozen cells deviate there by about
#: 2 % of their own field, and swarms side by side each in a way of their own.
_SWARM_RADII = 6.0

#: Nearer to a point than this its far field grows no more: it is taken out of sums again, and has to leave no trace.
_FAR_FLOOR_M = 1e-7

#: Of a field A(3cos²θ-1)/r³ the largest second derivative is 24A/r⁵ (on the axis).
_CURVATURE = 24.0


class Body(ABC):
    """A magnetised body. Points are (n, 3)."""

    @abstractmethod
    def field_and_gradient(self, points: FloatArray) -> tuple[FloatArray, FloatArray]:
        """Field (n,), Hz, and its gradient (n, 3), Hz/m, with every part of the body in its place."""

    @abstractmethod
    def far_field(self, points: FloatArray) -> FloatArray:
        """Field (n,), Hz, with a swarm taken as one point where that makes no difference; finite everywhere."""

    @abstractmethod
    def add_relaxation(self, points: FloatArray, total: FloatArray) -> None:
        """Add to ``total`` (n,) what the body's inside relaxes faster than tissue, s⁻¹; infinite in a void."""

    @abstractmethod
    def distance(self, points: FloatArray) -> FloatArray:
        """Distance (n,) from the body's outermost part; zero inside."""

    @abstractmethod
    def curvature(self, points: FloatArray, radius_m: float) -> FloatArray:
        """Largest second derivative (n,), Hz/m², of the field within ``radius_m`` of each point; may be infinite."""

    @abstractmethod
    def needs_finer_cells(self, points: FloatArray, cell_m: FloatArray) -> NDArray[np.bool_]:
        """Whether a cell (edges (3,)) at each point (n,) is too coarse: at a point, or across its core's edge."""

    @abstractmethod
    def reach_where_curvature(self, limit: float) -> float:
        """Distance (m) beyond which the second derivative of the field is below ``limit`` (Hz/m²)."""

    @abstractmethod
    def reach_where_field(self, limit_hz: float) -> float:
        """Distance (m) beyond which the field is below ``limit_hz``."""

    @abstractmethod
    def bounds(self) -> tuple[FloatArray, FloatArray]:
        """Lower and upper corner (3,) of the box around the body."""


@dataclass(frozen=True)
class Swarm(Body):
    """Point dipoles (one or many) at ``positions_m`` (n, 3) of strength ``amplitudes`` (n,), Hz m³.

    Inside ``core_m`` the field stops growing inwards; where ``is_sphere``, it is zero inside instead, as in a
    uniform sphere, whose inside relaxes faster than tissue by ``inside_per_s`` (infinite in a void).
    """

    positions_m: FloatArray
    amplitudes: FloatArray
    core_m: float
    b0: FloatArray
    is_sphere: bool = False
    inside_per_s: float = 0.0
    centroid_m: FloatArray = field(init=False)
    extent_m: float = field(init=False)

    def __post_init__(self) -> None:
        weights = np.abs(self.amplitudes) / np.abs(self.amplitudes).sum() if np.any(self.amplitudes) else None
        centroid = np.average(self.positions_m, axis=0, weights=weights)
        object.__setattr__(self, "centroid_m", centroid)
        object.__setattr__(self, "extent_m", float(np.linalg.norm(self.positions_m - centroid, axis=1).max()))

    def field_and_gradient(self, points: FloatArray) -> tuple[FloatArray, FloatArray]:
        total, gradient = np.zeros(len(points)), np.zeros((len(points), 3))
        add_dipoles(
            points,
            self.positions_m,
            self.amplitudes,
            self.core_m,
            self.is_sphere,
            self.b0,
            self.centroid_m,
            self._far_m,
            total,
            gradient,
        )
        return total, gradient

    @property
    def _far_m(self) -> float:
        """Distance from the centroid beyond which many cells are as good as one point."""
        return np.inf if len(self.positions_m) == 1 else _SWARM_RADII * self.extent_m + self.core_m

    def far_field(self, points: FloatArray) -> FloatArray:
        total = np.zeros(len(points))
        floor = max(self.core_m, _FAR_FLOOR_M)
        add_far_dipoles(points, self.positions_m, self.amplitudes, floor, self.b0, self.centroid_m, self._far_m, total)
        return total

    def add_relaxation(self, points: FloatArray, total: FloatArray) -> None:
        if self.inside_per_s:
            total[((points - self.positions_m[0]) ** 2).sum(axis=1) < self.core_m**2] += self.inside_per_s

    def distance(self, points: FloatArray) -> FloatArray:
        from_centroid = measure_to_segment(points, self.centroid_m, np.zeros(3), 0.0)
        return np.asarray(np.maximum(from_centroid - self.extent_m - self.core_m, 0.0))

    def curvature(self, points: FloatArray, radius_m: float) -> FloatArray:
        total = np.zeros(len(points))
        floor = max(self.core_m, 0.1 * radius_m)
        nearest = add_curvatures(points, self.positions_m, _CURVATURE * np.abs(self.amplitudes), floor, radius_m, total)
        gap = nearest - self.core_m
        if self.is_sphere:
            total[gap < -radius_m] = 0.0
        total[(np.abs(gap) < radius_m) if self.core_m > 0 else (nearest < radius_m)] = np.inf
        return total

    def needs_finer_cells(self, points: FloatArray, cell_m: FloatArray) -> NDArray[np.bool_]:
        # of a swarm each point's share is small and its error is its own: they average out
        if len(self.positions_m) > 1:
            return np.zeros(len(points), dtype=np.bool_)
        diagonal = float(np.linalg.norm(cell_m))
        r = np.linalg.norm(points - self.centroid_m, axis=1)
        at_edge = np.abs(r - self.core_m) < diagonal
        return np.asarray(at_edge if self.is_sphere else at_edge | (r < 2 * diagonal))

    def reach_where_curvature(self, limit: float) -> float:
        from_centre = float((_CURVATURE * np.abs(self.amplitudes).sum() / limit) ** 0.2)
        return from_centre if len(self.positions_m) > 1 else max(from_centre - self.core_m, 0.0)

    def reach_where_field(self, limit_hz: float) -> float:
        from_centre = float(np.cbrt(2 * np.abs(self.amplitudes).sum() / limit_hz))
        return from_centre if len(self.positions_m) > 1 else max(from_centre - self.core_m, 0.0)

    def bounds(self) -> tuple[FloatArray, FloatArray]:
        reach = self.extent_m + self.core_m
        return self.centroid_m - reach, self.centroid_m + reach


@dataclass(frozen=True)
class Tube(Body):
    """A straight cylinder of dipoles from ``start_m`` along the unit vector ``axis``.

    Outside its radius it is a line of dipoles of finite length, exactly; inside, the field of an infinite
    cylinder, which is wrong only within about a radius of its ends. Blood in it relaxes faster than tissue by
    ``inside_per_s``.
    """

    start_m: FloatArray
    axis: FloatArray
    length_m: float
    radius_m: float
    delta_chi: float
    b0_hz: float
    b0: FloatArray
    inside_per_s: float = 0.0

    def field_and_gradient(self, points: FloatArray) -> tuple[FloatArray, FloatArray]:
        field, gradient = np.zeros(len(points)), np.zeros((len(points), 3))
        self._add(points, field, gradient)
        return field, gradient

    def far_field(self, points: FloatArray) -> FloatArray:
        field = np.zeros(len(points))
        self._add(points, field, np.zeros((0, 3)))
        return field

    def _add(self, points: FloatArray, field: FloatArray, gradient: FloatArray) -> None:
        shift_hz = self.b0_hz * self.delta_chi
        add_tube(points, self.start_m, self.axis, self.length_m, self.radius_m, shift_hz, self.b0, field, gradient)

    def add_relaxation(self, points: FloatArray, total: FloatArray) -> None:
        if self.inside_per_s:
            total[self._to_axis(points) < self.radius_m] += self.inside_per_s

    def _to_axis(self, points: FloatArray) -> FloatArray:
        return np.asarray(measure_to_segment(points, self.start_m, self.axis, self.length_m))

    def distance(self, points: FloatArray) -> FloatArray:
        return np.maximum(self._to_axis(points) - self.radius_m, 0.0)

    def curvature(self, points: FloatArray, radius_m: float) -> FloatArray:
        rho = self._to_axis(points)
        # |d²/dρ² of (Δχ/2)a²/ρ²| = 3Δχ a²/ρ⁴. A twelfth of it still keeps the voxels at the wall within 1 %,
        # and a vein has many of them
        outside = 0.25 * self.b0_hz * abs(self.delta_chi) * self.radius_m**2
        result = outside / np.maximum(rho - radius_m, self.radius_m) ** 4
        return np.where(rho < self.radius_m - radius_m, 0.0, result)

    def needs_finer_cells(self, points: FloatArray, cell_m: FloatArray) -> NDArray[np.bool_]:  # noqa: ARG002
        return np.zeros(len(points), dtype=np.bool_)

    def reach_where_curvature(self, limit: float) -> float:
        return float((3 * self.b0_hz * abs(self.delta_chi) * self.radius_m**2 / limit) ** 0.25)

    def reach_where_field(self, limit_hz: float) -> float:
        strength = self.b0_hz * abs(self.delta_chi) / 2 * self.radius_m**2
        # whichever comes first: what an endless vein does, or a point of all its moment
        return float(min(np.sqrt(strength / limit_hz), np.cbrt(strength * self.length_m / limit_hz)))

    def bounds(self) -> tuple[FloatArray, FloatArray]:
        ends = np.stack([self.start_m, self.start_m + self.length_m * self.axis])
        return ends.min(axis=0) - self.radius_m, ends.max(axis=0) + self.radius_m
