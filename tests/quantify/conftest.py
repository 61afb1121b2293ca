"""An empty catalogue, and scans with a graft or with points, simulated as a scanner would see them."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from ferrosight.simulate import Point, ScanSpec, build_affine, build_graft
from ferrosight.simulate.spec import PlacedCells, Source
from ferrosight.types import CLUSTERS, FITS, NULLS, Catalogue, NullCalibration, PhaseSign, Table

VOXEL_MM = (0.09, 0.1, 0.12)
CENTRE_MM = (0.05, -0.03, 0.08)


@pytest.fixture
def empty_catalogue() -> Catalogue:
    """What a search that found nothing returns."""
    curve = np.array([4.0, 9.0]), np.array([1.0, 1e-6])
    null = NullCalibration(Table(NULLS, {}), *curve, 4.0, 1.0, 1.0, 0.1, 20, float("nan"), {}, {}, 50)
    return Catalogue(Table(CLUSTERS, {}), Table(FITS, {}), null, (), PhaseSign.POSITIVE, "sidecar", "kspace", 0.05)


@pytest.fixture
def specify() -> Callable[..., ScanSpec]:
    """A scan with one source: ``solid`` or ``cells`` over an ellipsoid, or a ``point``."""

    def build(
        kind: str,
        magnetisation: float = 1.0,
        *,
        b0_t: float = 9.4,
        half_um: tuple[float, float, float] = (330.0, 240.0, 280.0),
        scale: float = 1.0,
        seed: int = 0,
        texture_ppm: float = 0.005,
        **changes: object,
    ) -> ScanSpec:
        shape, rng = (36, 34, 31), np.random.default_rng(seed)
        half = tuple(float(h * scale) for h in half_um)
        centre = tuple(float(c * scale + rng.uniform(-0.05, 0.05) * scale) for c in CENTRE_MM)
        moment = magnetisation * 4 / 3 * np.pi * float(np.prod(half)) * 1e-18
        source: Source
        if kind == "solid":
            source = build_graft(centre, half, moment, b0_t, rotation_deg=(20.0, -35.0, 50.0))  # type: ignore[arg-type]
        elif kind == "cells":
            places = rng.normal(size=(300, 3))
            places *= np.cbrt(rng.random((300, 1))) / np.linalg.norm(places, axis=1, keepdims=True)
            loads = rng.lognormal(0.0, 0.5, 300)
            source = PlacedCells(np.array(centre) + places * half * 1e-3, moment * loads / loads.sum(), 7.0 * scale)
        else:
            source = Point(centre, moment, 7.0 * scale)  # type: ignore[arg-type]
        settings: dict[str, object] = {
            "echo_times_s": (0.0035, 0.0075, 0.0115, 0.0155) if b0_t > 5 else (0.006, 0.012, 0.018, 0.024),
            "sources": (source,),
            "snr": 40.0,
            "r2star_per_s": 30.0,
            "point_spread": "kspace",
            # the steepness of 20 Hz across the scan: a wave that closes is π times as steep as a slope
            "background_hz": 20.0 / np.pi,
            "receive_variation": 0.2,
            "phase_offset_rad": 0.4,
            "texture_ppm": texture_ppm,
            "texture_mm": 0.15 * scale,
            "sub_sampling": 8,
        }
        affine = build_affine(shape, tuple(v * scale for v in VOXEL_MM), (15.0, -30.0, 20.0))  # type: ignore[arg-type]
        return ScanSpec(shape, affine, b0_t=b0_t, **{**settings, **changes})  # type: ignore[arg-type]

    return build
