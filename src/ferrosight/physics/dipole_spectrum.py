"""How much of a point's signal lies in which part of k-space.

A dipole at the origin turns the phase by qK(u), K = (3cos²θ-1)/r³, and changes the signal by exp(iqK) - 1.
K has no length of its own, so that the change's Fourier transform is one function for all strengths:

    G_q(k) = q · g(q^⅓ k),      g(κ) = ∫ (exp(iK(u)) - 1) exp(-2πi κ·u) du.

What an acquisition sees of a dipole is the part of it in the k-space that was acquired. Its energy there,
∫|G_q|² dk, equals the sum over voxels |F - 1|² (Parseval), wherever in a voxel the dipole lies; all of k-space
holds 16π²/(9√3)·q.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from functools import cache, lru_cache

import numpy as np
from numpy.typing import NDArray

from ferrosight.physics.patterns import voxel_edges
from ferrosight.physics.point_spread import Supports

FloatArray = NDArray[np.float64]

#: κ up to which g is computed; beyond it |g|² falls as κ^(-15/4) (the phase is stationary on one surface).
KAPPA_MAX = 8.0
_TAIL_POWER = 15 / 4
_KAPPA_MIN = 0.02
#: Step of ln r and ln κ, and how many steps of r there are from one κ to the next.
_STEP, _STRIDE = 0.006, 8
#: Inside, the phase turns faster than the largest κ can follow and nothing but the void is left; outside, K is small.
_R_LOST, _R_FULL, _R_MAX = 0.27, 0.38, 12.0
_L_MAX = 50
_N_COSINES = 161
#: Directions over which k-space is summed, along the third axis and around it: energies are right to 0.5 %.
_N_DIRECTIONS = (48, 96)
#: Strengths |p|/V of an energy table.
_WEAKEST, _STRONGEST, _N_STRENGTHS = 1e-5, 1e5, 101


@dataclass(frozen=True)
class DipoleSpectrum:
    """|g|² summed up outwards: ``energy`` and ``fourth`` (κ, cosine) are ∫|g|²κ²dκ and ∫|g|²κ⁴dκ from 0 to κ.

    ``kappa`` is evenly spaced in the logarithm; ``cosine`` of the angle from B0, evenly spaced from 0 to 1.
    """

    kappa: FloatArray
    cosine: FloatArray
    power: FloatArray
    energy: FloatArray
    fourth: FloatArray


@cache
def build_dipole_spectrum() -> DipoleSpectrum:
    """Compute |g|² and its radial integrals; some tens of milliseconds, once per process."""
    n = int(np.ceil(np.log(KAPPA_MAX / _KAPPA_MIN) / (_STRIDE * _STEP)))
    kappa = KAPPA_MAX * np.exp(-_STRIDE * _STEP * np.arange(n, -1, -1))
    cosine = np.linspace(0.0, 1.0, _N_COSINES)
    power = np.abs(dipole_spectrum(kappa, cosine)) ** 2
    log_step = _STRIDE * _STEP
    sums = []
    for exponent in (2, 4):
        density = power * kappa[:, None] ** (exponent + 1)
        # Below the least κ the power is constant; above, the trapezoid in ln κ.
        start = power[0] * kappa[0] ** (exponent + 1) / (exponent + 1)
        steps = 0.5 * log_step * (density[1:] + density[:-1])
        sums.append(np.concatenate([start[None], start + np.cumsum(steps, axis=0)]))
    for array in (kappa, cosine, power, *sums):
        array.setflags(write=False)
    return DipoleSpectrum(kappa, cosine, power, *sums)


def dipole_spectrum(kappa: FloatArray, cosine: FloatArray) -> NDArray[np.complex128]:
    """g (κ, cosine) for κ of one geometric row with ratio exp(_STRIDE·_STEP), up to ``KAPPA_MAX``.

    exp(iK) - 1 is expanded in Legendre polynomials P_l, and every order transformed with its spherical Bessel
    function, j_l(x) = (-1)^(l/2) ∫ P_l(c) cos(xc) dc from 0 to 1. Because both rows are geometric, each j_l is
    needed along one line only. The weak field's 2iP₂/r³, which reaches far, is transformed exactly: to
    -(8π/3)i·P₂.
    """
    radius = np.exp(np.arange(np.log(_R_LOST), np.log(_R_MAX), _STEP))
    nodes, weights = _spread_nodes()
    legendre = _even_legendre(nodes)
    orders = np.arange(0, _L_MAX + 1, 2)
    lost = np.clip((radius - _R_LOST) / (_R_FULL - _R_LOST), 0, 1)
    left = lost**3 * (10 - 15 * lost + 6 * lost**2)
    change = left[:, None] * np.exp(1j * (3 * nodes**2 - 1) / radius[:, None] ** 3) - 1
    parts = (change * weights) @ legendre.T * (2 * orders + 1)
    parts[:, 1] -= 2j / radius**3
    parts *= (radius**3 * _STEP)[:, None]
    parts[0] *= 0.5  # the trapezoid's first point
    line = kappa[0] * radius[0] * np.exp(_STEP * np.arange(_STRIDE * (len(kappa) - 1) + len(radius)))
    bessel = np.cos(2 * np.pi * np.outer(line, nodes)) @ (legendre * weights).T
    radial = np.empty((len(kappa), len(orders)), np.complex128)
    for i in range(len(kappa)):
        radial[i] = np.einsum("rl,rl->l", bessel[_STRIDE * i : _STRIDE * i + len(radius)], parts)
    # From the centre to the row's beginning: the void, and all of the weak field (whose order has the sign -1).
    x = 2 * np.pi * kappa * radius[0]
    inner = (np.sin(x) / x - np.cos(x)) / x**2
    radial[:, 0] -= radius[0] ** 3 * inner
    radial[:, 1] -= 2j * inner
    return np.asarray(4 * np.pi * radial @ _even_legendre(cosine))


def _spread_nodes() -> tuple[FloatArray, FloatArray]:
    """Places from 0 to 1 and their weights, for integrals of cos(xc) with x up to 2π·KAPPA_MAX·_R_MAX."""
    nodes, weights = np.polynomial.legendre.leggauss(24)
    panels = 16
    at = (np.arange(panels)[:, None] + 0.5 * (nodes + 1)) / panels
    return at.ravel(), np.tile(0.5 * weights / panels, panels)


def _even_legendre(cosine: FloatArray) -> FloatArray:
    """P_l of the cosine for even l up to ``_L_MAX`` (order, cosine)."""
    rows = [np.ones_like(cosine), cosine]
    for order in range(1, _L_MAX):
        rows.append(((2 * order + 1) * cosine * rows[order] - order * rows[order - 1]) / (order + 1))
    return np.stack(rows[::2])


@dataclass(frozen=True)
class EnergyTable:
    """What one acquisition gets of dipoles of every strength, at a signal of 1; see ``tabulate_energy``.

    ``log_strength`` (n,) is ln(|p|/V), evenly spaced; ``log_energy`` (n,) the logarithm of Σ|F - 1|² over all
    voxels; ``mean_square`` (n, 3, 3) the mean of k kᵀ over that energy, (cycles per voxel)².
    """

    log_strength: FloatArray
    log_energy: FloatArray
    mean_square: FloatArray

    def read_log_energy(self, log_strength: FloatArray) -> FloatArray:
        """ln Σ|F - 1|² at any ln(|p|/V); beyond the table energy goes with the square of a weak strength,
        and with a strong one itself."""
        inner = np.clip(log_strength, self.log_strength[0], self.log_strength[-1])
        beyond = log_strength - inner
        read = np.interp(inner, self.log_strength, self.log_energy)
        return np.asarray(read + np.where(beyond < 0, 2.0, 1.0) * beyond)

    def read_slope(self, log_strength: FloatArray) -> FloatArray:
        """Derivative of ``read_log_energy``, between 1 (strong) and 2 (weak)."""
        slope = np.gradient(self.log_energy, self.log_strength)
        return np.interp(log_strength, self.log_strength, slope)

    def read_mean_square(self, log_strength: FloatArray) -> FloatArray:
        """Mean of k kᵀ (n, 3, 3) at ln(|p|/V) (n,); the table's ends hold beyond it."""
        step = self.log_strength[1] - self.log_strength[0]
        at = np.clip((log_strength - self.log_strength[0]) / step, 0, len(self.log_strength) - 1)
        low = np.minimum(at.astype(np.intp), len(self.log_strength) - 2)
        part = (at - low)[:, None, None]
        return np.asarray(self.mean_square[low] * (1 - part) + self.mean_square[low + 1] * part)


def tabulate_energy(voxel_mm: Iterable[float], b0_in_array: Iterable[float], supports: Supports) -> EnergyTable:
    """Energy of point dipoles of every strength within the acquired k-space.

    Parameters
    ----------
    voxel_mm : float (3,)
        Edges of the stored voxel along the array's axes.
    b0_in_array : float (3,)
        B0's unit vector along the array's axes.
    supports
        The k-space acquired along each axis, in cycles per stored voxel.

    Notes
    -----
    In units of the voxel's mean edge, with H(κ, c) = ∫|g|²κ²dκ from 0 to κ at the cosine c from B0 and R(Ω)
    the distance from k = 0 to the support's border: Σ|F - 1|² = q ∫ H(q^⅓ R(Ω), c(Ω)) dΩ.
    """
    edges = voxel_edges([float(edge) for edge in voxel_mm])
    # Only ratios matter: cubes of any size share one table.
    return _tabulate(tuple(edges.round(9).tolist()), tuple(float(b) for b in b0_in_array), tuple(supports))


@lru_cache(maxsize=16)
def _tabulate(edges_key: tuple[float, ...], b0: tuple[float, ...], supports: Supports) -> EnergyTable:
    spectrum = build_dipole_spectrum()
    edges = np.asarray(edges_key)
    directions, solid_angle = _spread_directions()
    border = _distance_to_border(directions, edges, supports)
    at = np.minimum(np.abs(directions @ np.asarray(b0)), 1.0) * (_N_COSINES - 1)
    low = np.minimum(at.astype(np.intp), _N_COSINES - 2)
    part = at - low
    lines = np.stack([np.log(spectrum.energy), np.log(spectrum.fourth)])
    lines = lines[:, :, low] * (1 - part) + lines[:, :, low + 1] * part
    tail = _tail_level(spectrum)
    tail = tail[low] * (1 - part) + tail[low + 1] * part
    log_strength = np.linspace(np.log(_WEAKEST), np.log(_STRONGEST), _N_STRENGTHS)
    log_energy, mean_square = np.empty(_N_STRENGTHS), np.empty((_N_STRENGTHS, 3, 3))
    per_edge = np.outer(edges, edges)  # from cycles per mean edge to cycles per voxel
    for i, q in enumerate(np.exp(log_strength)):
        kappa = np.cbrt(q) * border
        beyond = np.maximum(kappa, KAPPA_MAX)
        inner, fourth = _read_lines(lines, kappa)
        inner = solid_angle * (inner + tail * _tail_integral(beyond, 2))
        fourth = solid_angle * (fourth + tail * _tail_integral(beyond, 4))
        log_energy[i] = np.log(q * inner.sum())
        mean_square[i] = (directions * fourth[:, None]).T @ directions / (np.cbrt(q) ** 2 * inner.sum()) * per_edge
    for array in (log_strength, log_energy, mean_square):
        array.setflags(write=False)
    return EnergyTable(log_strength, log_energy, mean_square)


def _spread_directions() -> tuple[FloatArray, FloatArray]:
    """Unit vectors (n, 3) over the sphere, and the solid angle of each."""
    n_along, n_around = _N_DIRECTIONS
    along, weights = np.polynomial.legendre.leggauss(n_along)
    around = 2 * np.pi * (np.arange(n_around) + 0.5) / n_around
    across = np.sqrt(1 - along**2)
    x, y = across[:, None] * np.cos(around), across[:, None] * np.sin(around)
    z = np.broadcast_to(along[:, None], x.shape)
    solid_angle = np.repeat(weights * 2 * np.pi / n_around, n_around)
    return np.stack([x, y, z], axis=-1).reshape(-1, 3), solid_angle


def _distance_to_border(directions: FloatArray, edges: FloatArray, supports: Supports) -> FloatArray:
    """From k = 0 to where each direction leaves the support, cycles per mean edge (n,)."""
    low = np.array([support.low for support in supports]) / edges
    high = np.array([support.high for support in supports]) / edges
    with np.errstate(divide="ignore"):
        distance = np.where(directions > 0, high, low) / directions
    return np.asarray(np.maximum(distance, 0.0).min(axis=1))


def _read_lines(lines: FloatArray, kappa: FloatArray) -> FloatArray:
    """Both radial integrals (2, n) of every direction at its own κ, from their logarithms (2, κ, n).

    Below the first κ, where |g|² is constant, they go with κ³ and κ⁵.
    """
    step = _STRIDE * _STEP
    at = (np.log(np.maximum(kappa, 1e-30)) - np.log(KAPPA_MAX)) / step + lines.shape[1] - 1
    below = np.minimum(at, 0.0) * step
    row = np.clip(at, 0, lines.shape[1] - 1)
    low = np.minimum(row.astype(np.intp), lines.shape[1] - 2)
    part, column = row - low, np.arange(lines.shape[2])
    read = lines[:, low, column] * (1 - part) + lines[:, low + 1, column] * part
    return np.asarray(np.exp(read + np.array([[3.0], [5.0]]) * below))


def _tail_level(spectrum: DipoleSpectrum) -> FloatArray:
    """Mean of |g|²κ^(15/4) over the last octave of κ, per cosine."""
    last = spectrum.kappa > KAPPA_MAX / 2
    return np.asarray((spectrum.power[last] * spectrum.kappa[last, None] ** _TAIL_POWER).mean(axis=0))


def _tail_integral(kappa: FloatArray, power: int) -> FloatArray:
    """∫ κ^(power - 15/4) dκ from ``KAPPA_MAX`` to κ."""
    exponent = power + 1 - _TAIL_POWER
    return np.asarray((kappa**exponent - KAPPA_MAX**exponent) / exponent)
