"""A uniformly magnetised ellipsoid: an extended graft, a bleeding, a cavity."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ferrosight.simulate._kernels import measure_ellipsoid
from ferrosight.simulate.bodies import Body, FloatArray

#: Beyond this many longest half axes an ellipsoid is a point: the next term is below (3/10)/36, 0.8 %, for a needle.
_POINT_FROM = 6.0

#: Step, in shortest half axes, over which the field is differenced for its gradient.
_STEP = 1e-4


@dataclass(frozen=True)
class Spheroid(Body):
    """An ellipsoid of any three half axes, turned by ``axes`` (3, 3), whose columns are their unit vectors.

    ``delta_chi`` is its susceptibility difference to tissue, ``inside_per_s`` what its inside relaxes faster
    (infinite in a void). The field is exact: uniform inside, Δχ(1/3 - b·N·b) of B0 with the demagnetising
    tensor N, and outside that of the confocal ellipsoid through the point (Osborn 1945, doi
    10.1103/PhysRev.67.351), with a sphere of Lorentz taken out as in ``physics.dipole``.
    """

    centre_m: FloatArray
    half_axes_m: FloatArray
    axes: FloatArray
    delta_chi: float
    b0_hz: float
    b0: FloatArray
    inside_per_s: float = 0.0

    @property
    def _amplitude(self) -> float:
        """Strength A of A(3cos²θ-1)/r³ from afar, Hz m³."""
        return self.b0_hz * self.delta_chi * float(np.prod(self.half_axes_m)) / 3

    def field_and_gradient(self, points: FloatArray) -> tuple[FloatArray, FloatArray]:
        field = self.far_field(points)
        step = _STEP * float(self.half_axes_m.min())
        inside = self._norm(points) < 1
        gradient = np.zeros((len(points), 3))
        outside = points[~inside]
        for axis in range(3):
            # away from the body, lest the difference straddles its surface
            way = np.where(outside[:, axis] >= self.centre_m[axis], step, -step)
            moved = outside.copy()
            moved[:, axis] += way
            gradient[~inside, axis] = (self.far_field(moved) - field[~inside]) / way
        return field, gradient

    def far_field(self, points: FloatArray) -> FloatArray:
        offsets = points - self.centre_m
        r2 = np.einsum("ij,ij->i", offsets, offsets)
        result = np.empty(len(points))
        near = r2 < (_POINT_FROM * self.half_axes_m.max()) ** 2
        result[near] = self._exact(offsets[near] @ self.axes)
        far = ~near
        result[far] = self._amplitude * (3 * (offsets[far] @ self.b0) ** 2 / r2[far] - 1) / r2[far] ** 1.5
        return result

    def _exact(self, x: FloatArray) -> FloatArray:
        """Field, Hz, at offsets (n, 3) along the half axes."""
        return np.asarray(self.b0_hz * self.delta_chi * measure_ellipsoid(x, self.half_axes_m, self.axes.T @ self.b0))

    def _norm(self, points: FloatArray) -> FloatArray:
        """Below 1 inside (n,)."""
        return np.asarray(np.linalg.norm((points - self.centre_m) @ self.axes / self.half_axes_m, axis=1))

    def add_relaxation(self, points: FloatArray, total: FloatArray) -> None:
        if self.inside_per_s:
            total[self._norm(points) < 1] += self.inside_per_s

    def distance(self, points: FloatArray) -> FloatArray:
        """Distance (n,) from the surface, never more than the true one; zero inside."""
        beyond = np.maximum(self._norm(points), 1.0) - 1
        offsets = np.linalg.norm(points - self.centre_m, axis=1)
        return np.asarray(np.maximum(offsets - self.half_axes_m.max(), self.half_axes_m.min() * beyond))

    def curvature(self, points: FloatArray, radius_m: float) -> FloatArray:
        norm, shortest = self._norm(points), float(self.half_axes_m.min())
        gap = np.maximum(self.distance(points) - radius_m, 0.0)
        # exact on the axis of a sphere, 8ΔχB0·a³/(a + gap)⁵; elsewhere the sharpest end's radius bounds it
        result = 8 * self.b0_hz * abs(self.delta_chi) / (shortest**2 / self.half_axes_m.max() + gap) ** 2
        result *= (self.half_axes_m / (self.half_axes_m + gap[:, None])).prod(axis=1)
        crosses = np.abs(norm - 1) * shortest < radius_m
        return np.where(crosses, np.inf, np.where(norm < 1, 0.0, result))

    def needs_finer_cells(self, points: FloatArray, cell_m: FloatArray) -> NDArray[np.bool_]:  # noqa: ARG002
        return np.zeros(len(points), dtype=np.bool_)

    def reach_where_curvature(self, limit: float) -> float:
        # the whole of it lies further away than its surface; half the least of that keeps a flat one within bounds
        return max(float((24 * abs(self._amplitude) / limit) ** 0.2) - float(self.half_axes_m.min()) / 2, 0.0)

    def reach_where_field(self, limit_hz: float) -> float:
        return float(np.cbrt(2 * abs(self._amplitude) / limit_hz))

    def bounds(self) -> tuple[FloatArray, FloatArray]:
        reach = np.linalg.norm(self.axes * self.half_axes_m, axis=1)
        return self.centre_m - reach, self.centre_m + reach
