"""Gradient-echo scans out of a BIDS folder. Nothing in it is ever written to."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from ferrosight.errors import BidsError, ImageError, SidecarError
from ferrosight.io import sidecars
from ferrosight.io.bids_names import IMAGE_EXTENSIONS, clean_label, parse_name, same_label, visit_stem
from ferrosight.io.nifti import read_nifti
from ferrosight.io.phase import find_phase_convention
from ferrosight.io.sidecars import Metadata, read_metadata
from ferrosight.types import Grid, PhaseSign, Scan

_LOG = logging.getLogger(__name__)
#: Suffixes of gradient-echo images, the richer first.
SUFFIXES = ("MEGRE", "T2starw")
#: Largest distance between corresponding corners of two images of one scan, in voxels.
_MAX_GRID_MISMATCH = 0.01


@dataclass(frozen=True)
class ImageFile:
    """One image of a scan: its ``part`` (mag, phase, real or imag) and its echo index, "" without one."""

    path: Path
    part: str
    echo: str = ""


@dataclass(frozen=True)
class VisitFiles:
    """The images of one scan: one subject, session, acquisition and run ("" where there is none).

    ``rivals`` names other groups of images that differ in none of these; such a visit is refused when read.
    """

    bids_dir: Path
    subject: str
    session: str
    acquisition: str
    run: str
    suffix: str
    files: tuple[ImageFile, ...]
    rivals: tuple[str, ...] = ()

    @property
    def name(self) -> str:
        """``sub-01[_ses-d07][_acq-hi][_run-1]``."""
        return visit_stem(self.subject, self.session, self.acquisition, self.run)


def find_visits(
    bids_dir: Path | str,
    subjects: Iterable[str] | None = None,
    sessions: Iterable[str] | None = None,
    *,
    other_sessions: Iterable[str] = (),
) -> tuple[VisitFiles, ...]:
    """Every gradient-echo scan of a BIDS folder, sorted; all subjects and sessions unless some are named.

    Suffixes ``MEGRE`` and ``T2starw`` in ``sub-*/[ses-*/]anat``. Where a visit has both with the same
    acquisition and run, MEGRE is taken. Labels may carry their prefix. ``other_sessions`` are those of the subjects'
    other images ("" without a session): where there are such, no gradient-echo scan is needed.

    Raises
    ------
    BidsError
        Where a folder is missing, cannot be read or holds no such images, or a label asked for does not exist.
    """
    root = Path(bids_dir)
    if not root.is_dir():
        found = "this is a file" if root.exists() else "there is no such folder"
        raise BidsError(f"{root}: a BIDS folder was expected here, but {found}.")
    present = sorted(path.name.removeprefix("sub-") for path in root.glob("sub-*") if path.is_dir())
    if not present:
        raise BidsError(f"{root} is empty of subjects: a BIDS folder holds one folder sub-<label> per subject.")
    wanted = _choose(root, "subject", "sub", present, subjects)
    visits = []
    for subject in wanted:
        try:
            of_subject = _visits_of_subject(root, subject)
        except OSError as error:
            raise BidsError(
                f"{error.filename or root} must be a folder that can be read, but is not ({error.strerror}); allow it, "
                "or choose other subjects."
            ) from error
        if not of_subject:
            _LOG.warning("%s: sub-%s has no gradient-echo images.", root, subject)
        visits += of_subject
    others = set(other_sessions)
    if not visits and not others:
        what = ", ".join(f"sub-{subject}" for subject in wanted)
        raise BidsError(
            f"{root} holds no gradient-echo images for {what}: expected names ending in "
            f"{' or '.join(SUFFIXES)} in a folder anat."
        )
    known = sorted({visit.session for visit in visits} | others)
    chosen = _choose(root, "session", "ses", known, sessions)
    return tuple(visit for visit in visits if visit.session in chosen)


def read_bids(
    bids_dir: Path | str,
    subject: str | None = None,
    session: str | None = None,
    run: str | None = None,
    *,
    acquisition: str | None = None,
    phase_sign: PhaseSign | None = None,
) -> Scan:
    """Read one gradient-echo scan from a BIDS folder.

    Labels may be left out where there is only one; "" asks for the scan without that entity. See
    ``read_visit`` for what is read and refused.

    Raises
    ------
    BidsError
        Where no scan, or more than one, is meant; the message lists those that exist.
    """
    visits = find_visits(
        bids_dir, None if subject is None else [subject], None if session in (None, "") else [str(session)]
    )
    asked = {"session": session, "run": run, "acquisition": acquisition}
    prefixes = {"session": "ses", "run": "run", "acquisition": "acq"}
    clean = {name: clean_label(prefixes[name], label) for name, label in asked.items() if label is not None}
    found = [v for v in visits if all(same_label(getattr(v, name), label) for name, label in clean.items())]
    if not found:
        wish = ", ".join(f"{name} {label!r}" for name, label in clean.items())
        raise BidsError(f"{bids_dir} has no scan with {wish}; it has {', '.join(v.name for v in visits)}.")
    if len({v.name for v in found}) > 1:
        raise BidsError(
            f"{bids_dir} holds more than one scan that could be meant: {', '.join(v.name for v in found)}; "
            "name the subject, session, acquisition or run."
        )
    return read_visit(found[0], phase_sign=phase_sign)


def read_visit(visit: VisitFiles, *, phase_sign: PhaseSign | None = None) -> Scan:
    """Read the images and sidecars of one visit into a Scan.

    Each echo needs ``part-mag`` and ``part-phase``, or ``part-real`` and ``part-imag``; an image without
    ``part`` is magnitude; where all four exist, real and imag are read, since they need no scaling. Echoes
    are separate files or the volumes of a 4-D file, and are sorted by echo time. ``phase_sign`` overrides
    the sidecar's ``PhaseSign``.

    Raises
    ------
    BidsError
        A partner is missing, or two groups of images cannot be told apart.
    ImageError
        An image cannot be read, does not match the others, or holds phase of unknown scaling.
    SidecarError
        A field is missing, impossible or contradicts another.
    """
    if visit.rivals:
        raise BidsError(
            f"{visit.bids_dir}: {visit.name} could be any of {', '.join(visit.rivals)}; "
            "keep one, or tell them apart with acq- or run-."
        )
    pairs = _pair_parts(visit)
    images = [file for pair in pairs for file in pair]
    metadata = {file.path: read_metadata(file.path, visit.bids_dir) for file in images}
    meta = list(metadata.values())
    b0_t = sidecars.agreed_value("MagneticFieldStrength", meta, sidecars.field_strength_t)
    if b0_t is None:
        raise meta[0].missing("MagneticFieldStrength", "add it, in tesla.")
    direction = sidecars.agreed_value("B0Direction", meta, sidecars.b0_direction)
    stated = sidecars.agreed_value("PhaseSign", meta, sidecars.phase_sign)
    signal, grid, times = _read_signal(pairs, metadata)
    order = np.argsort(times, kind="stable")
    sorted_times = np.asarray(times)[order]
    if (np.diff(sorted_times) <= 0).any():
        raise SidecarError(
            f"{visit.name}: every echo needs an EchoTime of its own, but they are {sorted(times)} s; "
            "correct the sidecars."
        )
    return Scan(
        signal=signal if (np.diff(order) > 0).all() else signal[order],
        echo_times_s=sorted_times,
        b0_t=b0_t,
        affine=grid.affine,
        b0_direction=direction or (0.0, 0.0, 1.0),
        phase_sign=phase_sign if phase_sign is not None else stated or PhaseSign.UNKNOWN,
        subject=visit.subject,
        session=visit.session,
        run=visit.run,
    )


def _choose(root: Path, what: str, entity: str, present: Sequence[str], asked: Iterable[str] | None) -> list[str]:
    """The labels of ``present`` that were asked for, or all; BidsError lists what exists."""
    if asked is None:
        return list(present)
    wanted = [clean_label(entity, label) for label in asked]
    absent = [label for label in wanted if label not in present]
    if absent:
        listed = ", ".join(label or f"(no {entity}-)" for label in present)
        raise BidsError(f"{root} has no {what} {', '.join(absent)}; it has {listed}.")
    return [label for label in present if label in wanted]


def _visits_of_subject(root: Path, subject: str) -> list[VisitFiles]:
    folder = root / f"sub-{subject}"
    groups: dict[tuple[str, str, str, str, str], list[ImageFile]] = {}
    for anat in [folder / "anat", *sorted(folder.glob("ses-*/anat"))]:
        session = anat.parent.name.removeprefix("ses-") if anat.parent != folder else ""
        for path in sorted(anat.iterdir()) if anat.is_dir() else []:
            name = parse_name(path.name)
            if name is None or name.suffix not in SUFFIXES or name.extension not in IMAGE_EXTENSIONS:
                continue
            entities = dict(name.entities)
            if entities.pop("sub", "") != subject or entities.pop("ses", "") != session:
                _LOG.warning("%s is left out: its name does not fit its folder.", path)
                continue
            file = ImageFile(path, entities.pop("part", "mag"), entities.pop("echo", ""))
            acquisition, run = entities.pop("acq", ""), entities.pop("run", "")
            rest = "_".join(f"{key}-{label}" for key, label in sorted(entities.items()))
            groups.setdefault((session, acquisition, run, rest, name.suffix), []).append(file)
    return _as_visits(root, subject, groups)


def _as_visits(
    root: Path, subject: str, groups: Mapping[tuple[str, str, str, str, str], Sequence[ImageFile]]
) -> list[VisitFiles]:
    alternatives: dict[tuple[str, str, str], list[tuple[str, str]]] = {}
    for session, acquisition, run, rest, suffix in groups:
        alternatives.setdefault((session, acquisition, run), []).append((suffix, rest))
    visits = []
    for (session, acquisition, run), names in sorted(alternatives.items()):
        best = min((suffix for suffix, _ in names), key=SUFFIXES.index)
        rests = sorted(rest for suffix, rest in names if suffix == best)
        visit = VisitFiles(
            root,
            subject,
            session,
            acquisition,
            run,
            best,
            files=tuple(groups[session, acquisition, run, rests[0], best]),
            rivals=tuple("_".join(filter(None, (rest, best))) for rest in rests) if len(rests) > 1 else (),
        )
        if len({suffix for suffix, _ in names}) > 1:
            _LOG.info("%s: only its %s images are read.", visit.name, best)
        visits.append(visit)
    return visits


def _pair_parts(visit: VisitFiles) -> list[tuple[ImageFile, ImageFile]]:
    """(mag, phase) or (real, imag) of every echo, the same for all echoes."""
    echoes: dict[str, dict[str, ImageFile]] = {}
    for file in visit.files:
        parts = echoes.setdefault(file.echo, {})
        if file.part in parts:
            raise BidsError(f"{parts[file.part].path} and {file.path} are the same part of the same echo; keep one.")
        parts[file.part] = file
    for wanted in (("real", "imag"), ("mag", "phase")):
        if all(part in parts for parts in echoes.values() for part in wanted):
            return [(parts[wanted[0]], parts[wanted[1]]) for parts in echoes.values()]
    raise _missing_partner(echoes)


def _missing_partner(echoes: Mapping[str, Mapping[str, ImageFile]]) -> BidsError:
    partners = {"mag": "phase", "phase": "mag", "real": "imag", "imag": "real"}
    for parts in echoes.values():
        for part, file in parts.items():
            partner = partners.get(part)
            if partner is None:
                return BidsError(f"{file.path}: part- must be mag, phase, real or imag, but is {part!r}.")
            if partner in parts:
                continue
            if part == "mag":
                return BidsError(
                    f"{file.path} is magnitude without phase, which is refused until it is supported; "
                    "add its part-phase image."
                )
            return BidsError(f"{file.path} is part-{part} without part-{partner}; add its part-{partner} image.")
    files = ", ".join(str(file.path) for parts in echoes.values() for file in parts.values())
    return BidsError(f"all echoes must come as mag and phase, or all as real and imag, but these mix them: {files}.")


def _read_signal(
    pairs: Sequence[tuple[ImageFile, ImageFile]], metadata: Mapping[Path, Metadata]
) -> tuple[NDArray[np.complex64], Grid, list[float]]:
    """Signal (echo, x, y, z) in the files' order, the common grid, and the echo times, s.

    Both parts are first kept as they are in the real and imaginary half, so that the scaling of phase is
    judged over all echoes at once and a large scan is held only once.
    """
    times = [_echo_times_of_pair([metadata[file.path] for file in pair]) for pair in pairs]
    stops = np.cumsum([len(t) for t in times])
    first: tuple[Path, Grid] | None = None
    for pair, stop, pair_times in zip(pairs, stops, times, strict=True):
        for half, file in zip(("real", "imag"), pair, strict=True):
            image = read_nifti(file.path)
            if first is None:
                first = (image.path, image.grid)
                signal = np.empty((stops[-1], *image.grid.shape), dtype=np.complex64)
            _check_same_grid(*first, image.path, image.grid)
            if len(image.data) != len(pair_times):
                raise SidecarError(
                    f"{image.path} holds {len(image.data)} volume(s), but EchoTime gives {len(pair_times)} echo "
                    "time(s); a 4-D file needs one echo time per volume."
                )
            setattr(signal[stop - len(pair_times) : stop], half, image.data)
    assert first is not None
    if pairs[0][0].part == "mag":
        _to_complex(signal, stops, pairs, metadata)
    return signal, first[1], [t for pair_times in times for t in pair_times]


def _echo_times_of_pair(pair: Sequence[Metadata]) -> tuple[float, ...]:
    times = sidecars.agreed_value("EchoTime", pair, sidecars.echo_times_s)
    if times is None:
        raise pair[0].missing("EchoTime", "add it, in seconds.")
    return times


def _check_same_grid(first: Path, grid: Grid, second: Path, other: Grid) -> None:
    if grid.shape != other.shape:
        raise ImageError(
            f"all images of a scan must have the same shape, but {first} has {grid.shape} and {second} {other.shape}."
        )
    corners = np.array([[x, y, z] for x in (0, 1) for y in (0, 1) for z in (0, 1)]) * (np.array(grid.shape) - 1)
    apart_mm = float(np.linalg.norm(grid.to_mm(corners) - other.to_mm(corners), axis=1).max())
    if apart_mm > _MAX_GRID_MISMATCH * min(grid.voxel_mm):
        raise ImageError(
            f"all images of a scan must lie in the same place, but the affines of {first} and {second} "
            f"put the same voxel up to {apart_mm:.3g} mm apart."
        )


def _to_complex(
    signal: NDArray[np.complex64],
    stops: NDArray[np.int64],
    pairs: Sequence[tuple[ImageFile, ImageFile]],
    metadata: Mapping[Path, Metadata],
) -> None:
    """Turn magnitude + i·stored phase into magnitude · exp(i phase), in place; pair k ends before ``stops[k]``."""
    for index, volume in enumerate(signal):
        lowest = float(volume.real.min())
        if lowest < 0:
            path = pairs[int(np.searchsorted(stops, index, side="right"))][0].path
            raise ImageError(
                f"{path}: magnitude must not be negative, but reaches {lowest:g}; "
                "if it is a real part, name it part-real."
            )
    phases = [metadata[phase.path] for _, phase in pairs]
    units = sidecars.agreed_value("Units", phases, lambda m: m.text("Units")) or ""
    manufacturer = sidecars.agreed_value("Manufacturer", phases, lambda m: m.text("Manufacturer")) or ""
    convention = find_phase_convention(
        float(signal.imag.min()), float(signal.imag.max()), units, manufacturer, pairs[0][1].path
    )
    _LOG.info("%s: phase read as %s.", pairs[0][1].path, convention.name)
    for volume in signal:
        phase = volume.imag * np.float32(convention.rad_per_unit) + np.float32(convention.offset_rad)
        volume[...] = volume.real * np.exp(1j * phase)
