"""NIfTI images in and out: house axes, scanner space, and one clear sentence for what is unusable."""

from __future__ import annotations

import gzip
import zlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import nibabel as nib
import numpy as np
from nibabel.filebasedimages import ImageFileError
from nibabel.spatialimages import HeaderDataError
from nibabel.wrapstruct import WrapStructError
from numpy.typing import NDArray

from ferrosight.errors import ImageError
from ferrosight.io.atomic import open_atomic, write_json_atomic
from ferrosight.types import Grid

_MM_PER_UNIT = {"unknown": 1.0, "mm": 1.0, "meter": 1e3, "micron": 1e-3}
_SCANNER = 1
#: What nibabel, gzip and the operating system raise for a file that is damaged or is no NIfTI.
_UNREADABLE = (ImageFileError, HeaderDataError, WrapStructError, EOFError, OSError, ValueError, zlib.error)
#: Light compression: noisy float32 hardly shrinks further, and takes several times as long.
_GZIP_LEVEL = 1


@dataclass(frozen=True)
class NiftiImage:
    """An image as read: ``data`` is float32 (volume, x, y, z), scaled by the header, on ``grid``."""

    path: Path
    data: NDArray[np.float32]
    grid: Grid


def read_nifti(path: Path) -> NiftiImage:
    """Read a three- or four-dimensional NIfTI-1 or -2 file, gzipped or not.

    The header's scaling is applied. The affine is in RAS+ mm; a sform or qform in scanner space is preferred
    over one in any other. The file is read to its end, so that damage does not go unnoticed.

    Raises
    ------
    ImageError
        Naming the file, where it is missing, truncated or corrupt, not three-dimensional, without an
        orientation, sheared, not made of real numbers, or holds NaN, infinity or a volume of zeros.
    """
    if not path.is_file():
        raise ImageError(f"{path}: an image was expected here, but there is no such file.")
    try:
        image, data = _read_whole(path)
    except _UNREADABLE as error:
        reason = " ".join(str(error).split()) or type(error).__name__
        raise ImageError(f"{path} cannot be read as a NIfTI image; it is truncated or corrupt ({reason}).") from error
    except MemoryError as error:
        raise ImageError(f"{path} says it holds more values than fit into memory; its header is corrupt.") from error
    volumes = _as_volumes(data, path)
    _check_values(volumes, path)
    x, y, z = volumes.shape[1:]
    try:
        grid = Grid((x, y, z), _scanner_affine(image.header, path))
    except ImageError as error:
        raise error if str(path) in str(error) else ImageError(f"{path}: {error}") from error
    return NiftiImage(path, volumes, grid)


def write_nifti(
    data: NDArray[Any], grid: Grid, path: Path, sidecar: Mapping[str, Any] | None = None
) -> tuple[Path, ...]:
    """Write (x, y, z) or (volume, x, y, z) and its JSON sidecar; returns the paths written.

    ``path`` ends in ``.nii.gz``. Values are stored as float32, masks as uint8, in scanner space. The sidecar
    comes first: where the image is, its metadata is too. Both appear whole or not at all.
    """
    if not path.name.endswith(".nii.gz"):
        raise ValueError(f"an image's name must end in .nii.gz, but is {path.name}")
    data = np.asarray(data)
    if data.shape[-3:] != grid.shape or data.ndim not in (3, 4):
        raise ValueError(f"{path.name}: data of shape {data.shape} do not lie on a grid of {grid.shape}")
    stored = data.astype(np.uint8 if data.dtype == np.bool_ else np.float32)
    if stored.ndim == 4:
        stored = np.moveaxis(stored, 0, -1)
    image = cast(Any, nib.Nifti1Image)(stored, grid.affine)
    image.set_sform(grid.affine, code=_SCANNER)
    image.set_qform(grid.affine, code=_SCANNER)
    image.header.set_xyzt_units("mm", "sec")
    written: list[Path] = []
    if sidecar is not None:
        written.append(write_json_atomic(sidecar_path(path), sidecar))
    # No time stamp and no name inside: the same data give the same bytes.
    with (
        open_atomic(path) as file,
        gzip.GzipFile(filename="", mode="wb", compresslevel=_GZIP_LEVEL, fileobj=file, mtime=0) as packed,
    ):
        packed.write(image.to_bytes())
    written.append(path)
    return tuple(written)


def sidecar_path(path: Path) -> Path:
    """Where the JSON sidecar of an image or table lies."""
    stem = path.name
    for extension in (".nii.gz", ".nii", ".tsv"):
        stem = stem.removesuffix(extension)
    return path.with_name(stem + ".json")


def _read_whole(path: Path) -> tuple[Any, NDArray[Any]]:
    with path.open("rb") as raw:
        zipped = raw.read(2) == b"\x1f\x8b"
        raw.seek(0)
        file: Any = gzip.GzipFile(fileobj=raw, mode="rb") if zipped else raw
        size = file.read(4)
        file.seek(0)
        two = 540 in (int.from_bytes(size, "little"), int.from_bytes(size, "big"))
        kind: Any = nib.Nifti2Image if two else nib.Nifti1Image
        image = kind.from_file_map({"image": nib.FileHolder(fileobj=file), "header": nib.FileHolder(fileobj=file)})
        stored = image.header.get_data_dtype()
        if stored.kind not in "iuf":
            raise ImageError(f"{path} must hold real numbers, one per voxel, but holds {stored}.")
        data = np.asarray(image.dataobj, dtype=np.float32)
        # The check sum stands at the end of a gzip stream: it is only compared when that is reached.
        while file.read(1 << 20):
            pass
    return image, data


def _as_volumes(data: NDArray[Any], path: Path) -> NDArray[np.float32]:
    shape = data.shape
    while len(shape) > 3 and shape[-1] == 1:
        shape = shape[:-1]
    if len(shape) < 3 or min(shape[:3]) < 2:
        raise ImageError(f"{path} must be a three-dimensional image, but its shape is {data.shape} (a 2-D image).")
    if len(shape) > 4:
        raise ImageError(f"{path} must have three axes, or four with echoes last, but its shape is {data.shape}.")
    volumes = data.reshape(shape if len(shape) == 4 else (*shape, 1))
    return np.ascontiguousarray(np.moveaxis(volumes, -1, 0), dtype=np.float32)


def _check_values(volumes: NDArray[np.float32], path: Path) -> None:
    for index, volume in enumerate(volumes):
        where = f"{path}, volume {index}," if len(volumes) > 1 else f"{path}"
        finite = np.isfinite(volume)
        if not finite.all():
            first = tuple(int(n) for n in np.argwhere(~finite)[0])
            raise ImageError(
                f"{where} must be finite everywhere, but {int((~finite).sum())} of its {volume.size} values are NaN "
                f"or infinite, the first at voxel {first}; replace them or export the image again."
            )
        if not volume.any():
            raise ImageError(f"{where} holds nothing but zeros; export the image again.")


def _scanner_affine(header: Any, path: Path) -> NDArray[np.float64]:
    """The header's affine in mm, from the transform that is in scanner space if either is."""
    sform, sform_code = header.get_sform(coded=True)
    qform, qform_code = header.get_qform(coded=True)
    candidates = [(int(sform_code), sform), (int(qform_code), qform)]
    known = sorted((pair for pair in candidates if pair[0] > 0), key=lambda pair: pair[0] != _SCANNER)
    if not known:
        raise ImageError(
            f"{path} does not say how its voxels lie in the scanner (sform and qform codes are 0), so the direction "
            "of B0 is unknown; convert it again with its orientation."
        )
    code, affine = known[0]
    if code > 2:
        raise ImageError(
            f"{path} must lie in scanner space, but its affine leads to a template (NIfTI code {code}); "
            "use the image as it was scanned."
        )
    unit = header.get_xyzt_units()[0]
    if unit not in _MM_PER_UNIT:
        raise ImageError(f"{path}: voxel sizes must be in mm, but the header's unit is {unit!r}.")
    affine = np.array(affine, dtype=np.float64)
    affine[:3] *= _MM_PER_UNIT[unit]
    return affine
