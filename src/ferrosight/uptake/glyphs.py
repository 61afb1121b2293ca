"""Reading a short label such as ``200 nm``: its characters against rendered templates of several typefaces."""

from __future__ import annotations

import functools
import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

#: Typefaces and weights that come with matplotlib: sans, fixed width, two serifs and a narrow sans.
TYPEFACES = (
    ("DejaVu Sans", "normal"),
    ("DejaVu Sans", "bold"),
    ("DejaVu Sans Mono", "normal"),
    ("DejaVu Sans Mono", "bold"),
    ("DejaVu Serif", "normal"),
    ("DejaVu Serif", "bold"),
    ("STIXGeneral", "normal"),
    ("STIXGeneral", "bold"),
    ("cmss10", "normal"),
)
DIGITS = "0123456789"
#: Written unit → nanometres.
UNITS_NM = {"nm": 1.0, "µm": 1e3, "um": 1e3, "mm": 1e6, "Å": 0.1}
_CHARACTERS = DIGITS + "nmµuÅ"
_ROWS, _COLUMNS = 28, 20
#: What a factor e in the ratio of width to height costs, in correlation.
_ASPECT_COST = 0.3
#: A decimal point is lower than this share of the line's height.
_POINT_HEIGHT = 0.35


@dataclass(frozen=True)
class Glyph:
    """One character's picture: a boolean image cut to its box, and the box (row0, column0, row1, column1)."""

    picture: NDArray[np.bool_]
    box: tuple[int, int, int, int]

    @property
    def height(self) -> int:
        """Rows."""
        return int(self.picture.shape[0])


@dataclass(frozen=True)
class Reading:
    """What a line of glyphs says, the length it stands for, and the correlation of its worst character."""

    text: str
    length_nm: float
    match: float


def read_length(glyphs: list[Glyph]) -> Reading | None:
    """The length that glyphs, from left to right, spell: digits, perhaps a point, and a unit.

    None where they are too few, or no number and unit can be made of them. Every reading that the grammar allows is
    scored by its mean correlation, and the best is returned; whether its ``match`` is enough is the caller's to judge.
    """
    readings = []
    for unit in UNITS_NM:
        if len(glyphs) <= len(unit):
            continue
        split = len(glyphs) - len(unit)
        tail = [match_glyph(glyph, sign) for glyph, sign in zip(glyphs[split:], unit, strict=True)]
        number = _read_number(glyphs[:split], glyphs[0].height)
        if number is not None:
            digits, scores = number
            readings.append((float(np.mean(scores + tail)), digits, unit, min(scores + tail)))
    if not readings:
        return None
    _, digits, unit, worst = max(readings)
    value = float(digits) * UNITS_NM[unit]
    return Reading(f"{digits} {unit}", value, worst) if value > 0 else None


def _read_number(glyphs: list[Glyph], line_height: int) -> tuple[str, list[float]] | None:
    text, scores = "", []
    for glyph in glyphs:
        if glyph.height < _POINT_HEIGHT * line_height:
            if "." in text or not text:
                return None
            text += "."
            continue
        best = max((match_glyph(glyph, digit), digit) for digit in DIGITS)
        scores.append(best[0])
        text += best[1]
    return None if text.endswith(".") or not scores else (text, scores)


def match_glyph(glyph: Glyph, character: str) -> float:
    """Correlation (at most 1) of a picture with the nearest rendering of ``character``, less what its shape costs."""
    picture, aspect = _normalise(glyph.picture)
    scores = [
        float((picture * template).sum()) - _ASPECT_COST * abs(aspect - template_aspect)
        for template, template_aspect in _render_templates()[character]
    ]
    return max(scores)


@functools.cache
def _render_templates() -> dict[str, list[tuple[NDArray[np.float64], float]]]:
    templates: dict[str, list[tuple[NDArray[np.float64], float]]] = {}
    for character in _CHARACTERS:
        pictures = (render_character(character, face, weight) for face, weight in TYPEFACES)
        templates[character] = [_normalise(picture) for picture in pictures if picture is not None]
    return templates


def render_character(character: str, typeface: str, weight: str, height: int = 60) -> NDArray[np.bool_] | None:
    """The character's picture, ``height`` rows, cut to its box; None where the typeface lacks it."""
    from matplotlib.font_manager import FontProperties, fontManager, get_font
    from matplotlib.textpath import TextPath
    from skimage.draw import polygon2mask

    properties = FontProperties(family=typeface, weight=weight)
    file = fontManager.findfont(properties, fallback_to_default=False)
    if not get_font(file).get_char_index(ord(character)):
        return None
    polygons = [np.asarray(polygon) for polygon in TextPath((0, 0), character, size=100, prop=properties).to_polygons()]
    points = np.concatenate(polygons)
    low, high = points.min(axis=0), points.max(axis=0)
    scale = height / (high[1] - low[1])
    shape = (height, max(1, math.ceil((high[0] - low[0]) * scale)))
    picture = np.zeros(shape, bool)
    for polygon in polygons:
        # Holes are polygons within polygons: inside is where an odd number of them lies around.
        rows_columns = np.column_stack([(high[1] - polygon[:, 1]) * scale, (polygon[:, 0] - low[0]) * scale]) - 0.5
        picture ^= polygon2mask(shape, rows_columns)
    return picture


def _normalise(picture: NDArray[np.bool_]) -> tuple[NDArray[np.float64], float]:
    """Zero-mean, unit-norm copy of fixed size, and the logarithm of width over height."""
    from skimage.transform import resize

    small = resize(picture.astype(np.float64), (_ROWS, _COLUMNS), order=1, anti_aliasing=True, mode="edge")
    small = small - small.mean()
    norm = float(np.linalg.norm(small))
    return small / norm if norm else small, math.log(picture.shape[1] / picture.shape[0])
