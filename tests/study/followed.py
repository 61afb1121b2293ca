"""A small subject of whom everything is known: a baseline and two labelled visits, each in a posture of its own."""

from __future__ import annotations

import dataclasses

from ferrosight.simulate import Point, ScanSpec, build_affine, simulate_moved_scan
from ferrosight.types import Grid, PhaseSign, Rigid, Scan

SHAPE = (40, 40, 26)
VOXEL_MM = (0.1, 0.1, 0.1)
#: Strong enough to be found by anybody.
MOMENT_AM2 = 4e-12
#: One stays, one goes after the first visit, one comes at the second; none is seen where the other visits look.
STAYS, GOES, COMES = (0.55, 0.3, 0.1), (-0.6, -0.45, 0.3), (-0.3, 0.6, -0.35)
SESSIONS = {"pre": -3.0, "d00": 0.0, "d07": 7.0}
SOURCES = {"pre": (), "d00": (STAYS, GOES), "d07": (STAYS, COMES)}
POSES = {
    "pre": (0.06, -0.08, 0.05, 0.01, 0.03, -0.02),
    "d00": (0.0, 0.0, 0.0, 0.0, 0.0, 0.0),
    "d07": (-0.11, 0.07, 0.04, -0.03, 0.02, 0.04),
}
SPEC = ScanSpec(
    shape=SHAPE,
    affine=build_affine(SHAPE, VOXEL_MM),
    echo_times_s=(0.004, 0.009),
    b0_t=9.4,
    snr=40.0,
    r2star_per_s=30.0,
    density_variation=0.15,
    structure_mm=0.5,
    tissue_fraction=0.9,
    point_spread="kspace",
    sub_sampling=4,
)


def simulate_followed(session: str, seed: int = 5) -> Scan:
    """The subject's scan at a visit, its sign of phase stated."""
    points = tuple(Point(place, MOMENT_AM2, core_radius_um=9.0) for place in SOURCES[session])
    spec = dataclasses.replace(SPEC, sources=points)
    there = list(SESSIONS).index(session)
    scan, _ = simulate_moved_scan(
        spec, seed, Rigid.from_twist(POSES[session]), grid=Grid(SHAPE, SPEC.affine), visit=there
    )
    return dataclasses.replace(scan, subject="01", session=session, phase_sign=PhaseSign.POSITIVE)
