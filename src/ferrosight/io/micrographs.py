"""Electron micrographs from TIFF, MRC, DM3, DM4, JPEG and PNG files, and masks to and from PNG files."""

from __future__ import annotations

import math
import re
import struct
import warnings
from contextlib import redirect_stdout
from io import StringIO
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ferrosight.errors import ImageError
from ferrosight.io.atomic import open_atomic
from ferrosight.types.micrograph import Micrograph

#: What is read.
SUFFIXES = (".tif", ".tiff", ".mrc", ".dm3", ".dm4", ".jpg", ".jpeg", ".png")
_GATAN_SUFFIXES, _CAMERA_SUFFIXES = (".dm3", ".dm4"), (".ser", ".emd")
#: Channels that differ by more than this share of the range are a colour; JPEG makes grey differ by up to a tenth.
_COLOUR = 0.16
#: A coloured scale bar covers less of an image than this.
_MOST_COLOUR = 0.03
#: What readers raise at a file that is cut short or not what its name says.
_UNREADABLE = (OSError, ValueError, KeyError, IndexError, SyntaxError, AssertionError, struct.error, EOFError)
_NM = {"nm": 1.0, "nanometer": 1.0, "µm": 1e3, "um": 1e3, "micron": 1e3, "\\u00b5m": 1e3, "å": 0.1, "mm": 1e6}


def read_micrograph(path: Path) -> Micrograph:
    """Read a micrograph as grey levels from 0 to 1, with the pixel's edge where the metadata say it.

    Files of more than 8 bits are divided by their 99.99th percentile, so that black stays 0.

    Raises
    ------
    ImageError
        The file is missing, of another type, in colour, or not one image; or it is of type DM3 or DM4, and the extra
        that reads those is not installed.
    """
    suffix = path.suffix.lower()
    if suffix in _CAMERA_SUFFIXES:
        raise ImageError(
            f"{path.name}: files of type {suffix} are not read; export it as TIFF or MRC, which keep the scale."
        )
    if suffix not in SUFFIXES:
        raise ImageError(f"{path.name} must be of type {', '.join(SUFFIXES)}, but is {suffix or 'of none'}.")
    if not path.is_file():
        raise ImageError(f"{path}: a micrograph was expected here, but there is no such file.")
    try:
        if suffix == ".mrc":
            pixels, nm = _read_mrc(path)
        elif suffix in (".tif", ".tiff"):
            pixels, nm = _read_tiff(path)
        elif suffix in _GATAN_SUFFIXES:
            pixels, nm = _read_gatan(path)
        else:
            pixels, nm = _read_plain(path), math.nan
    except _UNREADABLE as error:
        why = str(error) or "it is cut short, or something else"
        raise ImageError(f"{path.name} cannot be read as an image of type {suffix} ({why}).") from error
    return Micrograph(path.name, _to_grey(path.name, pixels), nm, _count_levels(pixels.dtype))


def read_mask(path: Path, shape: tuple[int, int]) -> NDArray[np.bool_]:
    """A hand-drawn mask (row, column) at ``shape``: what is brighter than half is inside.

    Raises
    ------
    ImageError
        It cannot be read, or its sides have another ratio than ``shape``.
    """
    from skimage.transform import resize

    try:
        pixels = _read_plain(path).astype(np.float32)
    except (OSError, ValueError, SyntaxError) as error:
        raise ImageError(f"{path.name} must be a PNG mask, but cannot be read as one ({error}).") from error
    grey = pixels[..., :3].max(axis=-1) if pixels.ndim == 3 else pixels
    if abs(grey.shape[0] / grey.shape[1] * shape[1] / shape[0] - 1) > 0.02:
        raise ImageError(f"{path.name} must have the sides of its micrograph, {shape}, but has {grey.shape}.")
    return np.asarray(resize(grey / max(float(grey.max()), 1e-6), shape, order=0) > 0.5, dtype=np.bool_)


def write_mask(mask: NDArray[np.bool_], path: Path) -> Path:
    """Write a mask (row, column) as a PNG, white inside; returns ``path``."""
    from PIL import Image

    with open_atomic(path) as file:
        Image.fromarray(np.where(mask, 255, 0).astype(np.uint8)).save(file, format="PNG")
    return path


def _read_plain(path: Path) -> NDArray[Any]:
    from PIL import Image

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # a large image is no attack here
        limit, Image.MAX_IMAGE_PIXELS = Image.MAX_IMAGE_PIXELS, None
        try:
            with Image.open(path) as image:
                plain = image.convert("RGB") if image.mode in ("P", "CMYK", "YCbCr") else image
                return np.asarray(plain)
        finally:
            Image.MAX_IMAGE_PIXELS = limit


def _read_mrc(path: Path) -> tuple[NDArray[Any], float]:
    import mrcfile

    with mrcfile.open(path, permissive=False) as file:
        pixels = np.array(file.data)
        angstrom = float(file.voxel_size.x)
    # The first row of an MRC file is the lowest.
    return np.squeeze(pixels)[::-1], angstrom / 10 if angstrom > 0 else math.nan


def _read_gatan(path: Path) -> tuple[NDArray[Any], float]:
    """Digital Micrograph's own files, by the reader of Nion Swift."""
    try:
        from nionswift_plugin.DM_IO import dm3_image_utils
    except ImportError as error:
        raise ImageError(
            f"{path.name}: files of type {path.suffix.lower()} are read by an extra that is not installed; install it "
            'with pip install "ferrosight[dm]", or export the image as TIFF or MRC, which keep the scale.'
        ) from error
    with path.open("rb") as file, redirect_stdout(StringIO()):  # the reader prints what it stumbles over
        image = dm3_image_utils.load_image(file)
    pixels = np.squeeze(np.asarray(image.data))
    if np.iscomplexobj(pixels):
        raise ValueError("it holds complex values, as of a diffraction pattern or a hologram")
    # The reader turns the axes to (row, column): the last is along a row.
    along = image.dimensional_calibrations[-1] if len(image.dimensional_calibrations) == pixels.ndim else None
    unit = _NM.get(str(along.units).strip().lower()) if along is not None else None
    return pixels, unit * float(along.scale) if unit and along is not None and along.scale > 0 else math.nan


def _read_tiff(path: Path) -> tuple[NDArray[Any], float]:
    import tifffile

    with tifffile.TiffFile(path) as file:
        return np.squeeze(file.pages[0].asarray()), _find_tiff_scale(file)


def _find_tiff_scale(file: Any) -> float:
    """Edge of a pixel in nm: a microscope's own metadata, ImageJ's or OME's, in this order; NaN where none has it.

    A resolution in dots per inch is that of a page, not of a specimen, and is not used.
    """
    microscope = file.fei_metadata
    if microscope:
        for part in microscope.values():
            width = part.get("PixelWidth") if isinstance(part, dict) else None
            if isinstance(width, int | float) and width > 0:
                return float(width) * 1e9
    imagej = file.imagej_metadata or {}
    unit = _NM.get(str(imagej.get("unit", "")).lower())
    tag = file.pages[0].tags.get("XResolution")
    if unit and tag is not None and tag.value[0]:
        return unit * float(tag.value[1]) / float(tag.value[0])
    size = re.search(r'PhysicalSizeX="([0-9.eE+-]+)"', file.ome_metadata or "")
    if size:
        named = re.search(r'PhysicalSizeXUnit="([^"]+)"', file.ome_metadata)
        return float(size.group(1)) * _NM.get(named.group(1).lower() if named else "µm", math.nan)
    return math.nan


def _count_levels(dtype: np.dtype[Any]) -> int:
    return 2 ** (8 * dtype.itemsize) if np.issubdtype(dtype, np.integer) else 0


def _to_grey(name: str, pixels: NDArray[Any]) -> NDArray[np.float32]:
    if pixels.dtype == bool:
        raise ImageError(f"{name}: grey levels are needed, but it is black and white.")
    values = pixels.astype(np.float32)
    if pixels.dtype == np.uint8:
        values /= 255.0
    else:
        if not np.isfinite(values).all():
            raise ImageError(f"{name}: every pixel must hold a number, but some hold none.")
        if values.min() < 0:
            values -= np.percentile(values, 0.01)
        top = float(np.percentile(values, 99.99))
        if not top > 0:
            raise ImageError(f"{name} must show something, but is of one grey level.")
        values = np.clip(values / top, 0, 1)
    if values.ndim == 3 and values.shape[-1] in (2, 4):  # with opacity
        values = values[..., :-1]
    if values.ndim == 3 and values.shape[-1] == 1:
        values = values[..., 0]
    if values.ndim == 3 and values.shape[-1] == 3:
        values = _merge_channels(name, values)
    if values.ndim != 2:
        raise ImageError(f"{name} must be one image, but has the shape {values.shape}; save the one wanted by itself.")
    if float(values.max()) - float(values.min()) < 1e-3:
        raise ImageError(f"{name} must show something, but is of one grey level.")
    return np.asarray(values, dtype=np.float32)


def _merge_channels(name: str, values: NDArray[np.float32]) -> NDArray[np.float32]:
    """Grey from channels; a coloured annotation becomes white."""
    highest = values.max(axis=-1)
    coloured = highest - values.min(axis=-1) > _COLOUR
    share = float(coloured.mean())
    if share > _MOST_COLOUR:
        raise ImageError(
            f"{name}: an electron micrograph in grey was expected, but {100 * share:.0f} % of it is in colour; "
            "is it a photograph, or coloured afterwards?"
        )
    return np.asarray(np.where(coloured, highest, values.mean(axis=-1)), dtype=np.float32)
