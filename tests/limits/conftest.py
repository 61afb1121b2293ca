"""A dipole's signal change as the simulator makes it, which shares nothing with the observer but the physics."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pytest
from numpy.typing import NDArray

from ferrosight.simulate import Point, ScanSpec, build_affine, simulate_scan
from ferrosight.types import AxisSupport, Protocol

TIMES_S = (0.004, 0.008, 0.012, 0.016)
FULL = (AxisSupport(),) * 3


@dataclass(frozen=True)
class Case:
    """A protocol on an oblique lattice of unequal axes."""

    protocol: Protocol
    shape: tuple[int, int, int]
    rotation_deg: tuple[float, float, float]

    def spec(self, moment_am2: float = 0.0, offset_voxels=(0.0, 0.0, 0.0), snr: float = np.inf) -> ScanSpec:
        """A uniform scan with a dipole near its middle, or without."""
        protocol = self.protocol
        affine = build_affine(self.shape, protocol.voxel_mm, self.rotation_deg)
        ijk = np.array(self.shape) // 2 + np.array(offset_voxels)
        x, y, z = affine[:3, :3] @ ijk + affine[:3, 3]
        return ScanSpec(
            shape=self.shape,
            affine=affine,
            echo_times_s=protocol.echo_times_s,
            b0_t=protocol.b0_t,
            sources=(Point((x, y, z), moment_am2),) if moment_am2 else (),
            snr=snr,
            r2star_per_s=protocol.r2star_per_s,
            point_spread="kspace",
            support=protocol.supports,
        )

    def change(self, moment_am2: float, offset_voxels=(0.0, 0.0, 0.0)) -> NDArray[np.complex128]:
        """What the dipole changes in the scan, over the noise (echo, x, y, z)."""
        with_it, _ = simulate_scan(self.spec(moment_am2, offset_voxels), seed=1)
        without, _ = simulate_scan(self.spec(), seed=1)
        return self.protocol.snr * (with_it.signal.astype(complex) - without.signal)


def make_case(name: str, snr: float = 30.0) -> Case:
    """Three lattices: cubes along B0, oblique with partial Fourier, and flat with zero filling."""
    cases = {
        "cubes": ((0.1, 0.1, 0.1), FULL, (24, 22, 26), (0.0, 0.0, 0.0)),
        "partial": (
            (0.08, 0.1, 0.125),
            (AxisSupport(), AxisSupport(-0.25, 0.5), AxisSupport()),
            (28, 24, 22),
            (20.0, -35.0, 10.0),
        ),
        "filled": (
            (0.06, 0.08, 0.1),
            (AxisSupport(-0.25, 0.25), AxisSupport(), AxisSupport(-0.375, 0.375)),
            (40, 26, 32),
            (70.0, 15.0, 0.0),
        ),
    }
    voxel_mm, supports, shape, rotation = cases[name]
    affine = build_affine(shape, voxel_mm, rotation)
    b0 = ScanSpec(shape, affine, TIMES_S, 7.0).grid.direction_in_array((0.0, 0.0, 1.0))
    direction = (float(b0[0]), float(b0[1]), float(b0[2]))
    return Case(Protocol(7.0, TIMES_S, voxel_mm, snr, 30.0, direction, supports), shape, rotation)


@pytest.fixture(params=["cubes", "partial", "filled"])
def case(request: pytest.FixtureRequest) -> Case:
    """Each lattice in turn."""
    return make_case(request.param)
