"""Forced measurement: the moment at places that are given, whether or not anything was found there.

Nothing is selected, so nothing is high because it was found: a value may be zero or negative, and its interval is
the plain one.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.spatial import KDTree

from ferrosight.clusters.fit import Sources, WindowData
from ferrosight.clusters.judge import PARTIAL_WINDOW, POOR_FIT
from ferrosight.clusters.places import Measured, measure_places, place_sources
from ferrosight.clusters.point_spread import choose_point_spread
from ferrosight.clusters.prepare import PAD, PointSpread, PreparedScan, build_tables, prepare_scan, window_data
from ferrosight.clusters.rows import moment_per_q
from ferrosight.clusters.screen import WEAK_LEVELS, Screener
from ferrosight.clusters.search import EXPLAINS, SAME_PLACE
from ferrosight.errors import InputError
from ferrosight.physics.cluster_signal import Readout
from ferrosight.types import FORCED, GRAFT_ESTIMATOR, Catalogue, FieldMap, Flag, Scan, Table, flag_names
from ferrosight.types.config import ClustersConfig

#: A position given without an error is held to this, voxel edges.
_EXACT = 1e-4
#: Half the width of a 95 % interval, standard deviations.
_Z95 = 1.959964


def measure_at(
    scan: Scan,
    field_map: FieldMap,
    positions_mm: ArrayLike,
    config: ClustersConfig,
    *,
    catalogue: Catalogue | None = None,
    positions_mm_err: ArrayLike | None = None,
) -> Table:
    """Moment of iron's polarity, with its error, at every given place.

    The full complex model of the search (void and lobes, local background, the scan's own point spread) is fitted in a
    window around each place; places whose windows overlap are fitted together.

    Parameters
    ----------
    positions_mm : float (n, 3)
        Scanner RAS+ mm.
    catalogue
        The scan's own: its sources of score 6 or more are fitted beside the places, but for those that are the same
        source as a place (nearer than 1.3 mean voxel edges). Without it only the places are.
    positions_mm_err : float (n, 3) or what broadcasts to it, optional
        One standard deviation along each scanner axis, mm: a Gaussian prior on the position, which is then fitted with
        the moment (the largest posterior). 0, the default, holds the position.

    Returns
    -------
    Table
        Schema FORCED, a row per place in the order given. NaN, with a remark, where the place lies outside the image
        or the mask, or its window holds too little. Errors have neighbours free and the position's prior in them, and
        grow as those of the catalogue do.

    Raises
    ------
    InputError
        Shapes do not match, or neither scan nor catalogue knows the sign of phase.
    """
    places, spread = _check_places(positions_mm, positions_mm_err)
    sign = _known_sign(scan, catalogue)
    prepared = prepare_scan(scan, field_map, config.window_voxels)
    inside = _is_inside(scan, field_map, places)
    data = _prepare_windows(scan, field_map, prepared)
    known = _explaining(scan, catalogue, data)
    own_places = scan.grid.to_ijk(np.where(inside[:, None], places, 0.0)) + PAD
    known = known.pick(_is_elsewhere(known.positions, own_places[inside], data.edges))
    held = _invert_prior(scan, spread)
    fitted = np.flatnonzero(inside)
    measured = measure_places(data, known, own_places[fitted], held[fitted], field_map.noise, sign)
    return _tabulate(places, fitted, measured, sign * moment_per_q(scan), len(data.voxels))


def _check_places(
    positions_mm: ArrayLike, positions_mm_err: ArrayLike | None
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Positions and their standard deviations, (n, 3) each."""
    places = np.asarray(positions_mm, dtype=np.float64)
    places = places.reshape(-1, 3) if places.size == 0 else places
    if places.ndim != 2 or places.shape[1] != 3:
        raise InputError(f"positions_mm must have shape (n, 3), but has {places.shape}.")
    given = np.asarray(0.0 if positions_mm_err is None else positions_mm_err, dtype=np.float64)
    try:
        spread = np.broadcast_to(given, places.shape)
    except ValueError:
        raise InputError(
            f"positions_mm_err must have the shape {places.shape} of positions_mm, but has {given.shape}."
        ) from None
    if not np.isfinite(spread).all() or (spread < 0).any():
        raise InputError("positions_mm_err must be zero or positive everywhere, but it is not.")
    return places, spread


def _known_sign(scan: Scan, catalogue: Catalogue | None) -> int:
    """The sign of q that iron has."""
    sign = int(scan.phase_sign) or (int(catalogue.phase_sign) if catalogue is not None else 0)
    if not sign:
        raise InputError(
            "the sign of phase must be known to measure moments at given places, but neither the scan states it nor "
            "a catalogue settles it: state it with dataclasses.replace(scan, phase_sign=...)."
        )
    if catalogue is not None and not int(catalogue.phase_sign) and len(catalogue.clusters):
        raise InputError(
            "the catalogue was made with the sign of phase unknown, so its sources have none; "
            "analyse the scan again with its phase sign stated."
        )
    return sign


def _is_inside(scan: Scan, field_map: FieldMap, places: NDArray[np.float64]) -> NDArray[np.bool_]:
    """Whether each place's nearest voxel lies in the image and the mask."""
    finite = np.asarray(np.isfinite(places).all(axis=1), dtype=np.bool_)
    voxels = np.round(scan.grid.to_ijk(np.where(finite[:, None], places, 0.0)))
    shape = np.array(scan.grid.shape)
    at = np.clip(voxels, 0, shape - 1).astype(np.int64)
    return np.asarray(finite & (at == voxels).all(axis=1) & field_map.mask[tuple(at.T)], dtype=np.bool_)


def _prepare_windows(scan: Scan, field_map: FieldMap, prepared: PreparedScan) -> WindowData:
    """Windows under the point spread that the search would choose; of the patterns only the dipole."""
    as_acquired = PointSpread("kspace", field_map.noise.support, Readout(), "")
    weak = build_tables(scan, prepared, as_acquired, ("dipole",), WEAK_LEVELS)
    evidence = Screener(prepared, weak).screen(prepared.signal)
    point_spread = choose_point_spread(scan, field_map, prepared, evidence)
    return window_data(prepared, build_tables(scan, prepared, point_spread, ("dipole",)))


def _explaining(scan: Scan, catalogue: Catalogue | None, data: WindowData) -> Sources:
    """The catalogue's sources that explain their surroundings, where and as strong as it has them."""
    if catalogue is None:
        return place_sources(data, np.zeros((0, 3)), np.zeros(0))
    clusters, fits = catalogue.clusters, catalogue.fits
    rows = (clusters["score"] >= EXPLAINS) & np.isfinite(clusters["moment_am2"])
    # A graft is no point, and cannot be fitted as one.
    rows &= clusters["estimator"] != GRAFT_ESTIMATOR
    positions = np.stack([fits[f"{axis}_voxel"][rows] for axis in "ijk"], axis=1) + PAD
    return place_sources(data, positions, int(catalogue.phase_sign) * clusters["moment_am2"][rows] / moment_per_q(scan))


def _is_elsewhere(
    positions: NDArray[np.float64], places: NDArray[np.float64], edges: NDArray[np.float64]
) -> NDArray[np.bool_]:
    """Whether each position is another source than every place."""
    if not len(places) or not len(positions):
        return np.ones(len(positions), np.bool_)
    distance = np.asarray(KDTree(places * edges).query(positions * edges)[0])
    return np.asarray(distance >= SAME_PLACE, dtype=np.bool_)


def _invert_prior(scan: Scan, spread: NDArray[np.float64]) -> NDArray[np.float64]:
    """Inverse covariance (n, 3, 3) of the positions in voxels, from standard deviations (n, 3) in scanner mm."""
    to_mm = scan.grid.affine[:3, :3]
    exact = _EXACT * float(np.cbrt(np.prod(scan.grid.voxel_mm)))
    precision = 1 / np.maximum(spread, exact) ** 2
    return np.asarray(np.einsum("ca,nc,cb->nab", to_mm, precision, to_mm), dtype=np.float64)


def _flag(measured: Measured, full_window: int) -> NDArray[np.int64]:
    """What is to be said of each measurement."""
    forced = measured.sources
    flags = np.zeros(len(forced), np.int64)
    flags[forced.n_data < PARTIAL_WINDOW * full_window] |= Flag.PARTIAL_WINDOW
    flags[forced.chi2 > POOR_FIT * forced.dof] |= Flag.POOR_FIT
    flags[measured.n_neighbours > 0] |= Flag.JOINT_FIT
    flags[measured.disagree] |= Flag.WINDOWS_DISAGREE
    flags[(forced.steps < 0) | ~np.isfinite(measured.covariance[:, 0, 0])] |= Flag.FIT_FAILED
    return flags


def _tabulate(
    places: NDArray[np.float64], fitted: NDArray[np.int64], measured: Measured, moment_per_q: float, full_window: int
) -> Table:
    """A row per place; what was ``measured`` are the ``fitted`` ones, the others lie outside."""
    forced, n = measured.sources, len(places)
    moment, err, chi2_dof = np.full((3, n), np.nan)
    failed = forced.steps < 0
    moment[fitted] = np.where(failed, np.nan, forced.q * moment_per_q)
    err[fitted] = np.where(failed, np.nan, np.sqrt(measured.covariance[:, 0, 0]) * abs(moment_per_q))
    chi2_dof[fitted] = np.where(failed, np.nan, forced.chi2 / forced.dof)
    flags, n_neighbours = np.full(n, int(Flag.OUTSIDE)), np.zeros(n, np.int64)
    flags[fitted], n_neighbours[fitted] = _flag(measured, full_window), measured.n_neighbours
    columns = {f"{axis}_mm": places[:, a] for a, axis in enumerate("xyz")}
    columns |= {"moment_am2": moment, "moment_am2_err": err, "chi2_dof": chi2_dof}
    columns |= {"moment_am2_low": moment - _Z95 * err, "moment_am2_high": moment + _Z95 * err}
    remarks = np.array([flag_names(int(bits)) for bits in flags], dtype=np.str_)
    return Table(FORCED, {**columns, "n_neighbours": n_neighbours, "remarks": remarks})
