"""One cluster at a time: what was measured, what the model says, and what is left."""

from __future__ import annotations

import base64
import io
from dataclasses import dataclass

import numpy as np
from matplotlib.colors import Colormap, LinearSegmentedColormap
from matplotlib.image import imsave
from numpy.typing import NDArray

from ferrosight.report.orientation import direction_letters
from ferrosight.report.overview import MAGNITUDE_COLOURS
from ferrosight.types import Catalogue, FieldMap, FitPatch, PhaseSign, Scan

_PHASE_LIMITS = (0.25, 0.5, 1.0, 2.0, float(np.pi))
_RESIDUAL_LIMIT = 6.0
_PHASE = LinearSegmentedColormap.from_list(
    "phase", ["#0b2f5e", "#2f7fc1", "#a9d3ee", "#f7f7f5", "#f6c59b", "#dd7025", "#6e2506"]
)
_RESIDUAL = LinearSegmentedColormap.from_list("residual", ["#f7f7f5", "#b9a5d6", "#6d4aa8", "#20103f"])


@dataclass(frozen=True)
class Picture:
    """A picture as a data URI, with the words under it and for those who cannot see it."""

    uri: str
    caption: str
    alt: str


@dataclass(frozen=True)
class PatchPictures:
    """A cluster's small multiples: B0 points up; ``right`` says where the right edge lies."""

    pictures: tuple[Picture, ...]
    width_mm: float
    height_mm: float
    scale_mm: float
    right: str
    phase_limit_rad: float

    @property
    def scale_percent(self) -> float:
        """Length of the scale bar in percent of the picture's width."""
        return 100 * self.scale_mm / self.width_mm

    @property
    def scale_label(self) -> str:
        """The scale bar's length in words."""
        return f"{self.scale_mm * 1000:g} µm" if self.scale_mm < 0.1 else f"{self.scale_mm:g} mm"


@dataclass(frozen=True)
class Plane:
    """The plane through a point that holds B0: voxel indices (3, row, column), first row farthest along B0.

    ``right`` is the unit vector along the array's axes towards which columns grow.
    """

    ijk: NDArray[np.intp]
    inside: NDArray[np.bool_]
    width_mm: float
    height_mm: float
    right: NDArray[np.float64]


def b0_plane(
    shape: tuple[int, int, int],
    centre_ijk: NDArray[np.float64],
    voxel_mm: tuple[float, float, float],
    b0_in_array: NDArray[np.float64],
    right_is: NDArray[np.float64],
) -> Plane:
    """Nearest voxels of the plane spanned by B0 and the longest other edge of a block of voxels.

    The plane passes through the voxel nearest to ``centre_ijk``; the picture is as high and wide as the block
    (where B0 is oblique: as its mean extent that way) and lies around the block's middle, so that a window cut
    by the image's edge is shown whole. ``right_is`` (3, along the array's axes) picks the sign of
    the second direction. Voxels are shown as they are: nothing is interpolated.
    """
    voxel = np.asarray(voxel_mm)
    extent = np.asarray(shape) * voxel
    up = b0_in_array
    across = np.eye(3)[int(np.argmax(extent * np.sqrt(np.clip(1 - up**2, 0, 1))))]
    across = across - (across @ up) * up
    across = across / np.linalg.norm(across)
    if across @ right_is < 0:
        across = -across
    middle = np.rint(centre_ijk)
    width, height = float(extent @ across**2), float(extent @ up**2)
    shift = ((np.asarray(shape) - 1) / 2 - middle) * voxel
    columns = _pixel_centres(width, float(voxel.min())) + shift @ across
    rows = _pixel_centres(height, float(voxel.min())) - shift @ up
    offsets = across[:, None, None] * columns[None, None, :] - up[:, None, None] * rows[None, :, None]
    ijk = np.rint(middle[:, None, None] + offsets / voxel[:, None, None]).astype(np.intp)
    inside = np.all([(ijk[a] >= 0) & (ijk[a] < shape[a]) for a in range(3)], axis=0)
    clipped = np.clip(ijk, 0, (np.asarray(shape) - 1)[:, None, None])
    return Plane(clipped, inside, width, height, across)


def draw_patch(
    patch: FitPatch, centre_ijk: NDArray[np.float64], scan: Scan, field_map: FieldMap, catalogue: Catalogue, echo: int
) -> PatchPictures:
    """A cluster's magnitude, phase and residual beside its model's, at one echo.

    ``centre_ijk`` is the fitted centre in voxels of the scan; the middle of the patch where it is missing.
    Phases are of the data and model times the conjugate of the background, in the sense that grows with
    the field where the scan's sign is known.
    """
    shape = patch.data.shape[1:]
    block = (shape[0], shape[1], shape[2])
    echo = min(echo, patch.data.shape[0] - 1)
    local = np.asarray(centre_ijk, dtype=np.float64) - np.asarray(patch.origin_ijk)
    if not np.isfinite(local).all():
        local = (np.asarray(shape) - 1) / 2
    towards_low = scan.grid.axes.T @ np.array([-1.0, -1.0, 0.1])
    plane = b0_plane(block, local, scan.grid.voxel_mm, scan.b0_in_array, towards_low)
    # What was left out of the fit is left out of every picture.
    used = np.isfinite(patch.data[echo])
    data, model, background = (
        _cut(np.where(used, v[echo], np.nan), plane) for v in (patch.data, patch.model, patch.background)
    )
    sign = -1.0 if catalogue.phase_sign is PhaseSign.NEGATIVE else 1.0
    phase = sign * np.angle(data * np.conj(background))
    model_phase = sign * np.angle(model * np.conj(background))
    limit = _phase_limit(phase, model_phase)
    bright = _quantile(np.abs(background), 0.98) or _quantile(np.abs(data), 0.98) or 1.0
    residual = np.abs(data - model) / _cut(_sigma(field_map, patch, echo, block), plane)
    name = f"of cluster {patch.cluster_id}"
    pictures = (
        _picture(np.abs(data), (0, 1.1 * bright), MAGNITUDE_COLOURS, "magnitude", f"Measured magnitude {name}"),
        _picture(np.abs(model), (0, 1.1 * bright), MAGNITUDE_COLOURS, "model", f"Model magnitude {name}"),
        _picture(phase, (-limit, limit), _PHASE, "phase", f"Measured phase {name}, background removed"),
        _picture(model_phase, (-limit, limit), _PHASE, "model", f"Model phase {name}"),
        _picture(residual, (0, _RESIDUAL_LIMIT), _RESIDUAL, "residual", f"Residual {name} over the noise"),
    )
    right = direction_letters(scan.grid.axes @ plane.right)
    return PatchPictures(pictures, plane.width_mm, plane.height_mm, _nice_length(0.4 * plane.width_mm), right, limit)


def _pixel_centres(length_mm: float, voxel_mm: float) -> NDArray[np.float64]:
    """Offsets from the middle, mm, of about four pixels per smallest voxel."""
    n = int(np.clip(np.rint(4 * length_mm / voxel_mm), 24, 200))
    return np.asarray(((np.arange(n) + 0.5) / n - 0.5) * length_mm)


def _cut(volume: NDArray[np.inexact], plane: Plane) -> NDArray[np.inexact]:
    i, j, k = plane.ijk
    return np.where(plane.inside, volume[i, j, k], np.nan)


def _sigma(field_map: FieldMap, patch: FitPatch, echo: int, shape: tuple[int, int, int]) -> NDArray[np.float32]:
    """Noise standard deviation (x, y, z) under a patch; NaN where the patch leaves the image."""
    sigma = field_map.noise.sigma[min(echo, len(field_map.noise.sigma) - 1)]
    out = np.full(shape, np.nan, dtype=np.float32)
    low = [max(o, 0) for o in patch.origin_ijk]
    high = [min(o + n, m) for o, n, m in zip(patch.origin_ijk, shape, sigma.shape, strict=True)]
    if all(h > lo for lo, h in zip(low, high, strict=True)):
        inner = tuple(slice(lo - o, h - o) for lo, h, o in zip(low, high, patch.origin_ijk, strict=True))
        out[inner] = sigma[tuple(slice(lo, h) for lo, h in zip(low, high, strict=True))]
    return out


def _quantile(values: NDArray[np.inexact], q: float) -> float:
    finite = values[np.isfinite(values)]
    return float(np.quantile(finite, q)) if finite.size else 0.0


def _phase_limit(*phases: NDArray[np.inexact]) -> float:
    largest = max(_quantile(np.abs(phase), 0.97) for phase in phases)
    return next((limit for limit in _PHASE_LIMITS if largest <= limit), _PHASE_LIMITS[-1])


def _nice_length(longest: float) -> float:
    """The largest of 1, 2, 5 × 10ⁿ that is no longer than this."""
    decade = 10.0 ** np.floor(np.log10(longest))
    return float(max(step * decade for step in (1, 2, 5) if step * decade <= longest * (1 + 1e-9)))


def _picture(
    values: NDArray[np.inexact], limits: tuple[float, float], colours: Colormap, caption: str, alt: str
) -> Picture:
    known = np.isfinite(values)
    scaled = np.clip((np.where(known, values, limits[0]).real - limits[0]) / (limits[1] - limits[0]), 0, 1)
    rgba = colours(scaled, bytes=True)
    rgba[~known] = 0
    return Picture(png_uri(rgba), caption, alt)


def png_uri(rgba: NDArray[np.uint8]) -> str:
    """An RGBA picture (row, column, 4) as a data URI."""
    buffer = io.BytesIO()
    imsave(buffer, np.ascontiguousarray(rgba), format="png")
    return "data:image/png;base64," + base64.b64encode(buffer.getvalue()).decode("ascii")


def colour_ramp(colours: Colormap) -> str:
    """A colour scale as a data URI, for legends."""
    return png_uri(np.asarray(colours(np.linspace(0, 1, 128)[None, :].repeat(2, axis=0), bytes=True)))


def legend_ramps() -> dict[str, str]:
    """Colour scales of the gallery's three kinds of picture."""
    return {
        "magnitude": colour_ramp(MAGNITUDE_COLOURS),
        "phase": colour_ramp(_PHASE),
        "residual": colour_ramp(_RESIDUAL),
    }
