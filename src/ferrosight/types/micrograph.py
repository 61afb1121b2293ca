"""A micrograph, its scale bar, and what is measured in it."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ferrosight.errors import InputError
from ferrosight.types._validate import frozen_array, set_field
from ferrosight.types.table import Table


@dataclass(frozen=True)
class Micrograph:
    """A bright-field electron micrograph: particles are dark on a brighter ground.

    ``image`` is (row, column) with row 0 on top, from 0 (darkest level of its file) to 1 (brightest).
    ``nm_per_pixel`` is what the file's metadata says, NaN where they say nothing; pixels are square.
    ``n_levels`` is how many grey levels the file's type has (0 for floating point).
    """

    name: str
    image: NDArray[np.float32]
    nm_per_pixel: float = float("nan")
    n_levels: int = 256

    def __post_init__(self) -> None:
        set_field(self, "image", frozen_array("image", self.image, np.float32, (None, None), finite=True))
        if min(self.image.shape) < 64:
            raise InputError(f"{self.name}: a micrograph of at least 64 x 64 pixels is needed, not {self.image.shape}.")


@dataclass(frozen=True)
class ScaleBar:
    """A burnt-in scale bar. Boxes are (first row, first column, last row, last column), both ends inside.

    ``text`` is its label as read ("" where none can be read), ``length_nm`` what that says (NaN likewise), and
    ``glyph_match`` the correlation of its worst character with the nearest template.
    """

    box: tuple[int, int, int, int]
    text_box: tuple[int, int, int, int] | None
    text: str
    length_nm: float
    glyph_match: float

    @property
    def length_pixels(self) -> int:
        """How many pixels the bar is long."""
        return self.box[3] - self.box[1] + 1

    @property
    def nm_per_pixel(self) -> float:
        """Edge of a pixel; NaN where the label cannot be read."""
        return self.length_nm / self.length_pixels


#: What may be said about a measured body: name in the tables, and a sentence.
MICROGRAPH_REMARKS = {
    "no_particles": "No particles were found; give their diameter with --particle-nm if there are some.",
    "particles_unresolved": "Single particles are narrower than four pixels: areas are given, numbers are not.",
    "particle_size_unsure": "Fewer than twenty single particles stand apart, so that their size is unsure.",
    "outline_uncertain": "Other weightings of the same evidence give outlines whose areas differ by more than 12 %.",
    "outline_rival": "Another closed line, about as good, has an area that differs by over 30 %: another membrane, "
    "or a neighbour's particles; check it, and draw it where it is wrong.",
    "outline_weak": "Little of a membrane was found along the outline; check it, and draw it where it is wrong.",
    "outline_leaves_image": "The body reaches beyond the image.",
    "outline_edited": "The outline was drawn by hand; its area has no error.",
    "particles_edited": "The particles' area was drawn by hand; it has no error.",
    "inverted_contrast": "Particles were brighter than the ground; the image was inverted.",
    "count_saturated": "Not counted: particles are as dark as the file can say, so that layers cannot be told apart.",
    "count_no_singles": "Not counted: too few particles stand apart to say how dark one is.",
    "count_noisy": "Not counted: what single particles take of the light varies too much, by noise or by their sizes.",
    "count_overlap": "Not counted: particles overlap so much that numbers of them are a matter of the model.",
}


@dataclass(frozen=True)
class MicrographOptions:
    """What the user says: nm per pixel, the particles' diameter in nm, the section's thickness in nm; None: unsaid."""

    nm_per_pixel: float | None = None
    particle_nm: float | None = None
    section_nm: float | None = None

    def __post_init__(self) -> None:
        for name, option in (
            ("nm_per_pixel", "--scale-nm-per-pixel"),
            ("particle_nm", "--particle-nm"),
            ("section_nm", "--section-nm"),
        ):
            value = getattr(self, name)
            if value is not None and not 0 < value < float("inf"):
                raise InputError(f"{option} must be a positive number of nanometres, but is {value}.")


@dataclass(frozen=True)
class Scale:
    """How large a pixel is, and what says so: ``given``, ``metadata`` or ``bar`` (which is then drawn for checking)."""

    nm_per_pixel: float
    source: str
    bar: ScaleBar | None


@dataclass(frozen=True)
class MicrographMeasurement:
    """What was measured in one micrograph.

    ``light`` (row, column) is the image averaged down by ``reduction``, inverted where its contrast was;
    ``outlines`` are closed polygons (n, 2) of row and column on it; ``covered`` and ``dense`` are where particles lie.
    """

    name: str
    scale: Scale
    light: NDArray[np.float32]
    reduction: int
    outlines: tuple[NDArray[np.float64], ...]
    body_labels: NDArray[np.int32]
    covered: NDArray[np.bool_]
    dense: NDArray[np.bool_]
    bodies: Table
    clusters: Table
    particles: Table
