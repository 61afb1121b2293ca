"""The ideal observer of a protocol: a prewhitened matched filter that knows the signal.

A cluster changes echo e by S0·exp(-R2*·TE_e)·(F_e - 1). The noise is white within the acquired k-space and
there is none elsewhere, so that prewhitening is a sum over that k-space:

    d'² = W · Σ_e (S_e/σ)² · Σ_voxels |F_e - 1|²,

with σ the noise of one real channel of the stored image and W the fraction of its k-space that was acquired
(zero filling spreads the same noise over more voxels). Both real and imaginary part count. The sum over
voxels does not depend on where in a voxel the cluster lies, because truncated k-space is sampled completely.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ferrosight.errors import InputError
from ferrosight.limits.false_alarms import (
    count_effective_positions,
    detection_power,
    find_threshold,
    required_d_prime,
)
from ferrosight.numerics.roots import find_root
from ferrosight.physics.dipole import phase_amplitude_rad_m3
from ferrosight.physics.dipole_spectrum import EnergyTable, tabulate_energy
from ferrosight.types import DetectionLimit, PowerCurve, Protocol, Search

#: Phase amplitude over voxel volume between which a limit is looked for, rad.
_WEAKEST, _STRONGEST = 1e-5, 1e5
#: Signal over noise, at its best echo, below which nothing is looked for.
_LEAST_AMPLITUDE = 1e-3
#: Moments of a power curve, over the limit.
_AROUND, _N_AROUND = (0.3, 2.5), 61


@dataclass(frozen=True)
class Observer:
    """What an ideal observer looks at; ``build_observer`` makes that of a protocol.

    ``amplitude`` (echo,) is √W·S_e/σ; ``per_moment`` (echo,) is |p|/V per A m²; ``energy`` is that of the
    acquisition's k-space.
    """

    amplitude: NDArray[np.float64]
    per_moment: NDArray[np.float64]
    energy: EnergyTable


@dataclass(frozen=True)
class Observation:
    """What the matched filter for a cluster makes of it: ``d_prime``, and √det Λ of its output per voxel."""

    d_prime: float
    root_det: float


def build_observer(protocol: Protocol) -> Observer:
    """Everything about a protocol that does not depend on the cluster."""
    times = np.asarray(protocol.echo_times_s)
    acquired = math.prod(support.width for support in protocol.supports)
    return Observer(
        math.sqrt(acquired) * protocol.snr * np.exp(-protocol.r2star_per_s * times),
        phase_amplitude_rad_m3(1.0, times) / protocol.voxel_volume_m3,
        tabulate_energy(protocol.voxel_mm, protocol.b0_in_array, protocol.supports),
    )


def observe_point(observer: Observer, moment_am2: float) -> Observation:
    """The ideal observer's d' for a point cluster, and how fast its filter's output changes with position."""
    log_strength = np.log(observer.per_moment * moment_am2)
    parts = observer.amplitude**2 * np.exp(observer.energy.read_log_energy(log_strength))
    total = float(parts.sum())
    mean_square = np.tensordot(parts, observer.energy.read_mean_square(log_strength), 1) / total
    return Observation(math.sqrt(total), (2 * math.pi) ** 3 * math.sqrt(float(np.linalg.det(mean_square))))


def find_limit(protocol: Protocol, search: Search) -> DetectionLimit:
    """The smallest moment that is found as asked.

    The power holds at any position within a voxel. Raises InputError where no moment is found as asked, or where
    the search makes no sense.
    """
    return find_observer_limit(build_observer(protocol), search)


def trace_power(protocol: Protocol, search: Search, moments_am2: ArrayLike | None = None) -> PowerCurve:
    """Chance to find a cluster against its moment, with the limit; by default around the limit.

    ``moments_am2`` (n,) are the moments at which the chance is wanted, A m². Raises as ``find_limit`` does.
    """
    observer = build_observer(protocol)
    limit = find_observer_limit(observer, search)
    around = limit.moment_am2 * np.geomspace(*_AROUND, _N_AROUND)
    moments = around if moments_am2 is None else np.asarray(moments_am2, dtype=np.float64)
    judged = [_observe_and_judge(observer, float(moment), search) for moment in moments]
    power = np.array([detection_power(seen.d_prime, threshold) for seen, threshold in judged])
    return PowerCurve(moments, power, limit)


def find_observer_limit(observer: Observer, search: Search) -> DetectionLimit:
    """As ``find_limit``, for an observer that need not be a protocol's."""

    def excess(log_moment: float) -> float:
        seen, threshold = _observe_and_judge(observer, math.exp(log_moment), search)
        return seen.d_prime - required_d_prime(search.power, threshold)

    per_moment = float(observer.per_moment.max())
    low, high = math.log(_WEAKEST / per_moment), math.log(_STRONGEST / per_moment)
    if observer.amplitude.max() < _LEAST_AMPLITUDE or excess(high) < 0:
        raise InputError(
            f"no cluster is found with a power of {search.power:g}, because at its best echo the signal is only "
            f"{observer.amplitude.max():.2g} times the noise; raise the SNR or shorten the echo times."
        )
    if excess(low) >= 0:
        raise InputError(
            f"a signal below a million times the noise was expected, but at its best echo it is "
            f"{observer.amplitude.max():.2g} times the noise; give that of one voxel."
        )
    moment = math.exp(find_root(excess, low, high, tolerance=1e-7))
    seen, threshold = _observe_and_judge(observer, moment, search)
    return DetectionLimit(
        moment_am2=moment,
        threshold=threshold,
        effective_positions=count_effective_positions(threshold, search.positions, seen.root_det),
        d_prime_required=required_d_prime(search.power, threshold),
        search=search,
    )


def _observe_and_judge(observer: Observer, moment_am2: float, search: Search) -> tuple[Observation, float]:
    """What the filter for this moment makes of it, and that filter's threshold."""
    seen = observe_point(observer, moment_am2)
    return seen, find_threshold(search.false_per_scan, search.positions, seen.root_det)
