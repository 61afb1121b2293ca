"""Everything that one micrograph says about the uptake of particles."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from ferrosight.errors import ImageError
from ferrosight.types.micrograph import Micrograph, MicrographMeasurement, MicrographOptions, Scale, ScaleBar
from ferrosight.types.schema import MICROGRAPHS, PARTICLE_CLUSTERS, PARTICLES
from ferrosight.types.table import Table
from ferrosight.uptake.counts import FEWEST_SINGLES, Counts, count_particles
from ferrosight.uptake.density import Density, measure_density
from ferrosight.uptake.outline import Outline, find_outlines, trace_rim
from ferrosight.uptake.particles import Singles, find_singles, segment_dense, segment_particles
from ferrosight.uptake.scale_bar import find_scale_bars, mask_annotation
from ferrosight.uptake.stereology import estimate_whole_body

#: Two bars, or a bar and metadata, that differ by no more than this agree.
_AGREEMENT = 0.03
#: The choices that the particles' area rests on are varied so: threshold, and gap, each by these factors.
_CHOICES = ((0.7, 1.0), (1.4, 1.0), (1.0, 0.6), (1.0, 1.4))
#: Outlines less sure than this are marked. Set on the micrographs that the method was made on.
_MOST_OUTLINE_ERR, _LEAST_STRENGTH, _MOST_OUTSIDE = 0.12, 3.7, 0.02
#: A closed line whose area differs by more than this share is another boundary, and no jitter of this one.
_RIVAL = 0.3


@dataclass(frozen=True)
class DrawnMasks:
    """What a person drew (row, column, on the averaged image): bodies and particles, or None."""

    bodies: NDArray[np.bool_] | None = None
    particles: NDArray[np.bool_] | None = None


def find_scale(micrograph: Micrograph, bars: tuple[ScaleBar, ...], options: MicrographOptions) -> Scale:
    """How large a pixel is: as given, else from the metadata, else from the scale bar.

    Raises
    ------
    ImageError
        None of them says it, or two of the image's say different things.
    """
    read = [bar for bar in bars if bar.text]
    if options.nm_per_pixel is not None:
        return Scale(options.nm_per_pixel, "given", read[0] if len(read) == 1 else None)
    sizes = {f"its bar says {bar.nm_per_pixel:.4g} ({bar.text})": bar.nm_per_pixel for bar in read}
    if math.isfinite(micrograph.nm_per_pixel):
        sizes[f"its metadata say {micrograph.nm_per_pixel:.4g}"] = micrograph.nm_per_pixel
    if sizes and max(sizes.values()) > (1 + _AGREEMENT) * min(sizes.values()):
        raise ImageError(
            f"{micrograph.name}: one scale is needed, but {', '.join(sizes)} nm per pixel; say --scale-nm-per-pixel."
        )
    if math.isfinite(micrograph.nm_per_pixel):
        return Scale(micrograph.nm_per_pixel, "metadata", read[0] if read else None)
    if read:
        return Scale(read[0].nm_per_pixel, "bar", read[0])
    found = "a bar whose label cannot be read" if bars else "neither metadata nor a scale bar with a label"
    raise ImageError(f"{micrograph.name}: a scale is needed, but it has {found}; say --scale-nm-per-pixel.")


def measure_micrograph(
    micrograph: Micrograph, options: MicrographOptions, drawn: DrawnMasks | None = None
) -> MicrographMeasurement:
    """Bodies, their particles, clusters and single particles of one micrograph.

    Areas are in nm² of the section; numbers are n/a where counting is refused, and remarks say why. Masks that a
    person drew replace what would have been found.

    Raises
    ------
    ImageError
        There is no scale, or more than one.
    """
    drawn = drawn or DrawnMasks()
    bars = find_scale_bars(micrograph.image)
    scale = find_scale(micrograph, bars, options)
    hidden = mask_annotation(micrograph.image, tuple(bar for bar in bars if bar.text))
    density = measure_density(micrograph.image, hidden, scale.nm_per_pixel)
    singles = find_singles(density, options.particle_nm)
    covered = segment_particles(density, singles) if drawn.particles is None else drawn.particles
    dense = segment_dense(density, singles, covered)
    counts = count_particles(density, singles)
    labels, outlines = _find_bodies(density, singles, covered, drawn)
    about = [name for name, said in _describe_image(density, singles, covered, counts).items() if said]
    rows = _Rows(micrograph.name, scale, options, density, singles, counts, covered, dense, drawn, tuple(about))
    variants = [] if drawn.particles is not None else _vary_particles(density, singles)
    bodies = [rows.body(labels == number, one, variants) for number, one in enumerate(outlines, start=1)]
    return MicrographMeasurement(
        micrograph.name,
        scale,
        density.seen,
        density.reduction,
        tuple(one.vertices for one in outlines),
        labels,
        covered,
        dense,
        Table.from_rows(MICROGRAPHS, bodies or [rows.nothing()]),
        Table.from_rows(PARTICLE_CLUSTERS, rows.clusters(labels, [row["body_id"] for row in bodies])),
        Table.from_rows(PARTICLES, rows.particles()),
    )


def _find_bodies(
    density: Density, singles: Singles, covered: NDArray[np.bool_], drawn: DrawnMasks
) -> tuple[NDArray[np.int32], tuple[Outline, ...]]:
    """Bodies as labels (row, column), and their outlines."""
    if drawn.bodies is not None:
        drawn_labels, n = ndimage.label(drawn.bodies)
        labels = np.asarray(drawn_labels, dtype=np.int32)
        return labels, tuple(trace_rim(labels == one, density) for one in range(1, n + 1))
    outlines = find_outlines(density, covered, density.density > 0.6 * singles.threshold)
    labels = np.zeros(covered.shape, dtype=np.int32)
    for number, outline in reversed(list(enumerate(outlines, start=1))):
        labels[outline.inside] = number
    return labels, outlines


def _describe_image(density: Density, singles: Singles, covered: NDArray[np.bool_], counts: Counts) -> dict[str, bool]:
    return {
        "inverted_contrast": density.inverted,
        "no_particles": not covered.any(),
        "particle_size_unsure": bool(covered.any()) and singles.n < FEWEST_SINGLES,
        counts.refusal: bool(counts.refusal) and bool(covered.any()),
    }


def _vary_particles(density: Density, singles: Singles) -> list[tuple[NDArray[np.bool_], NDArray[np.bool_]]]:
    """The particles' area, and its dense part, under other choices of threshold and gap."""
    masks = []
    for threshold, gap in _CHOICES:
        mask = segment_particles(density, singles, threshold_factor=threshold, closing_factor=gap)
        masks.append((mask, segment_dense(density, singles, mask)))
    return masks


@dataclass(frozen=True)
class _Rows:
    """Makes the tables' rows of one image."""

    name: str
    scale: Scale
    options: MicrographOptions
    density: Density
    singles: Singles
    counts: Counts
    covered: NDArray[np.bool_]
    dense: NDArray[np.bool_]
    drawn: DrawnMasks
    about: tuple[str, ...]

    def nothing(self) -> dict[str, Any]:
        """The row of an image in which no body was found."""
        return {**self._of_image(), "remarks": ";".join(self.about or ("no_particles",))}

    def body(
        self,
        inside: NDArray[np.bool_],
        outline: Outline,
        variants: list[tuple[NDArray[np.bool_], NDArray[np.bool_]]],
    ) -> dict[str, Any]:
        """The row of one body."""
        area, area_err = outline.area_nm2, outline.area_err_nm2
        held, held_err = self._area(self.covered & inside, [mask & inside for mask, _ in variants])
        dense, dense_err = self._area(self.dense & inside, [mask & inside for _, mask in variants])
        number, low, high = self.counts.sum_over(inside)
        number_err = (high - low) / (2 * 1.96)
        whole = estimate_whole_body(area, area_err, number, number_err, self.options.section_nm)
        fraction = held / area
        relative = math.hypot(*(e / v for e, v in ((held_err, held), (area_err, area)) if v and math.isfinite(e)))
        return {
            **self._of_image(),
            "body_id": self._name_place(*ndimage.center_of_mass(inside)),
            "body_area_nm2": area,
            "body_area_nm2_err": area_err,
            "particle_area_nm2": held,
            "particle_area_nm2_err": held_err,
            "dense_area_nm2": dense,
            "dense_area_nm2_err": dense_err,
            "area_fraction": fraction,
            "area_fraction_err": fraction * relative,
            "n_clusters": int(ndimage.label(self.covered & inside)[1]),
            "n_particles": number,
            "n_particles_low": low,
            "n_particles_high": high,
            "body_volume_um3": whole.volume_um3,
            "body_volume_um3_err": whole.volume_um3_err,
            "n_particles_body": whole.n_particles,
            "n_particles_body_err": whole.n_particles_err,
            "remarks": ";".join([*self._describe_outline(outline), *self.about]),
        }

    def clusters(self, labels: NDArray[np.int32], body_ids: list[str]) -> list[dict[str, Any]]:
        """A row per connected area of particles."""
        clusters, n = ndimage.label(self.covered)
        index = np.arange(1, n + 1)
        middles = np.array(ndimage.center_of_mass(clusters > 0, clusters, index)).reshape(-1, 2)
        rims = clusters * (clusters != ndimage.grey_erosion(clusters, size=(3, 3)))
        edge = self.density.nm_per_pixel
        rows = []
        for number in range(n):
            mask = clusters == number + 1
            holders = labels[mask]
            holder = int(np.bincount(holders).argmax()) if holders.size else 0
            # Rim pixels are in or out by half of themselves, each on its own.
            rim = int((rims == number + 1).sum())
            row, column = self._to_file(*middles[number])
            rows.append(
                {
                    "image": self.name,
                    "body_id": body_ids[holder - 1] if holder else "",
                    "row": row,
                    "column": column,
                    "area_nm2": float(mask.sum()) * edge**2,
                    "area_nm2_err": 0.5 * math.sqrt(rim) * edge**2,
                    "n_particles": self.counts.sum_over(mask)[0],
                }
            )
        return rows

    def particles(self) -> list[dict[str, Any]]:
        """A row per single particle that stands apart."""
        places = (self._to_file(row, column) for row, column in self.singles.rows[:, :2])
        return [
            {"image": self.name, "row": row, "column": column, "diameter_nm": float(diameter)}
            for (row, column), diameter in zip(places, self.singles.rows[:, 2], strict=True)
        ]

    def _of_image(self) -> dict[str, Any]:
        return {
            "image": self.name,
            "pixel_nm": self.scale.nm_per_pixel,
            "scale_source": self.scale.source,
            "scale_label": self.scale.bar.text if self.scale.bar else "",
            "particle_nm": self.singles.diameter_nm,
            "particle_nm_err": self.singles.diameter_err_nm,
        }

    def _area(self, mask: NDArray[np.bool_], variants: list[NDArray[np.bool_]]) -> tuple[float, float]:
        """Area in nm², and the root of its mean squared change under the variants; NaN without them."""
        unit = self.density.nm_per_pixel**2
        area = float(mask.sum()) * unit
        changes = [float(other.sum()) * unit - area for other in variants]
        return area, math.sqrt(sum(change**2 for change in changes) / len(changes)) if changes else math.nan

    def _describe_outline(self, outline: Outline) -> list[str]:
        drawn = self.drawn.bodies is not None
        said = {
            "outline_edited": drawn,
            "particles_edited": self.drawn.particles is not None,
            "outline_uncertain": not drawn and outline.area_err_nm2 > _MOST_OUTLINE_ERR * outline.area_nm2,
            "outline_rival": not drawn and outline.rival > _RIVAL,
            "outline_weak": not drawn and outline.strength < _LEAST_STRENGTH,
            "outline_leaves_image": outline.outside > _MOST_OUTSIDE,
        }
        return [name for name, is_so in said.items() if is_so]

    def _to_file(self, row: float, column: float) -> tuple[float, float]:
        """Pixels of the file from those of the averaged image."""
        size = self.density.reduction
        return (row + 0.5) * size - 0.5, (column + 0.5) * size - 0.5

    def _name_place(self, row: float, column: float) -> str:
        at = self._to_file(row, column)
        return f"r{at[0]:05.0f}c{at[1]:05.0f}"
