"""The field of magnetised points, spheres and cylinders, and the patterns that only look like it.

Everything is SI. Offsets and directions share one frame with rectangular axes (usually the array's axes in
metres); a direction need not be of unit length. Fields are the component along B0, positive where B0 is
strengthened, and leave out what a sphere of Lorentz removes, as a proton in a fluid sees them.
"""

from __future__ import annotations

import itertools
import math
from typing import Final

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ferrosight.physics.constants import GAMMA_RAD_PER_S_T, MU0

FloatArray = NDArray[np.float64]

#: The five l = 2 patterns: the field of a magnetised point first, then those that no such point produces.
HARMONICS: Final = ("dipole", "xz", "yz", "xy", "x2-y2")


def phase_amplitude_rad_m3(moment_am2: ArrayLike, echo_time_s: ArrayLike) -> FloatArray:
    """Amplitude p of a dipole's phase p(3cos²θ−1)/r³, rad m³: p = γ(μ0/4π)·m·TE.

    The strength of B0 does not enter: it acts only through the moment, and a saturated label has the same
    moment in every magnet.
    """
    return np.asarray(GAMMA_RAD_PER_S_T * MU0 / (4 * np.pi) * np.multiply(moment_am2, echo_time_s), dtype=np.float64)


def equatorial_radius_m(moment_am2: ArrayLike, echo_time_s: ArrayLike) -> FloatArray:
    """Distance at which the phase in the equatorial plane of a dipole is one radian, m: the cube root of p."""
    return np.cbrt(np.abs(phase_amplitude_rad_m3(moment_am2, echo_time_s)))


def sphere_moment_am2(radius_m: ArrayLike, delta_chi: ArrayLike, b0_t: float) -> FloatArray:
    """Moment of a sphere whose susceptibility differs by ``delta_chi`` (SI, ≪ 1): m = (4π/3)a³·Δχ·B0/μ0."""
    volume = 4 * np.pi / 3 * np.asarray(radius_m, dtype=np.float64) ** 3
    return np.asarray(volume * np.asarray(delta_chi) * b0_t / MU0, dtype=np.float64)


def frame_of_b0(b0_direction: ArrayLike) -> FloatArray:
    """(3, 3): rows are unit vectors x, y, z with z along B0.

    x is the axis least parallel to B0 (the first of equals), made perpendicular to it, so that B0 along an
    axis gives a frame along the axes; y = z × x.
    """
    z = _unit(b0_direction)
    x = np.zeros(3)
    x[int(np.argmin(np.abs(z)))] = 1.0
    x = _unit(x - (x @ z) * z)
    return np.stack([x, np.cross(z, x), z])


def harmonic_pattern(name: str, offsets_m: ArrayLike, b0_direction: ArrayLike) -> FloatArray:
    """One l = 2 harmonic over r³, in the frame of B0, m⁻³.

    Parameters
    ----------
    name : str
        One of ``HARMONICS``. ``dipole`` is (3cos²θ−1)/r³; ``xz``, ``yz`` and ``xy`` are 2√3·xz/r⁵ and so on;
        ``x2-y2`` is √3(x²−y²)/r⁵.
    offsets_m : float (..., 3)
        From the source to where the field is wanted.
    b0_direction : float (3,)

    Returns
    -------
    float64 (...)
        Zero at the source itself (the mean over any sphere around it).

    Notes
    -----
    All five have mean square 4/5 over the unit sphere and are orthogonal there, so that the dipole turned
    about any axis is a combination of the five with unit norm: they are equally large siblings.
    """
    x, y, z = np.moveaxis(np.asarray(offsets_m, dtype=np.float64) @ frame_of_b0(b0_direction).T, -1, 0)
    r2 = x * x + y * y + z * z
    angular = {
        "dipole": lambda: 3 * z * z - r2,
        "xz": lambda: 2 * np.sqrt(3) * x * z,
        "yz": lambda: 2 * np.sqrt(3) * y * z,
        "xy": lambda: 2 * np.sqrt(3) * x * y,
        "x2-y2": lambda: np.sqrt(3) * (x * x - y * y),
    }
    if name not in angular:
        raise ValueError(f"unknown pattern {name!r}: expected one of {', '.join(HARMONICS)}")
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.where(r2 > 0, angular[name]() / r2**2.5, 0.0)


def dipole_field_t(offsets_m: ArrayLike, moment_am2: float, b0_direction: ArrayLike) -> FloatArray:
    """Field along B0 of a point dipole aligned with it, tesla: (μ0/4π)·m·(3cos²θ−1)/r³; offsets (..., 3)."""
    return MU0 / (4 * np.pi) * moment_am2 * harmonic_pattern("dipole", offsets_m, b0_direction)


def sphere_field(offsets_m: ArrayLike, radius_m: float, delta_chi: float, b0_direction: ArrayLike) -> FloatArray:
    """Relative field ΔB/B0 of a uniform sphere: (Δχ/3)(a/r)³(3cos²θ−1) outside, 0 inside; offsets (..., 3)."""
    offsets = np.asarray(offsets_m, dtype=np.float64)
    outside = (offsets**2).sum(axis=-1) >= radius_m**2
    pattern = harmonic_pattern("dipole", offsets, b0_direction)
    return np.where(outside, delta_chi / 3 * radius_m**3 * pattern, 0.0)


def box_field(offsets_m: ArrayLike, edges_m: ArrayLike, b0_direction: ArrayLike) -> FloatArray:
    """Relative field ΔB/B0 per unit of susceptibility of a uniform box (a voxel): bᵀ(1/3 − N)b inside, −bᵀNb outside.

    Parameters
    ----------
    offsets_m : float (..., 3)
        From the box's centre, along its edges; not on an edge, where the field is singular.
    edges_m : float (3,)
    b0_direction : float (3,)

    Notes
    -----
    N is the point-function demagnetisation tensor of a rectangular prism: with corners' offsets X, Y, Z and R,
    N_xx = Σ ± atan(YZ / XR) / 4π and N_xy = −Σ ± asinh(Z / √(X² + Y²)) / 4π over the eight corners (Joseph &
    Schlömann 1965). 1/3 is the sphere of Lorentz.
    """
    offsets = np.asarray(offsets_m, dtype=np.float64)
    half = np.asarray(edges_m, dtype=np.float64) / 2
    b0 = _unit(b0_direction)
    total = np.zeros(offsets.shape[:-1])
    for signs in itertools.product((-1, 1), repeat=3):
        total += math.prod(signs) * _sum_corner(list(np.moveaxis(offsets + np.array(signs) * half, -1, 0)), b0)
    inside = (np.abs(offsets) < half).all(axis=-1)
    return np.where(inside, 1 / 3, 0.0) - total


def voxel_field(
    first: tuple[int, int, int], last: tuple[int, int, int], voxel_m: ArrayLike, b0_direction: ArrayLike
) -> FloatArray:
    """Relative field ΔB/B0 (x, y, z) per unit of susceptibility of one voxel at voxels ``first`` to ``last`` from it.

    That of ``box_field`` (to rounding), at an eighth of its work: neighbours share their corners. ``voxel_m`` (3,).
    """
    edges, b0 = np.asarray(voxel_m, dtype=np.float64), _unit(b0_direction)
    axes = [(np.arange(a, b + 2) - 0.5) * edge for a, b, edge in zip(first, last, edges, strict=True)]
    field = -_sum_corner(list(np.meshgrid(*axes, indexing="ij", sparse=True)), b0)
    for axis in range(3):
        field = np.diff(field, axis=axis)
    own = tuple(np.arange(a, b + 1) == 0 for a, b in zip(first, last, strict=True))
    field[np.ix_(*own)] += 1 / 3
    return field


def _sum_corner(corner: list[FloatArray], b0: FloatArray) -> FloatArray:
    """What bᵀNb of a box has of one corner, at offsets from it along x, y and z, which broadcast."""
    r = np.sqrt(corner[0] ** 2 + corner[1] ** 2 + corner[2] ** 2)
    total = np.zeros(r.shape)
    for a in range(3):
        b, c = (a + 1) % 3, (a + 2) % 3
        total += b0[a] ** 2 * np.arctan2(corner[b] * corner[c] * np.sign(corner[a]), np.abs(corner[a]) * r)
        total -= 2 * b0[a] * b0[b] * np.arcsinh(corner[c] / np.hypot(corner[a], corner[b]))
    return total / (4 * np.pi)


def cylinder_field(
    offsets_m: ArrayLike, axis: ArrayLike, radius_m: float, delta_chi: float, b0_direction: ArrayLike
) -> FloatArray:
    """Relative field ΔB/B0 of an infinite cylinder (a vein).

    Outside (Δχ/2)·sin²θ·cos2φ·a²/ρ²; inside (Δχ/6)(3cos²θ−1). θ lies between the axis and B0, φ is counted
    around the axis from B0's projection. Offsets (..., 3) run from any point of the axis.
    """
    along, b0 = _unit(axis), _unit(b0_direction)
    offsets = np.asarray(offsets_m, dtype=np.float64)
    across = offsets - (offsets @ along)[..., None] * along
    rho2 = (across**2).sum(axis=-1)
    cos2 = float(along @ b0) ** 2
    inside = delta_chi / 6 * (3 * cos2 - 1)
    with np.errstate(divide="ignore", invalid="ignore"):
        # sin²θ cos2φ = 2(b·ρ̂)² − sin²θ, with no angle to be computed
        outside = delta_chi / 2 * radius_m**2 / rho2 * (2 * (across @ b0) ** 2 / rho2 - (1 - cos2))
    return np.where(rho2 >= radius_m**2, outside, inside)


def line_pattern(offsets_m: ArrayLike, axis: ArrayLike, length_m: float, b0_direction: ArrayLike) -> FloatArray:
    """Integral of (3cos²θ−1)/r³ over a straight segment of dipoles, m⁻².

    ``offsets_m`` (..., 3) run from the segment's *first end*, which extends by ``length_m`` along ``axis``.
    Times (μ0/4π)·(moment per metre) it is the field in tesla. Far from the ends it tends to
    2 sin²θ cos2φ/ρ². Singular on the segment itself.
    """
    along, b0 = _unit(axis), _unit(b0_direction)
    offsets = np.asarray(offsets_m, dtype=np.float64)
    s = offsets @ along
    across = offsets - s[..., None] * along
    rho2 = (across**2).sum(axis=-1)
    alpha, beta = across @ b0, float(along @ b0)

    def primitive(u: FloatArray) -> FloatArray:
        r = np.sqrt(rho2 + u * u)
        inverse_r3 = u / (rho2 * r)
        inverse_r5 = u / (3 * rho2 * r**3) + 2 * u / (3 * rho2**2 * r)
        u_r5 = -1 / (3 * r**3)
        u2_r5 = u**3 / (3 * rho2 * r**3)
        return np.asarray(3 * (alpha**2 * inverse_r5 + 2 * alpha * beta * u_r5 + beta**2 * u2_r5) - inverse_r3)

    return primitive(s) - primitive(s - length_m)


def dipole_kernel(shape: tuple[int, int, int], voxel: ArrayLike, b0_direction: ArrayLike) -> FloatArray:
    """The dipole kernel 1/3 − (k·b)²/k² on numpy's FFT grid; 0 at k = 0.

    Multiplying the FFT of a susceptibility map by it gives the FFT of the relative field ΔB/B0, periodic over
    the image. ``voxel`` (3,) in any unit: only the ratios matter. Source: Salomir 2003, Marques 2005.
    """
    b0 = _unit(b0_direction)
    axes = [np.fft.fftfreq(n, d) for n, d in zip(shape, np.asarray(voxel, dtype=np.float64), strict=True)]
    kx, ky, kz = np.meshgrid(*axes, indexing="ij", sparse=True)
    k2 = kx**2 + ky**2 + kz**2
    along = b0[0] * kx + b0[1] * ky + b0[2] * kz
    k2[0, 0, 0] = 1.0
    kernel = 1 / 3 - along**2 / k2
    kernel[0, 0, 0] = 0.0
    return np.asarray(kernel, dtype=np.float64)


def _unit(direction: ArrayLike) -> FloatArray:
    vector = np.asarray(direction, dtype=np.float64)
    return vector / float(np.linalg.norm(vector))
