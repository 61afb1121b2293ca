"""The burnt-in scale bar: a solid bar of one extreme grey level with a label of the same level beside it."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from ferrosight.types.micrograph import ScaleBar
from ferrosight.uptake.glyphs import Glyph, Reading, read_length

_LEAST_LENGTH = 0.03  # of the image's width
_MOST_LENGTH = 0.9
_LEAST_ASPECT = 3.5
_LEAST_FILL = 0.93
#: What is tried: how far from the extreme level an annotation's pixels may be, of the range (JPEG makes ripples of
#: flat areas), and the width in pixels of a morphological opening that cuts off noise which clings to letters.
_ATTEMPTS = ((0.03, 1), (0.03, 3), (0.03, 7), (0.12, 3))
#: Characters are this high, of the image's height.
_GLYPH_HEIGHTS = (0.006, 0.12)
#: A label whose worst character is less like its template than this is not read. Chosen between characters of
#: typefaces that have no template and specks of noise.
LEAST_GLYPH_MATCH = 0.6

Box = tuple[int, int, int, int]


def find_scale_bars(image: NDArray[np.float32]) -> tuple[ScaleBar, ...]:
    """Every solid bar, lying, white or black, that has a label or stands alone as the only one.

    ``image`` is (row, column) from 0 to 1. A bar is a rectangle of the extreme level, at least 3.5 times as long as
    high and 3 % of the image's width; its label is a line of characters of the same level just above, just below or
    beside it. Bars with a label that can be read come alone where there are any: a bar-like body elsewhere is then
    none.
    """
    found: list[ScaleBar] = []
    for extreme in (1.0, 0.0):
        for tolerance, size in _ATTEMPTS:
            flat = np.abs(image - extreme) <= tolerance
            flat[~_near_runs(flat)] = False
            if not flat.any():
                continue
            opened = ndimage.binary_opening(flat, np.ones((size, size), bool)) if size > 1 else flat
            components, boxes = _find_components(opened)
            for label, box in enumerate(boxes, start=1):
                if _may_be_bar(box, image.shape):
                    bar = _trim_bar(components, label, box)
                    if bar is not None and _may_be_bar(bar, image.shape):
                        found.append(_read_bar(components, boxes, bar, image.shape))
    return _choose_bars(found)


def mask_annotation(image: NDArray[np.float32], bars: tuple[ScaleBar, ...]) -> NDArray[np.bool_]:
    """Where bars and labels hide the specimen: their boxes, with a margin of a bar's height."""
    hidden = np.zeros(image.shape, bool)
    for bar in bars:
        margin = bar.box[2] - bar.box[0] + 1
        for box in (bar.box, bar.text_box):
            if box is not None:
                rows = slice(max(0, box[0] - margin // 2), box[2] + 1 + margin // 2)
                columns = slice(max(0, box[1] - margin // 2), box[3] + 1 + margin // 2)
                hidden[rows, columns] = True
    return hidden


def _near_runs(flat: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Rows (n,) near one that holds a run as long as a bar: there is no need to look elsewhere."""
    length = max(2, int(_LEAST_LENGTH * flat.shape[1]))
    sums = np.cumsum(flat, axis=1, dtype=np.int32)
    runs = (sums[:, length:] - sums[:, :-length] == length).any(axis=1)
    return ndimage.binary_dilation(runs, iterations=max(1, int(1.5 * _GLYPH_HEIGHTS[1] * len(flat))))


def _find_components(flat: NDArray[np.bool_]) -> tuple[NDArray[np.int32], list[Box]]:
    components = np.asarray(ndimage.label(flat)[0], dtype=np.int32)
    slices = ndimage.find_objects(components)
    boxes = [(rows.start, columns.start, rows.stop - 1, columns.stop - 1) for rows, columns in slices]
    return components, boxes


def _may_be_bar(box: Box, shape: tuple[int, ...]) -> bool:
    height, width = box[2] - box[0] + 1, box[3] - box[1] + 1
    long_enough = _LEAST_LENGTH * shape[1] <= width <= _MOST_LENGTH * shape[1]
    return long_enough and height >= 2 and width >= _LEAST_ASPECT * height


def _trim_bar(components: NDArray[np.int32], label: int, box: Box) -> Box | None:
    """The box without noise that touches the bar; None where what is left is not solid."""
    inside = components[box[0] : box[2] + 1, box[1] : box[3] + 1] == label
    rows = np.flatnonzero(inside.mean(axis=1) > 0.5)
    if not len(rows):
        return None
    columns = np.flatnonzero(inside[rows[0] : rows[-1] + 1].mean(axis=0) > 0.5)
    if not len(columns):
        return None
    solid = inside[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]
    if float(solid.mean()) < _LEAST_FILL:
        return None
    return box[0] + int(rows[0]), box[1] + int(columns[0]), box[0] + int(rows[-1]), box[1] + int(columns[-1])


def _choose_bars(found: list[ScaleBar]) -> tuple[ScaleBar, ...]:
    """Of readings of one bar the best; those with a label that can be read alone where there are any."""
    best: list[ScaleBar] = []
    for bar in sorted(found, key=lambda one: (not one.text, -np.nan_to_num(one.glyph_match, nan=-1.0))):
        if not any(_overlap(bar.box, other.box) for other in best):
            best.append(bar)
    return tuple([bar for bar in best if bar.text] or best)


def _overlap(one: Box, other: Box) -> bool:
    return one[0] <= other[2] and other[0] <= one[2] and one[1] <= other[3] and other[1] <= one[3]


def _read_bar(components: NDArray[np.int32], boxes: list[Box], bar: Box, shape: tuple[int, ...]) -> ScaleBar:
    low, high = (share * shape[0] for share in _GLYPH_HEIGHTS)
    near = [
        (label, box)
        for label, box in enumerate(boxes, start=1)
        if not _overlap(box, bar) and box[2] - box[0] + 1 <= high and box[3] - box[1] < bar[3] - bar[1] + high
    ]
    tall = [(label, box) for label, box in near if box[2] - box[0] + 1 >= low and _is_beside(box, bar)]
    best: tuple[Reading, Box] | None = None
    for line in _group_lines([box for _, box in tall]):
        glyphs = _cut_glyphs(components, near, line)
        reading = read_length(glyphs)
        if reading is not None and (best is None or reading.match > best[0].match):
            best = reading, line
    if best is None or best[0].match < LEAST_GLYPH_MATCH:
        return ScaleBar(bar, best[1] if best else None, "", math.nan, best[0].match if best else math.nan)
    return ScaleBar(bar, best[1], best[0].text, best[0].length_nm, best[0].match)


def _is_beside(box: Box, bar: Box) -> bool:
    """Whether a character may belong to the bar's label: above, below, left or right of it, and near."""
    height = box[2] - box[0] + 1
    reach = 6 * height
    apart_rows = max(bar[0] - box[2], box[0] - bar[2], 0)
    apart_columns = max(bar[1] - box[3], box[1] - bar[3], 0)
    return (apart_rows <= 1.5 * height and apart_columns <= reach) if apart_rows else apart_columns <= reach


def _group_lines(boxes: list[Box]) -> list[Box]:
    """Boxes of lines of text: characters that stand on one line and near one another."""
    lines: list[list[Box]] = []
    for box in sorted(boxes, key=lambda one: one[1]):
        height = box[2] - box[0] + 1
        for line in lines:
            last = line[-1]
            last_height = last[2] - last[0] + 1
            tall = max(height, last_height)
            overlap = min(box[2], last[2]) - max(box[0], last[0]) + 1
            if overlap >= 0.6 * min(height, last_height) and box[1] - last[3] <= 2 * tall and tall < 2.2 * height:
                line.append(box)
                break
        else:
            lines.append([box])
    return [
        (min(b[0] for b in line), line[0][1], max(b[2] for b in line), max(b[3] for b in line))
        for line in lines
        if len(line) > 1
    ]


def _cut_glyphs(components: NDArray[np.int32], near: list[tuple[int, Box]], line: Box) -> list[Glyph]:
    """The characters of a line from left to right, a decimal point included; specks of noise are left out."""
    line_height = line[2] - line[0] + 1
    inside = [
        (label, box)
        for label, box in sorted(near, key=lambda one: one[1][1])
        if line[0] <= box[0] and box[2] <= line[2] and line[1] <= box[1] and box[3] <= line[3]
    ]
    tall = [box for _, box in inside if box[2] - box[0] + 1 >= 0.4 * line_height]
    glyphs = []
    for label, box in inside:
        picture = components[box[0] : box[2] + 1, box[1] : box[3] + 1] == label
        if box in tall or _is_point(picture, box, tall):
            glyphs.append(Glyph(picture, box))
    return glyphs


def _is_point(picture: NDArray[np.bool_], box: Box, tall: list[Box]) -> bool:
    """Whether it is solid, about as wide as high, and stands on the digits' line, free between two characters."""
    height, width = picture.shape
    line_height = tall[0][2] - tall[0][0] + 1 if tall else 0
    shaped = 0.07 * line_height <= height <= 0.3 * line_height and 0.6 <= width / height <= 1.7
    free = all(box[3] < other[1] or other[3] < box[1] for other in tall)
    standing = bool(tall) and abs(box[2] - tall[0][2]) <= 0.06 * line_height
    return shaped and free and standing and float(picture.mean()) > 0.6
