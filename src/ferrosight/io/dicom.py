"""DICOM series in: files sorted into volumes, values rescaled, voxels placed in scanner RAS+ mm.

Nothing here knows what a series shows; readers of a modality ask its headers for that.
"""

from __future__ import annotations

import warnings
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from ferrosight.errors import ImageError
from ferrosight.types import Grid

if TYPE_CHECKING:
    from pydicom.dataset import Dataset

#: Slices may lie off an even spacing by this share of it; headers are rounded.
_MAX_UNEVEN = 0.02
_MAX_TILT = 1e-3
#: DICOM's patient axes point left and back, RAS+ right and front.
_LPS_TO_RAS = np.diag([-1.0, -1.0, 1.0])
#: What puts the volumes of a series in order where several lie at one place: time first, then how files were counted.
_IN_TIME = ("FrameReferenceTime", "AcquisitionDate", "AcquisitionTime", "TemporalPositionIdentifier", "InstanceNumber")


@dataclass(frozen=True)
class DicomSeries:
    """One series: ``data`` is float32 (volume, x, y, z), rescaled, on ``grid``.

    ``x`` runs along the rows of the pictures, ``y`` down their columns and ``z`` from slice to slice.
    ``headers[volume][z]`` is the header that slice came with, without its pixels.
    """

    uid: str
    data: NDArray[np.float32]
    grid: Grid
    headers: tuple[tuple[Dataset, ...], ...]

    @property
    def first(self) -> Dataset:
        """The header of the first slice."""
        return self.headers[0][0]


def find_dicom_series(folder: Path) -> dict[str, tuple[Path, ...]]:
    """The files of every series in a folder and those below it, by their series' UID; other files are passed over.

    Raises ImageError where the folder holds no picture at all.
    """
    from pydicom.errors import InvalidDicomError

    found: dict[str, list[Path]] = defaultdict(list)
    for path in sorted(p for p in folder.rglob("*") if p.is_file()):
        try:
            header = _read_file(path, with_pixels=False)
        except (InvalidDicomError, ImageError):
            continue
        if "SeriesInstanceUID" in header and "Rows" in header:
            found[str(header.SeriesInstanceUID)].append(path)
    if not found:
        raise ImageError(f"{folder}: DICOM pictures were expected here, but none was found.")
    return {uid: tuple(paths) for uid, paths in found.items()}


def read_dicom_series(paths: Iterable[Path], order_by: Sequence[str] = _IN_TIME) -> DicomSeries:
    """Read one series of single-slice files, in whatever order they are named.

    Slices are sorted along their normal; where several lie at one place they are volumes, put in the order of the
    ``order_by`` keywords. Each slice is rescaled by its own slope and intercept.

    Raises
    ------
    ImageError
        Naming a file or the series: where files belong to several series, differ in size or orientation, have no
        position, are compressed in a way that cannot be read, or where slices are missing, double or uneven.
    """
    slices = [(path, _read_file(path, with_pixels=True)) for path in paths]
    if not slices:
        raise ImageError("a DICOM series needs at least one file, but none was given.")
    uids = {str(header.get("SeriesInstanceUID", "")) for _, header in slices}
    if len(uids) > 1:
        raise ImageError(f"{slices[0][0].parent}: one DICOM series was expected, but {len(uids)} were found.")
    axes = _common_axes(slices)
    stacks = _stack(slices, axes[2], order_by)
    step = _slice_step(stacks[0], axes[2])
    first = stacks[0][0][1]
    spacing = [float(value) for value in first.PixelSpacing]
    affine = np.eye(4)
    # PixelSpacing gives the distance between rows first.
    affine[:3, :3] = _LPS_TO_RAS @ np.column_stack([axes[0] * spacing[1], axes[1] * spacing[0], step])
    affine[:3, 3] = _LPS_TO_RAS @ _position(first)
    data = np.stack([np.stack([_pixels(path, header) for path, header in stack], axis=-1) for stack in stacks])
    for _, header in slices:
        del header.PixelData
    _, x, y, z = data.shape
    headers = tuple(tuple(header for _, header in stack) for stack in stacks)
    return DicomSeries(uids.pop(), data, Grid((x, y, z), affine), headers)


def read_header(path: Path) -> Dataset:
    """The header of one DICOM file, without its pixels; ImageError where it cannot be read."""
    return _read_file(path, with_pixels=False)


def _read_file(path: Path, *, with_pixels: bool) -> Dataset:
    from pydicom import dcmread
    from pydicom.errors import InvalidDicomError

    try:
        # Values that break DICOM's rules of length or spelling are common, and reading them harms nothing.
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return dcmread(path, stop_before_pixels=not with_pixels)
    except InvalidDicomError:
        raise
    except (OSError, EOFError, ValueError) as error:
        raise ImageError(f"{path} cannot be read as DICOM; it is truncated or corrupt ({error}).") from error


def _common_axes(slices: Sequence[tuple[Path, Dataset]]) -> NDArray[np.float64]:
    """Rows', columns' and slices' unit vectors (3, 3) in DICOM's patient space, the same for all files."""
    reference: NDArray[np.float64] | None = None
    first = slices[0][1]
    for path, header in slices:
        if int(header.get("NumberOfFrames", 1) or 1) > 1:
            raise ImageError(f"{path} holds many frames in one file (enhanced DICOM); export one file per slice.")
        if int(header.get("SamplesPerPixel", 1)) != 1:
            raise ImageError(f"{path} must hold one number per pixel, but is a colour picture.")
        for name in ("ImageOrientationPatient", "ImagePositionPatient", "PixelSpacing"):
            if not header.get(name):
                raise ImageError(f"{path}: {name} is missing, so where the slice lies is unknown.")
        if (header.Rows, header.Columns) != (first.Rows, first.Columns) or not np.allclose(
            _numbers(header.PixelSpacing), _numbers(first.PixelSpacing), rtol=1e-4
        ):
            raise ImageError(f"{path}: its size or PixelSpacing differs from the series' first file, {slices[0][0]}.")
        row, column = np.reshape(_numbers(header.ImageOrientationPatient), (2, 3))
        axes = np.stack([row, column, np.cross(row, column)])
        if np.abs(axes @ axes.T - np.eye(3)).max() > _MAX_TILT:
            raise ImageError(f"{path}: ImageOrientationPatient must be two unit vectors at right angles.")
        if reference is None:
            reference = axes
        elif np.abs(axes - reference).max() > _MAX_TILT:
            raise ImageError(f"{path}: its slice is tilted against that of {slices[0][0]}; they form no volume.")
    assert reference is not None
    return reference


def _stack(
    slices: Sequence[tuple[Path, Dataset]], normal: NDArray[np.float64], order_by: Sequence[str]
) -> list[list[tuple[Path, Dataset]]]:
    """Slices as volumes, each sorted along ``normal``."""
    along = np.array([normal @ _position(header) for _, header in slices])
    order = np.argsort(along, kind="stable")
    gaps = np.diff(along[order])
    # Positions are rounded to some digits, and slices are never nearer than a hundredth of a millimetre.
    groups = np.split(order, np.flatnonzero(gaps > 1e-2) + 1)
    counts = {len(group) for group in groups}
    if len(counts) > 1:
        rare = min(groups, key=len)
        raise ImageError(
            f"{slices[rare[0]][0]}: every place must have as many slices as the others, but some have "
            f"{min(counts)} and some {max(counts)}; the series is incomplete or holds a slice twice."
        )
    sorted_groups = [sorted(group, key=lambda index: _order_key(slices[index][1], order_by)) for group in groups]
    for group in sorted_groups:
        keys = [_order_key(slices[index][1], order_by) for index in group]
        if len(set(keys)) < len(keys):
            raise ImageError(f"{slices[group[0]][0]}: another file holds the same slice of the same volume.")
    return [[slices[index] for index in volume] for volume in zip(*sorted_groups, strict=True)]


def _order_key(header: Dataset, order_by: Sequence[str]) -> tuple[float | str, ...]:
    values: list[float | str] = []
    for name in order_by:
        value = header.get(name)
        text = "" if value is None else str(value)
        try:
            values.append(float(text) if text else 0.0)
        except ValueError:
            raise ImageError(f"{name} must be a number, but is {text!r}.") from None
    return tuple(values)


def _slice_step(stack: Sequence[tuple[Path, Dataset]], normal: NDArray[np.float64]) -> NDArray[np.float64]:
    """From one slice to the next, mm in DICOM's patient space."""
    positions = np.array([_position(header) for _, header in stack])
    if len(positions) == 1:
        header = stack[0][1]
        thickness = header.get("SpacingBetweenSlices") or header.get("SliceThickness")
        if not thickness:
            raise ImageError(f"{stack[0][0]}: a single slice needs SliceThickness, which is missing.")
        return np.asarray(normal * abs(float(thickness)))
    steps = np.diff(positions, axis=0)
    mean = (positions[-1] - positions[0]) / (len(positions) - 1)
    worst = int(np.abs(steps - np.median(steps, axis=0)).max(axis=1).argmax())
    uneven = np.abs(steps - mean).max() / np.linalg.norm(mean)
    if uneven > _MAX_UNEVEN:
        raise ImageError(
            f"{stack[worst][0]}: slices must be evenly spaced, but the next one lies "
            f"{np.linalg.norm(steps[worst]):.3g} mm away where {np.linalg.norm(np.median(steps, axis=0)):.3g} mm is "
            "usual; a slice is missing."
        )
    return np.asarray(mean)


def _pixels(path: Path, header: Dataset) -> NDArray[np.float32]:
    """A slice's values (x, y), rescaled."""
    if str(header.get("PhotometricInterpretation", "MONOCHROME2")) != "MONOCHROME2":
        raise ImageError(
            f"{path}: PhotometricInterpretation must be MONOCHROME2, but is {header.PhotometricInterpretation}."
        )
    try:
        stored = np.asarray(header.pixel_array, dtype=np.float64)
    except (AttributeError, ValueError, NotImplementedError, RuntimeError) as error:
        reason = " ".join(str(error).split())
        raise ImageError(f"{path}: its pixels cannot be read ({reason}); export it uncompressed.") from error
    slope, intercept = header.get("RescaleSlope", 1.0), header.get("RescaleIntercept", 0.0)
    scaled = stored * float(1.0 if slope is None else slope) + float(intercept or 0.0)
    return np.asarray(scaled.T, dtype=np.float32)


def _position(header: Dataset) -> NDArray[np.float64]:
    return np.array(_numbers(header.ImagePositionPatient))


def _numbers(values: Any) -> list[float]:
    return [float(value) for value in values]
