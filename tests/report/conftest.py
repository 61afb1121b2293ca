"""Synthetic visits for the report: a thin anisotropic gel, an oblique isotropic scan, and one with nothing in it.

Signals are real dipoles over a shaded background; the catalogue is made from what was put in.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from html.parser import HTMLParser
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from ferrosight.types import (
    CLUSTERS,
    FITS,
    NULLS,
    AxisSupport,
    Catalogue,
    EvidenceMap,
    FieldMap,
    FitPatch,
    Grid,
    Label,
    Noise,
    NullCalibration,
    PhaseSign,
    Scan,
    Table,
)
from ferrosight.types.schema import RELAPSE, TRACKS
from ferrosight.types.story import Backdrop, LineageEvidence, StoryVisit, SubjectStory

#: γ·μ0/4π, rad s⁻¹ m³ per A m².
GAMMA_MU0_4PI = 2.6752218744e8 * 1e-7
SIGMA = 0.026
MS = 93.6
LABEL = Label(
    "ferumoxides",
    "ferumoxides",
    ms_am2_per_kg_fe=MS,
    ms_rel_sd=0.12,
    ms_source="assumption (range 88 to 127)",
    iron_per_cell_pg=10.94,
    iron_per_cell_sd_pg=1.86,
    iron_per_cell_source="Arbab 2004",
)
PATTERNS = ("dipole", "xz", "yz", "xy", "x2-y2")


@dataclass(frozen=True)
class Visit:
    """All that a report is made of."""

    scan: Scan
    field_map: FieldMap
    evidence: EvidenceMap
    catalogue: Catalogue

    @property
    def parts(self) -> tuple[Scan, FieldMap, EvidenceMap, Catalogue]:
        return self.scan, self.field_map, self.evidence, self.catalogue


def rotation(x_deg: float, y_deg: float, z_deg: float) -> NDArray[np.float64]:
    """Rotation matrix from three angles."""
    out = np.eye(3)
    for axis, angle in enumerate(np.deg2rad([x_deg, y_deg, z_deg])):
        a, b = (axis + 1) % 3, (axis + 2) % 3
        turn = np.eye(3)
        turn[[a, b, a, b], [a, b, b, a]] = [np.cos(angle), np.cos(angle), -np.sin(angle), np.sin(angle)]
        out = turn @ out
    return out


def affine_of(directions: NDArray[np.float64], voxel_mm: tuple[float, float, float], shape: tuple[int, ...]) -> Any:
    """An affine with these axis directions (columns) and the image's centre near the scanner's."""
    affine = np.eye(4)
    affine[:3, :3] = directions * np.asarray(voxel_mm)
    affine[:3, 3] = -affine[:3, :3] @ ((np.asarray(shape) - 1) / 2) + (0.1, -0.2, 0.3)
    return affine


def make_visit(
    shape: tuple[int, int, int],
    voxel_mm: tuple[float, float, float],
    directions: NDArray[np.float64],
    *,
    echo_times_s: tuple[float, ...] = (0.005,),
    n_accepted: int = 30,
    n_rejected: int = 40,
    seed: int = 1,
    phase_sign: PhaseSign = PhaseSign.POSITIVE,
    label: Label | None = LABEL,
    subject: str = "gel",
) -> Visit:
    """A visit with so many clusters; the strongest rejected ones are bubbles, veins and the like."""
    rng = np.random.default_rng(seed)
    grid = Grid(shape, affine_of(directions, voxel_mm, shape))
    mask, background = _tissue(grid, echo_times_s)
    n = n_accepted + n_rejected
    inside = np.argwhere(mask)
    centres = inside[rng.choice(len(inside), n, replace=False)] + rng.uniform(-0.5, 0.5, (n, 3))
    moments = 10 ** rng.normal(-12.7, 0.45, n) * (np.mean(voxel_mm) / 0.042) ** 3
    moments[n_accepted:] *= 0.3
    moments = np.concatenate([np.sort(moments[:n_accepted])[::-1], np.sort(moments[n_accepted:])[::-1]])
    kinds = _kinds(n_accepted, n_rejected)
    signs = np.where(kinds == "opposite_polarity", -1.0, 1.0)
    clean = background.copy()
    windows = []
    for centre, moment in zip(centres, moments * signs, strict=True):
        window = _window(centre, shape, (8, 9, 6))
        clean[(slice(None), *window)] *= _dipole(grid, centre, window, moment, echo_times_s)
        windows.append(window)
    noise = rng.normal(0, SIGMA, (2, *clean.shape))
    signal = (clean + noise[0] + 1j * noise[1]).astype(np.complex64)
    if phase_sign is PhaseSign.NEGATIVE:
        signal, clean, background = signal.conj(), clean.conj(), background.conj()
    scan = Scan(signal, np.array(echo_times_s), 11.746, grid.affine, phase_sign=phase_sign, subject=subject)
    patches = tuple(
        _patch(f"{subject}_c{i:04d}", window, signal, clean, background, mask) for i, window in enumerate(windows)
    )
    catalogue = _catalogue(rng, grid, centres, moments * signs, kinds, patches, phase_sign, label)
    return Visit(scan, _field_map(grid, signal, mask), _evidence(rng, grid, mask, catalogue), catalogue)


def _tissue(grid: Grid, echo_times_s: tuple[float, ...]) -> tuple[NDArray[np.bool_], NDArray[np.complex128]]:
    u, v, w = np.meshgrid(*[np.linspace(-1, 1, n) if n > 1 else np.zeros(1) for n in grid.shape], indexing="ij")
    mask = (np.abs(v) < 0.86) & (u < 0.6 + 0.35 * np.sqrt(np.clip(1 - (v / 0.86) ** 2, 0, 1)))
    s0 = np.where(mask, 1.0 - 0.35 * u - 0.1 * w, 0.0)
    field = 40 * u**2 - 25 * v * u + 6 * w
    times = np.array(echo_times_s)[:, None, None, None]
    return mask, s0 * np.exp(-20 * times) * np.exp(2j * np.pi * field * times)


def _window(centre: NDArray[np.float64], shape: tuple[int, ...], half: tuple[int, ...]) -> tuple[slice, ...]:
    middle = np.rint(centre).astype(int)
    return tuple(slice(max(m - h, 0), min(m + h + 1, n)) for m, h, n in zip(middle, half, shape, strict=True))


def _dipole(
    grid: Grid, centre: NDArray[np.float64], window: tuple[slice, ...], moment: float, echo_times_s: tuple[float, ...]
) -> NDArray[np.complex128]:
    ijk = np.stack(np.meshgrid(*[np.arange(s.start, s.stop) for s in window], indexing="ij"), axis=-1)
    away = (ijk - centre) * np.asarray(grid.voxel_mm) * 1e-3
    b0 = grid.axes.T @ np.array([0.0, 0.0, 1.0])
    r = np.maximum(np.linalg.norm(away, axis=-1), 0.3e-3 * min(grid.voxel_mm))
    angle = (3 * (away @ b0 / r) ** 2 - 1) / r**3
    p = GAMMA_MU0_4PI * moment * np.array(echo_times_s)[:, None, None, None]
    # Dephasing within a voxel, by its own size times the field's gradient.
    spread = np.abs(p) / r**4 * np.mean(grid.voxel_mm) * 1e-3
    return np.asarray(np.exp(1j * p * angle) / (1 + spread**2))


def _patch(cluster_id: str, window: tuple[slice, ...], signal: Any, clean: Any, background: Any, mask: Any) -> FitPatch:
    cut = (slice(None), *window)
    data = np.where(mask[window], signal[cut], np.nan)
    return FitPatch(cluster_id, tuple(int(s.start) for s in window), data, clean[cut], background[cut])  # type: ignore[arg-type]


def _kinds(n_accepted: int, n_rejected: int) -> NDArray[np.str_]:
    named = ["bubble", "bubble", "vein", "opposite_polarity", "outside", "not_significant;outside"]
    rest = [named[i] if i < len(named) else "not_significant" for i in range(n_rejected)]
    return np.array([""] * n_accepted + rest, dtype=np.str_)


def _field_map(grid: Grid, signal: Any, mask: Any) -> FieldMap:
    def outside_nan(value: float) -> Any:
        return np.where(mask, value, np.nan).astype(np.float32)

    lags = np.zeros((3, 3, 3))
    lags[1, 1, 1] = 1.0
    noise = Noise(
        np.full(signal.shape, SIGMA, np.float32), lags, (AxisSupport(), AxisSupport(-0.25, 0.5), AxisSupport())
    )
    s0 = np.where(mask, np.abs(signal[0]), np.nan).astype(np.float32)
    flat = [outside_nan(v) for v in (3.0, 0.4, 0.5)]
    nothing = outside_nan(np.nan)
    return FieldMap(grid, *flat, nothing, nothing, s0, mask, noise)


def _evidence(rng: np.random.Generator, grid: Grid, mask: Any, catalogue: Catalogue) -> EvidenceMap:
    z = rng.normal(0, 1, (len(PATTERNS), *grid.shape)).astype(np.float32)
    fits, scores = catalogue.fits, catalogue.clusters["score"]
    for row in range(len(scores)):
        centre = np.array([fits[f"{a}_voxel"][row] for a in "ijk"])
        if not np.isfinite(centre).all():
            continue
        window = _window(centre, grid.shape, (2, 2, 1))
        ijk = np.stack(np.meshgrid(*[np.arange(s.start, s.stop) for s in window], indexing="ij"), axis=-1)
        z[(0, *window)] += 0.7 * scores[row] * np.exp(-0.5 * ((ijk - centre) ** 2).sum(axis=-1))
    return EvidenceMap(grid, PATTERNS, np.where(mask, z, 0).astype(np.float32))


def _catalogue(
    rng: np.random.Generator,
    grid: Grid,
    centres: Any,
    moments: Any,
    kinds: Any,
    patches: tuple[FitPatch, ...],
    phase_sign: PhaseSign,
    label: Label | None,
) -> Catalogue:
    n = len(moments)
    n_accepted = int(np.count_nonzero(kinds == ""))
    scores = np.concatenate(
        [np.sort(6.2 + rng.exponential(9, n_accepted))[::-1], np.sort(rng.uniform(4, 6, n - n_accepted))[::-1]]
    )
    errors = np.abs(moments) / scores
    iron = np.abs(moments) / MS * 1e15
    half = 1.96 * np.hypot(errors / np.abs(moments), 0.12)
    cells_half = np.hypot(half, 1.96 * 0.17)
    mm = grid.to_mm(centres).reshape(-1, 3)
    known = np.nan if label is None else 1.0
    clusters = Table(
        CLUSTERS,
        {
            "cluster_id": np.array([patch.cluster_id for patch in patches], dtype=np.str_),
            **{f"{a}_mm": mm[:, i] for i, a in enumerate("xyz")},
            **{f"{a}_mm_err": np.full(n, 0.004) for a in "xyz"},
            "moment_am2": moments,
            "moment_am2_err": errors,
            "iron_pg": iron * known,
            "iron_pg_low": iron * np.clip(1 - half, 0, 1) * known,
            "iron_pg_high": iron * (1 + half) * known,
            "n_cells": iron / 10.94 * known,
            "n_cells_low": iron / 10.94 * np.clip(1 - cells_half, 0, 1) * known,
            "n_cells_high": iron / 10.94 * (1 + cells_half) * known,
            "score": scores,
            "p_value": np.exp(-(scores**2) / 2),
            "q_value": np.minimum(1, 100 * np.exp(-(scores**2) / 3)),
            "expected_false": 4000 * np.exp(-(scores**2) / 3),
            "status": np.where(kinds == "", "accepted", "rejected"),
            "reasons": kinds,
            "estimator": rng.choice(["point", "joint"], n) if n else np.array([], dtype=np.str_),
        },
    )
    remarks = np.where(
        rng.uniform(size=n) < 0.3, "poor_fit;windows_disagree", np.where(rng.uniform(size=n) < 0.3, "joint_fit", "")
    )
    inner = moments * (1 + rng.normal(0, 1.5 / scores))
    outer = moments * (1 + rng.normal(0, 2.0 / scores))
    fits = Table(
        FITS,
        {
            "cluster_id": clusters["cluster_id"],
            **{f"{a}_voxel": centres[:, i] for i, a in enumerate("ijk")},
            "chi2_dof": rng.gamma(8, 1 / 7, n) * np.where(rng.uniform(size=n) < 0.1, 6, 1),
            "error_inflation": np.ones(n),
            "moment_inner_am2": inner,
            "moment_inner_am2_err": 1.5 * errors,
            "moment_outer_am2": outer,
            "moment_outer_am2_err": 2 * errors,
            "window_fraction": np.ones(n),
            "remarks": remarks,
        },
    )
    return Catalogue(
        clusters,
        fits,
        _null(rng, scores[:n_accepted], moments[n_accepted:]),
        patches,
        phase_sign,
        "the sidecar's scanner",
        "average over the voxel; chosen by the 48 strongest sources (median χ²/dof 2.06)",
        0.05,
        label,
        None if label is None else MS,
        notes=("B0 along another axis does not explain this scan better.",),
        settings={"clusters.q": 0.05},
        load=None if label is None else label.load,
    )


def _null(rng: np.random.Generator, accepted: Any, rejected: Any) -> NullCalibration:
    rows: list[dict[str, Any]] = [{"pattern": "dipole", "sign": 1, "score": s} for s in accepted]
    counts: dict[str, int] = {"dipole": len(accepted)}
    if len(rejected) or len(accepted):
        for pattern, sign, n in (
            ("dipole", 1, 90),
            ("opposite", -1, 70),
            *((p, s, 60) for p in PATTERNS[1:] for s in (1, -1)),
        ):
            scores = np.sqrt(9 + 2 * rng.exponential(1.6, n))
            rows += [{"pattern": pattern, "sign": sign, "score": s} for s in scores]
            counts[pattern] = counts.get(pattern, 0) + int(np.count_nonzero(scores >= 6.2))
    empty = not rows
    curve = np.linspace(4.0, 40.0, 73)
    return NullCalibration(
        candidates=Table.from_rows(NULLS, rows),
        curve_scores=curve[:0] if empty else curve,
        curve_expected=curve[:0] if empty else 25.0 * np.exp(-(curve**2 - 16.0) / 3.2),
        tail_threshold=np.nan if empty else 4.0,
        tail_rate=np.nan if empty else 25.0,
        tail_scale=np.nan if empty else 1.6,
        tail_scale_err=np.nan if empty else 0.12,
        n_decoys_in_tail=0 if empty else 130,
        score_threshold=6.2 if len(accepted) else np.nan,
        counts_at_threshold=counts if len(accepted) else {},
        class_spread={"dipole": 1.02, "xz": 0.98},
        n_places=0 if empty else 700,
    )


#: The gel's axes: array axis 0 is scanner z, 1 is x, 2 is y.
GEL_AXES = np.array([[0.0, 1.0, 0.0], [0.0, 0.0, 1.0], [1.0, 0.0, 0.0]])


@pytest.fixture(scope="session")
def gel() -> Visit:
    """A thin anisotropic slab with B0 along array axis 0, many clusters."""
    return make_visit((96, 80, 8), (0.0547, 0.0363, 0.0363), GEL_AXES)


@pytest.fixture(scope="session")
def oblique() -> Visit:
    """Isotropic, tilted about two axes with one flipped; three echoes, falling phase, few clusters."""
    directions = rotation(18, 9, 4) @ np.diag([-1.0, 1.0, 1.0])
    return make_visit(
        (41, 36, 29), (0.1, 0.1, 0.1), directions, echo_times_s=(0.004, 0.008, 0.012), n_accepted=3, n_rejected=12,
        seed=7, phase_sign=PhaseSign.NEGATIVE, subject="oblique",
    )  # fmt: skip


@pytest.fixture(scope="session")
def empty() -> Visit:
    """Nothing found, not even a candidate, and the sign of phase unknown."""
    return make_visit(
        (40, 32, 8), (0.0547, 0.0363, 0.0363), GEL_AXES, n_accepted=0, n_rejected=0, phase_sign=PhaseSign.UNKNOWN,
        label=None, subject="empty",
    )  # fmt: skip


@pytest.fixture(scope="session")
def control() -> Visit:
    """Candidates, none of them accepted."""
    return make_visit((64, 48, 20), (0.47, 0.47, 1.0), np.eye(3), n_accepted=0, n_rejected=25, subject="control")


@pytest.fixture(scope="session")
def visit_factory() -> Any:
    """``make_visit`` itself, for tests that need a visit of their own."""
    return make_visit


DAYS = (0.0, 7.0, 14.0, 21.0, 28.0)


def track_rows(
    name: str,
    cells: list[float],
    places: NDArray[np.float64],
    *,
    sessions: list[str],
    days: list[float],
    parents: str = "",
    level: str = "cells",
    limit_pg: float = 400.0,
) -> list[dict[str, Any]]:
    """Rows of one track; ``cells`` has NaN where it was outside, and what is below the limit was not detected."""
    rows = []
    for visit, (n_cells, place) in enumerate(zip(cells, places, strict=True)):
        iron = 10.94 * n_cells
        err = 60.0
        found = iron > limit_pg
        row = {
            "track_id": name,
            "session_id": sessions[visit],
            "day": days[visit],
            "measurement": "outside" if np.isnan(n_cells) else "detected" if found else "forced",
            "event": "continue" if found else "gap",
            "parent_ids": parents,
            "cluster_id": f"{name}_{visit}" if found else "",
            "link_probability": 0.9,
            **{f"{a}_mm": place[i] for i, a in enumerate("xyz")},
            **{f"{a}_mm_err": 0.05 + 0.03 * i for i, a in enumerate("xyz")},
        }
        moment = MS * 1e-15
        row |= {
            "moment_am2": iron * moment,
            "moment_am2_err": err * moment,
            "moment_am2_low": (iron - 2 * err) * moment,
            "moment_am2_high": (iron + 2 * err) * moment,
            "upper_limit_moment_am2": (iron + 1.64 * err) * moment,
        }
        if level != "moment":
            row |= {"iron_pg": iron, "iron_pg_low": 0.75 * iron - 2 * err, "iron_pg_high": 1.25 * iron + 2 * err}
            row |= {"upper_limit_iron_pg": 1.25 * iron + 1.64 * err, "limit_iron_pg": limit_pg * (1 + 0.1 * visit)}
        if level == "cells":
            row |= {f"n_cells{end}": row[f"iron_pg{end}"] / 10.94 for end in ("", "_low", "_high")}
            row |= {"upper_limit_n_cells": row["upper_limit_iron_pg"] / 10.94}
        if np.isnan(n_cells):
            row = {key: value for key, value in row.items() if value == value}
        rows.append(row)
    return rows


def make_story(
    subject: str = "01",
    *,
    days: tuple[float, ...] = DAYS,
    n_tracks: int = 3,
    growth: float = 1.0,
    seed: int = 1,
    level: str = "cells",
    failed: tuple[int, ...] = (),
    baseline: bool = False,
    branches: bool = False,
    relapse: str = "none",
    backdrop: bool = False,
    group: str = "",
) -> SubjectStory:
    """A subject with so many tracks, by a rule of thumb and not by any analysis.

    ``relapse`` is untested, unknown, none or alarm; ``growth`` multiplies the first track at every visit.
    """
    rng = np.random.default_rng(seed)
    sessions = [f"d{i:02d}" for i in range(len(days))]
    used = [i for i in range(len(days)) if i not in failed and not (baseline and i == 0)]
    rows: list[dict[str, Any]] = []
    for number in range(n_tracks):
        steps = np.arange(len(used))
        cells = rng.lognormal(6.0, 0.8) * (growth if number == 0 else 0.78) ** steps * rng.lognormal(0, 0.08, len(used))
        places = rng.uniform((-6, -4, -9), (6, 4, 9)) + np.cumsum(rng.normal(0, 0.25, (len(used), 3)), axis=0)
        where = {"sessions": [sessions[i] for i in used], "days": [days[i] for i in used], "level": level}
        rows += track_rows(f"sub-{subject}_t{number}", cells.tolist(), places, **where)  # type: ignore[arg-type]
        if branches and number == 0:
            for row in rows[-len(used) + 2 :]:
                row |= {"measurement": "forced", "cluster_id": ""}
            rows += _branch(subject, cells, places, sessions, days, used, level)
    visits = tuple(
        StoryVisit(
            name,
            days[i],
            is_baseline=baseline and i == 0,
            error="no magnitude image was found; add part-mag." if i in failed else "",
            n_accepted=None if i in failed else n_tracks,
            report="" if i in failed else f"ses-{name}/sub-{subject}_ses-{name}_report.html",
        )
        for i, name in enumerate(sessions)
    )
    tracks = Table.from_rows(TRACKS, rows)
    table, lineages, notes = _make_relapse(relapse, sessions, days, used, tracks, rng)
    return SubjectStory(
        subject,
        visits,
        tracks,
        relapse=table,
        relapse_notes=notes,
        lineages=lineages,
        group=group,
        study_kind="targeted",
        label="" if level == "moment" else "ferumoxides",
        backdrop=_make_backdrop() if backdrop else None,
        report=f"sub-{subject}/sub-{subject}_report.html",
    )


def _branch(
    subject: str,
    cells: NDArray[np.float64],
    places: NDArray[np.float64],
    sessions: list[str],
    days: tuple[float, ...],
    used: list[int],
    level: str,
) -> list[dict[str, Any]]:
    """Two children of the first track from the third visit on."""
    late = used[2:]
    rows = []
    for side, share in ((-1, 0.4), (1, 0.6)):
        where = {"sessions": [sessions[i] for i in late], "days": [days[i] for i in late], "level": level}
        moved = places[2:] + side * np.array([1.2, 0.5, 0.9]) * np.linspace(0.5, 1.5, len(late))[:, None]
        name, parent = f"sub-{subject}_s{side}", f"sub-{subject}_t0"
        rows += track_rows(name, (share * cells[2:]).tolist(), moved, parents=parent, **where)  # type: ignore[arg-type]
    return rows


def _make_relapse(
    kind: str, sessions: list[str], days: tuple[float, ...], used: list[int], tracks: Table, rng: np.random.Generator
) -> tuple[Table | None, tuple[LineageEvidence, ...], tuple[str, ...]]:
    if kind == "untested":
        return None, (), ()
    n = len(used)
    columns: dict[str, Any] = {
        "session_id": np.array([sessions[i] for i in used]),
        "day": np.array([days[i] for i in used]),
        "alpha": np.full(n, 0.05),
    }
    if kind == "unknown":
        note = "Not identifiable: iron of cells labelled beforehand never shows growth; a PET scan would make it so."
        return Table(RELAPSE, columns), (), (note,)
    rate = 2.1 if kind == "alarm" else 0.05
    e_values = np.exp(rate * np.maximum(np.arange(n) - 1.0, 0) + rng.normal(0, 0.15, n) * (np.arange(n) > 1))
    running = np.maximum.accumulate(e_values)
    names = list(dict.fromkeys(tracks["track_id"].tolist()))
    lineages = tuple(
        LineageEvidence("iron", (name,), (1.9 * e_values if i == 0 else np.full(n, 0.6)), (e_values > 20) & (i == 0))
        for i, name in enumerate(names)
    )
    columns |= {
        "e_value": e_values,
        "running_e_value": running,
        "alarm": running >= 20,
        "comparator_recist": np.array(["none"] * n),
        "comparator_visible": np.array([*(["none"] * (n - 1)), "progression"]) if n else np.array([], dtype=np.str_),
    }
    births = LineageEvidence("births", (), np.ones(n), np.zeros(n, dtype=bool))
    return Table(RELAPSE, columns), (*lineages, births), ("Named as growing: 1 of 3 lineages.",)


def _make_backdrop() -> Backdrop:
    x, z = np.meshgrid(np.linspace(-9, 9, 120), np.linspace(-13, 13, 170), indexing="ij")
    body = np.clip(1.2 - (x / 8.2) ** 2 - (z / 12) ** 2, 0, None)
    image = np.where(body > 0.2, np.sqrt(np.clip(body, 0, None)) * (1 + 0.2 * np.cos(x * 1.3) * np.sin(z)), 0.02)
    return Backdrop(image, ("x", "z"), (-9, 9, -13, 13), "mean magnitude along y on d00")


@pytest.fixture(scope="session")
def story_factory() -> Any:
    """``make_story`` itself."""
    return make_story


VOID = {"area", "base", "br", "col", "hr", "img", "input", "link", "meta"}


class Page(HTMLParser):
    """Reads a page and keeps what the tests ask about; raises where tags do not close as they opened."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.ids: list[str] = []
        self.links: list[str] = []
        self.images: list[dict[str, str | None]] = []
        self.words: list[str] = []
        self.tags: list[str] = []
        self.feed(text)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        values = dict(attrs)
        self.tags.append(tag)
        if values.get("id"):
            self.ids.append(str(values["id"]))
        if tag == "a":
            self.links.append(str(values.get("href") or values.get("xlink:href")))
        if tag == "img":
            self.images.append(values)
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.handle_starttag(tag, attrs)
        if tag not in VOID:
            self.open.pop()

    def handle_endtag(self, tag: str) -> None:
        assert self.open, f"</{tag}> closes nothing"
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        if not self.open or self.open[-1] not in ("script", "style"):
            self.words.append(data)

    @property
    def text(self) -> str:
        """All that is read, in ordinary spaces."""
        return re.sub(r"\s+", " ", " ".join(self.words))


@pytest.fixture(scope="session")
def read_page() -> type[Page]:
    """``Page`` itself."""
    return Page
