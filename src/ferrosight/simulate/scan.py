"""From a specification to a scan and its truth."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ferrosight.physics.constants import GAMMA_HZ_PER_T, MU0
from ferrosight.physics.dipole import sphere_moment_am2
from ferrosight.simulate.acquire import acquire_echoes
from ferrosight.simulate.background import Tissue, draw_noise, draw_tissue
from ferrosight.simulate.bodies import HZ_M3_PER_AM2, Body, Swarm, Tube
from ferrosight.simulate.ellipsoid import Spheroid
from ferrosight.simulate.spec import (
    Cells,
    Ellipsoid,
    PlacedCells,
    Point,
    ScanSpec,
    Source,
    Sphere,
    Vein,
    build_rotation,
)
from ferrosight.types import TRUTH, Grid, Scan, Table, Truth

#: Most cells that are one body, whose far side is a point.
_CELLS_PER_BODY = 12


def simulate_scan(spec: ScanSpec, seed: int, *, visit: int = 0) -> tuple[Scan, Truth]:
    """Simulate one scan.

    The same seed gives the same scan; each part (receive profile, field, coil phase, texture, noise, every
    source) draws from a stream of its own, so that changing one leaves the others as they were. Another
    ``visit`` of the same seed, negative ones before the first included, has the same tissue and other noise.

    Returns
    -------
    Scan
        complex64 (echo, x, y, z), its phase sign stated.
    Truth
        A row per source, in the order of ``spec.sources``: for ``Cells`` the centroid as drawn, for ``Vein``
        the middle and the moment of all of it.
    """
    background_seed, noise_seed, source_seed = np.random.SeedSequence(seed).spawn(3)
    tissue = draw_tissue(spec, background_seed.spawn(6))
    return scan_tissue(spec, tissue, source_seed, find_visit_seed(noise_seed, visit), seed)


def scan_tissue(
    spec: ScanSpec, tissue: Tissue, source_seed: np.random.SeedSequence, noise_seed: np.random.SeedSequence, seed: int
) -> tuple[Scan, Truth]:
    """A scan of ``tissue`` with the sources of ``spec`` in it; ``seed`` is what the truth says it was drawn from."""
    grid = spec.grid
    b0 = grid.direction_in_array(spec.b0_direction)
    placed = [
        _place(source, grid, b0, spec.b0_t, np.random.default_rng(one))
        for source, one in zip(spec.sources, source_seed.spawn(len(spec.sources)), strict=True)
    ]
    signal = acquire_echoes(spec, tissue, [body for bodies, _ in placed for body in bodies])
    signal += draw_noise(spec, noise_seed.spawn(2))
    scan = Scan(
        signal=signal.astype(np.complex64),
        echo_times_s=np.array(spec.echo_times_s),
        b0_t=spec.b0_t,
        affine=spec.affine,
        b0_direction=spec.b0_direction,
        phase_sign=spec.phase_sign,
    )
    rows = [{**row, "object_id": source.object_id} for source, (_, row) in zip(spec.sources, placed, strict=True)]
    return scan, Truth(Table.from_rows(TRUTH, rows), seed, grid.voxel_mm)


def find_visit_seed(seed: np.random.SeedSequence, visit: int) -> np.random.SeedSequence:
    """The seed of what is a visit's own (noise), which no other visit has."""
    if visit == 0:
        return seed
    child = visit - 1 if visit > 0 else 2**16 - visit
    return np.random.SeedSequence(seed.entropy, spawn_key=(*seed.spawn_key, child))


def place_points(
    grid: Grid, b0: NDArray[np.float64], position_mm: Any, moment_am2: float, core_radius_um: float
) -> Swarm:
    """One point of ``moment_am2`` at ``position_mm`` (RAS+), as a body along the array's axes."""
    return Swarm(
        _to_array_m(grid, np.reshape(position_mm, (1, 3))),
        np.array([HZ_M3_PER_AM2 * moment_am2]),
        core_radius_um * 1e-6,
        b0,
    )


def _place(
    source: Source, grid: Grid, b0: NDArray[np.float64], b0_t: float, rng: np.random.Generator
) -> tuple[list[Body], dict[str, Any]]:
    """The bodies of a source, along the array's axes, and its row of the truth."""
    if isinstance(source, Point):
        point = place_points(grid, b0, source.position_mm, source.moment_am2, source.core_radius_um)
        radius_mm = source.core_radius_um * 1e-3
        return [point], _row(
            source.position_mm, source.moment_am2, source.kind, radius_mm, source.iron_pg, source.n_cells
        )
    if isinstance(source, Cells):
        return _place_cells(scatter_cells(source, rng), grid, b0)
    if isinstance(source, PlacedCells):
        return _place_cells(source, grid, b0)
    if isinstance(source, Sphere):
        moment = float(sphere_moment_am2(source.radius_um * 1e-6, source.delta_chi, b0_t))
        sphere = Swarm(
            _to_array_m(grid, np.reshape(source.position_mm, (1, 3))),
            np.array([HZ_M3_PER_AM2 * moment]),
            source.radius_um * 1e-6,
            b0,
            is_sphere=True,
            inside_per_s=source.inside_per_s,
        )
        return [sphere], _row(source.position_mm, moment, source.kind, source.radius_um * 1e-3)
    if isinstance(source, Ellipsoid):
        return _place_ellipsoid(source, grid, b0, b0_t)
    return _place_vein(source, grid, b0, b0_t)


def scatter_cells(source: Cells, rng: np.random.Generator) -> PlacedCells:
    """The cells of a cluster at places of their own."""
    directions = rng.normal(size=(source.n_cells, 3))
    directions /= np.linalg.norm(directions, axis=1, keepdims=True)
    radii = source.radius_um * 1e-3 * np.cbrt(rng.random((source.n_cells, 1)))
    positions = np.array(source.centre_mm) + radii * directions
    moments = np.full(source.n_cells, source.moment_am2 / source.n_cells)
    return PlacedCells(
        positions,
        moments,
        source.cell_core_radius_um,
        source.kind,
        source.iron_pg,
        source.n_cells,
        source.object_id,
    )


def _place_cells(source: PlacedCells, grid: Grid, b0: NDArray[np.float64]) -> tuple[list[Body], dict[str, Any]]:
    positions_m = _to_array_m(grid, source.positions_mm)
    bodies: list[Body] = [
        Swarm(positions_m[group], HZ_M3_PER_AM2 * source.moments_am2[group], source.cell_core_radius_um * 1e-6, b0)
        for group in _split_into_groups(positions_m)
    ]
    moment = float(source.moments_am2.sum())
    weights = np.abs(source.moments_am2)
    centroid = np.average(source.positions_mm, axis=0, weights=weights if weights.any() else None)
    farthest = float(np.linalg.norm(source.positions_mm - centroid, axis=1).max())
    radius_mm = farthest + source.cell_core_radius_um * 1e-3
    return bodies, _row(centroid, moment, source.kind, radius_mm, source.iron_pg, source.n_cells)


def _split_into_groups(positions: NDArray[np.float64]) -> list[NDArray[np.int_]]:
    """Indices of neighbouring cells, few enough in each that most of a large cluster is far from any voxel."""
    groups, pending = [], [np.arange(len(positions))]
    while pending:
        group = pending.pop()
        if len(group) <= _CELLS_PER_BODY:
            groups.append(group)
            continue
        widest = int(np.ptp(positions[group], axis=0).argmax())
        order = group[np.argsort(positions[group, widest])]
        pending += [order[: len(order) // 2], order[len(order) // 2 :]]
    return groups


def _place_ellipsoid(
    source: Ellipsoid, grid: Grid, b0: NDArray[np.float64], b0_t: float
) -> tuple[list[Body], dict[str, Any]]:
    half_axes_m = np.array(source.half_axes_um) * 1e-6
    body = Spheroid(
        _to_array_m(grid, np.reshape(source.centre_mm, (1, 3)))[0],
        half_axes_m,
        grid.axes.T @ build_rotation(source.rotation_deg),
        source.delta_chi,
        GAMMA_HZ_PER_T * b0_t,
        b0,
        source.inside_per_s,
    )
    moment = 4 * math.pi / 3 * math.prod(half_axes_m) * source.delta_chi * b0_t / MU0
    radius_mm = max(source.half_axes_um) * 1e-3
    return [body], _row(source.centre_mm, moment, source.kind, radius_mm, source.iron_pg, source.n_cells)


def _place_vein(source: Vein, grid: Grid, b0: NDArray[np.float64], b0_t: float) -> tuple[list[Body], dict[str, Any]]:
    ends = _to_array_m(grid, [source.start_mm, source.end_mm])
    length = float(np.linalg.norm(ends[1] - ends[0]))
    radius = source.radius_um * 1e-6
    axis, b0_hz = (ends[1] - ends[0]) / length, GAMMA_HZ_PER_T * b0_t
    body = Tube(ends[0], axis, length, radius, source.delta_chi, b0_hz, b0, source.inside_per_s)
    middle = (np.array(source.start_mm) + np.array(source.end_mm)) / 2
    moment = source.delta_chi * np.pi * radius**2 * length * b0_t / MU0
    half_axis = (np.array(source.end_mm) - np.array(source.start_mm)) / 2
    return [body], _row(middle, moment, source.kind, source.radius_um * 1e-3, axis_mm=half_axis)


def _row(
    position_mm: Any,
    moment_am2: float,
    kind: str,
    radius_mm: float,
    iron_pg: float = math.nan,
    n_cells: float = math.nan,
    axis_mm: Any = (0.0, 0.0, 0.0),
) -> dict[str, Any]:
    x, y, z = position_mm
    return {
        "x_mm": x,
        "y_mm": y,
        "z_mm": z,
        "moment_am2": moment_am2,
        "iron_pg": iron_pg,
        "n_cells": n_cells,
        "kind": kind,
        "radius_mm": radius_mm,
        **{f"axis_{name}_mm": float(part) for name, part in zip("xyz", axis_mm, strict=True)},
    }


def _to_array_m(grid: Grid, positions_mm: Any) -> NDArray[np.float64]:
    """RAS+ mm (n, 3) to metres along the array's axes, the first voxel's centre at zero."""
    return np.asarray(grid.to_ijk(positions_mm) * np.array(grid.voxel_mm) * 1e-3)
