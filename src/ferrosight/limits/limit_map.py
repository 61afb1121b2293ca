"""Where in a given scan how little iron would have been seen."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from ferrosight.errors import AnalysisError
from ferrosight.limits.observer import Observer, find_observer_limit
from ferrosight.physics.dipole import phase_amplitude_rad_m3
from ferrosight.physics.dipole_spectrum import EnergyTable, tabulate_energy
from ferrosight.types import DetectionLimit, FieldMap, LimitMap, Scan, Search
from ferrosight.types.config import LimitsConfig

PG_PER_KG = 1e15
#: Newton's steps in the logarithms, where d'² is nearly straight: five leave less than 1e-5.
_N_STEPS = 5


def map_limit(scan: Scan, field_map: FieldMap, ms_am2_per_kg_fe: float, config: LimitsConfig) -> LimitMap:
    """Smallest iron mass that the ideal observer would find at each voxel of the mask.

    Parameters
    ----------
    scan
        Its echo times and the direction of B0.
    field_map
        The signal at each voxel and echo (S0 and R2*; with one echo the magnitude), the noise there, and the
        k-space that was acquired.
    ms_am2_per_kg_fe
        The label's moment per kilogram of iron at this field, A m²/kg Fe.

    Notes
    -----
    Signal and noise are taken as uniform over the few voxels that a cluster changes. One threshold holds for the
    scan: that of a voxel of median signal, for a search of all of the mask. Raises AnalysisError where no voxel
    has a signal.
    """
    energy = tabulate_energy(scan.grid.voxel_mm, scan.b0_in_array, field_map.noise.support)
    per_moment = phase_amplitude_rad_m3(1.0, scan.echo_times_s) / scan.grid.voxel_volume_m3
    amplitude = _amplitude_over_noise(scan, field_map)
    known = (np.isfinite(amplitude) & (amplitude > 0)).all(axis=0)
    if not known.any():
        raise AnalysisError("a signal was expected somewhere in the mask, but there is none; check the field map.")
    amplitude = amplitude[:, known]
    search = Search(config.power, config.false_per_scan, float(np.count_nonzero(field_map.mask)))
    typical = find_observer_limit(Observer(np.median(amplitude, axis=1), per_moment, energy), search)
    log_moment = _solve(amplitude, per_moment, energy, typical)
    iron_pg = np.full(field_map.grid.shape, np.nan, np.float32)
    inside = np.flatnonzero(field_map.mask)[known]
    iron_pg.reshape(-1)[inside] = np.exp(log_moment) * PG_PER_KG / ms_am2_per_kg_fe
    return LimitMap(field_map.grid, iron_pg, search, typical.d_prime_required)


def _solve(
    amplitude: NDArray[np.float64], per_moment: NDArray[np.float64], energy: EnergyTable, typical: DetectionLimit
) -> NDArray[np.float64]:
    """ln of the moment (n,) that gives each voxel, of its own amplitude (echo, n), the d' required."""
    log_wanted = 2 * math.log(typical.d_prime_required)
    log_moment = np.full(amplitude.shape[1], math.log(typical.moment_am2))
    for _ in range(_N_STEPS):
        total, slope = np.zeros(len(log_moment)), np.zeros(len(log_moment))
        for one, log_scale in zip(amplitude, np.log(per_moment), strict=True):
            part = one**2 * np.exp(energy.read_log_energy(log_moment + log_scale))
            total += part
            slope += part * energy.read_slope(log_moment + log_scale)
        log_moment += (log_wanted - np.log(total)) * total / slope
    return log_moment


def _amplitude_over_noise(scan: Scan, field_map: FieldMap) -> NDArray[np.float64]:
    """√W·S/σ of every echo at the mask's voxels (echo, n)."""
    mask, noise = field_map.mask, field_map.noise
    acquired = math.prod(support.width for support in noise.support)
    signal = field_map.s0[mask].astype(np.float64)[None, :]
    if len(scan.echo_times_s) > 1:
        signal = signal * np.exp(-field_map.r2star_per_s[mask] * scan.echo_times_s[:, None])
    return np.asarray(math.sqrt(acquired) * signal / noise.sigma[:, mask])
