"""One schema per table: it yields validation, TSV headings, JSON data dictionaries and documentation."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Literal

Dtype = Literal["string", "number", "integer", "boolean"]

#: Version of every table's layout. A column is added with a minor step, renamed or removed never.
SCHEMA_VERSION = "1.4"


@dataclass(frozen=True)
class Column:
    """A column: its name (units included), unit, type, and one sentence."""

    name: str
    unit: str
    dtype: Dtype
    description: str


@dataclass(frozen=True)
class TableSchema:
    """The columns of a table, in order."""

    name: str
    description: str
    columns: tuple[Column, ...]
    version: str = SCHEMA_VERSION

    @cached_property
    def names(self) -> tuple[str, ...]:
        """Column names, in order."""
        return tuple(column.name for column in self.columns)

    def column(self, name: str) -> Column:
        """The column called ``name``."""
        return next(column for column in self.columns if column.name == name)


def _position(axis: str) -> tuple[Column, Column]:
    return (
        Column(f"{axis}_mm", "mm", "number", f"Position along {axis} in scanner RAS+ space."),
        Column(f"{axis}_mm_err", "mm", "number", f"One standard deviation of {axis}_mm."),
    )


_XYZ = [_position(axis) for axis in "xyz"]
_INTERVAL = "{} of the 95 % interval of the {}."

_SELECTED = "{} of the 95 % interval of the moment; of an accepted one given that its score was high enough."

CLUSTERS = TableSchema(
    "clusters",
    "Candidate clusters of labelled cells found in one scan, accepted and rejected.",
    (
        Column("cluster_id", "", "string", "Made from the visit and the position, so it is the same in every run."),
        *(value for value, _ in _XYZ),
        *(error for _, error in _XYZ),
        Column("moment_am2", "A m²", "number", "Magnetic moment; negative where the polarity is opposite to iron's."),
        Column("moment_am2_err", "A m²", "number", "One standard deviation of the moment."),
        Column("moment_am2_low", "A m²", "number", _SELECTED.format("Lower end")),
        Column("moment_am2_high", "A m²", "number", _SELECTED.format("Upper end")),
        Column("iron_pg", "pg", "number", "Mass of iron: moment over the label's magnetisation at this field."),
        Column("iron_pg_low", "pg", "number", _INTERVAL.format("Lower end", "iron mass")),
        Column("iron_pg_high", "pg", "number", _INTERVAL.format("Upper end", "iron mass")),
        Column("n_cells", "1", "number", "Number of labelled cells: iron mass over iron per cell."),
        Column("n_cells_low", "1", "number", _INTERVAL.format("Lower end", "number of cells")),
        Column("n_cells_high", "1", "number", _INTERVAL.format("Upper end", "number of cells")),
        Column(
            "score",
            "1",
            "number",
            "Root of the studentised likelihood ratio, in its pattern's null standard deviations.",
        ),
        Column("p_value", "1", "number", "Chance that a place of this scan with no cluster scores at least as much."),
        Column("q_value", "1", "number", "Smallest false discovery rate at which this candidate is accepted."),
        Column("expected_false", "1", "number", "False candidates of at least this score expected in this scan."),
        Column("status", "", "string", "accepted or rejected."),
        Column("reasons", "", "string", "Why it was rejected: names from the flag registry, joined by ';'."),
        Column(
            "estimator",
            "",
            "string",
            "What gave the moment: point (alone), joint (with its overlapping neighbours), or susceptibility_integral "
            "(over an extended graft).",
        ),
    ),
)

FITS = TableSchema(
    "fits",
    "How well each candidate was fitted: one row per row of the clusters table.",
    (
        Column("cluster_id", "", "string", "As in the clusters table."),
        *(
            Column(f"{a}_voxel", "voxel", "number", f"Fractional voxel index {a}; 0 is the first voxel's centre.")
            for a in "ijk"
        ),
        Column("chi2_dof", "1", "number", "χ² per degree of freedom of the fit in its window."),
        Column("selection_score", "1", "number", "Score from which it would have been accepted; n/a where it was not."),
        Column("error_inflation", "1", "number", "Factor by which the fit's errors were inflated."),
        Column("moment_inner_am2", "A m²", "number", "Moment from the inner half of the window alone."),
        Column("moment_inner_am2_err", "A m²", "number", "One standard deviation of the inner moment."),
        Column("moment_outer_am2", "A m²", "number", "Moment from the outer half of the window alone."),
        Column("moment_outer_am2_err", "A m²", "number", "One standard deviation of the outer moment."),
        Column(
            "cylinder_delta_chi2",
            "1",
            "number",
            "χ² of a cylinder less that of the point, at χ²/dof = 1; below 0 a vein fits better.",
        ),
        Column(
            "bubble_delta_chi2",
            "1",
            "number",
            "χ² of a bubble less that of the cluster, at χ²/dof = 1; below 0 a bubble fits better.",
        ),
        Column("n_neighbours", "1", "integer", "Overlapping clusters fitted together with this one."),
        Column(
            "explained_share",
            "1",
            "number",
            "Share of what a smooth background leaves unexplained in the window that the point explains.",
        ),
        Column(
            "moment_r2star_am2",
            "A m²",
            "number",
            "A second opinion on a graft: the moment that static dephasing would need for its R2*; no calibration.",
        ),
        Column("moment_r2star_am2_err", "A m²", "number", "One standard deviation of that, from the noise alone."),
        Column("window_fraction", "1", "number", "Share of the fitting window inside image and mask."),
        Column(
            "baseline_moment_am2",
            "A m²",
            "number",
            "Moment that the baseline scan holds there; n/a without one.",
        ),
        Column("baseline_moment_am2_err", "A m²", "number", "One standard deviation of the baseline's moment."),
        Column("remarks", "", "string", "Cautions that do not reject: names from the flag registry, joined by ';'."),
    ),
)

FORCED = TableSchema(
    "forced",
    "Moments measured at given places, whether or not anything was found there: one row per place.",
    (
        *(value for value, _ in _XYZ),
        Column("moment_am2", "A m²", "number", "Magnetic moment of iron's polarity; may be zero or negative."),
        Column("moment_am2_err", "A m²", "number", "One standard deviation of the moment."),
        Column("moment_am2_low", "A m²", "number", _INTERVAL.format("Lower end", "moment")),
        Column("moment_am2_high", "A m²", "number", _INTERVAL.format("Upper end", "moment")),
        Column("chi2_dof", "1", "number", "χ² per degree of freedom of the fit in its window."),
        Column("n_neighbours", "1", "integer", "Overlapping sources and places fitted together with this one."),
        Column(
            "remarks", "", "string", "Cautions, or why there is no value: names from the flag registry, joined by ';'."
        ),
    ),
)

NULLS = TableSchema(
    "nulls",
    "Candidates of every class found by the same code: the target, its opposite and the other harmonics.",
    (
        Column("pattern", "", "string", "dipole, opposite, xz, yz, xy or x2-y2."),
        Column("sign", "1", "integer", "+1 or -1: the sign of the fitted amplitude."),
        *(value for value, _ in _XYZ),
        Column("screen_z", "1", "number", "Studentised screening statistic at the peak."),
        Column("score", "1", "number", "Score after the complex refit, standardised by its class's own spread."),
    ),
)

TRUTH = TableSchema(
    "truth",
    "What a simulated scan really holds.",
    (
        *(value for value, _ in _XYZ),
        Column("moment_am2", "A m²", "number", "Magnetic moment."),
        Column("iron_pg", "pg", "number", "Mass of iron; n/a for what is not iron."),
        Column("n_cells", "1", "number", "Number of labelled cells; n/a for what is not a labelled cluster."),
        Column("kind", "", "string", "labelled, vein, haemorrhage, air or calcification."),
        Column("radius_mm", "mm", "number", "How far the body reaches from its place or, where it has one, its axis."),
        *(
            Column(f"axis_{a}_mm", "mm", "number", f"Along {a}, from the middle of a vein to its end; 0 without axis.")
            for a in "xyz"
        ),
        Column("object_id", "", "string", "Which of the subject's bodies it is: the same name at every visit."),
    ),
)

_IMAGE = Column("image", "", "string", "The micrograph's file name.")
_BODY = Column("body_id", "", "string", "Where the body's middle lies, row and column in pixels of the file.")

MICROGRAPHS = TableSchema(
    "micrographs",
    "What electron micrographs show: a row per body (lysosome, or cell where that is what is seen) with particles.",
    (
        _IMAGE,
        _BODY,
        Column("pixel_nm", "nm", "number", "Edge of a pixel of the file."),
        Column("scale_source", "", "string", "What says so: given, metadata, or bar (read from the image)."),
        Column("scale_label", "", "string", "The scale bar's label as read."),
        Column("body_area_nm2", "nm²", "number", "Area inside the body's outline."),
        Column("body_area_nm2_err", "nm²", "number", "Spread of it between weightings of the same evidence."),
        Column("particle_area_nm2", "nm²", "number", "Area that particles cover, gaps between neighbours included."),
        Column("particle_area_nm2_err", "nm²", "number", "Spread of it between choices of threshold and gap."),
        Column("dense_area_nm2", "nm²", "number", "The darker part of the area that particles cover."),
        Column("dense_area_nm2_err", "nm²", "number", "Spread of it between choices of threshold and gap."),
        Column("area_fraction", "1", "number", "Area that particles cover over the body's."),
        Column("area_fraction_err", "1", "number", "One standard deviation of the area fraction."),
        Column("n_clusters", "1", "integer", "Separate clusters of particles in the body."),
        Column("n_particles", "1", "number", "Particles in the body's section; n/a where counting is refused."),
        Column("n_particles_low", "1", "number", _INTERVAL.format("Lower end", "number of particles")),
        Column("n_particles_high", "1", "number", _INTERVAL.format("Upper end", "number of particles")),
        Column("particle_nm", "nm", "number", "Median diameter of the image's single particles, as they appear."),
        Column("particle_nm_err", "nm", "number", "One standard deviation of that median."),
        Column("body_volume_um3", "µm³", "number", "The body's volume as a sphere cut at random; a model."),
        Column("body_volume_um3_err", "µm³", "number", "One standard deviation of that, the cut's place included."),
        Column("n_particles_body", "1", "number", "Particles in the whole body, as dense as in the section; a model."),
        Column("n_particles_body_err", "1", "number", "One standard deviation of that, the cut's place included."),
        Column("remarks", "", "string", "Cautions and refusals, joined by ';'."),
    ),
)

PARTICLE_CLUSTERS = TableSchema(
    "particle_clusters",
    "Clusters of particles in electron micrographs: a row per connected area.",
    (
        _IMAGE,
        Column("body_id", "", "string", "The body that holds it; n/a outside all of them."),
        Column("row", "pixel", "number", "Row of its middle in pixels of the file; 0 is the first pixel's centre."),
        Column("column", "pixel", "number", "Column of its middle, likewise."),
        Column("area_nm2", "nm²", "number", "Area, gaps between neighbouring particles included."),
        Column("area_nm2_err", "nm²", "number", "Half a pixel along its rim."),
        Column("n_particles", "1", "number", "Particles in it; n/a where counting is refused."),
    ),
)

PARTICLES = TableSchema(
    "particles",
    "Single particles that stand apart in electron micrographs: their distribution of size.",
    (
        _IMAGE,
        Column("row", "pixel", "number", "Row of its middle in pixels of the file; 0 is the first pixel's centre."),
        Column("column", "pixel", "number", "Column of its middle, likewise."),
        Column("diameter_nm", "nm", "number", "Diameter of the disc of the same area at half its peak density."),
    ),
)

TRACKS = TableSchema(
    "tracks",
    "Every cluster of a subject followed from visit to visit: one row per track and visit.",
    (
        Column("track_id", "", "string", "Made from the cluster that the track begins with."),
        Column("session_id", "", "string", "Visit."),
        Column("day", "d", "number", "Day of the visit."),
        *(
            Column(f"{a}_mm", "mm", "number", f"{a} in the subject's own space, RAS+, where visits agree.")
            for a in "xyz"
        ),
        Column(
            "moment_am2", "A m²", "number", "Magnetic moment; where nothing was detected it may be zero or negative."
        ),
        Column("moment_am2_err", "A m²", "number", "One standard deviation of the moment."),
        Column("iron_pg", "pg", "number", "Mass of iron: moment over the label's magnetisation at this field."),
        Column("iron_pg_low", "pg", "number", _INTERVAL.format("Lower end", "iron mass")),
        Column("iron_pg_high", "pg", "number", _INTERVAL.format("Upper end", "iron mass")),
        Column("n_cells", "1", "number", "Number of labelled cells: iron mass over the iron per cell of that day."),
        Column("n_cells_low", "1", "number", _INTERVAL.format("Lower end", "number of cells")),
        Column("n_cells_high", "1", "number", _INTERVAL.format("Upper end", "number of cells")),
        Column(
            "measurement",
            "",
            "string",
            "detected; forced where nothing was found and the track's place was measured; outside where it lay outside "
            "of what was scanned; n/a where the visit could not be laid into the subject's space.",
        ),
        Column("upper_limit_iron_pg", "pg", "number", "Largest mass of iron that the scan allows (95 %, one-sided)."),
        Column(
            "event",
            "",
            "string",
            "appear, continue, split or merge (it came from one), gap (unseen, but seen later) or disappear (unseen "
            "from here on); n/a before it was first seen.",
        ),
        Column("parent_ids", "", "string", "Tracks that this one came from by a split or merge, joined by ';'."),
        *(
            Column(f"{a}_mm_err", "mm", "number", f"One standard deviation of {a}_mm, registration included.")
            for a in "xyz"
        ),
        Column("cluster_id", "", "string", "The cluster of this visit; n/a where nothing was detected."),
        Column("moment_am2_low", "A m²", "number", _INTERVAL.format("Lower end", "moment")),
        Column("moment_am2_high", "A m²", "number", _INTERVAL.format("Upper end", "moment")),
        Column("upper_limit_moment_am2", "A m²", "number", "Largest moment that the scan allows (95 %, one-sided)."),
        Column("upper_limit_n_cells", "1", "number", "Largest number of cells that the scan allows (95 %, one-sided)."),
        Column(
            "limit_iron_pg",
            "pg",
            "number",
            "Smallest mass that would have been found there: the ideal observer's limit times link.over_ideal.",
        ),
        Column("link_probability", "1", "number", "Chance that this row's link to the visit before is the true one."),
    ),
)

RELAPSE = TableSchema(
    "relapse",
    "Evidence that something labelled grows or appears, one row per visit, beside what the clinical rules say.",
    (
        Column("session_id", "", "string", "Visit."),
        Column("day", "d", "number", "Day of the visit."),
        Column("e_value", "1", "number", "Evidence up to this visit; n/a where growth is not identifiable."),
        Column("running_e_value", "1", "number", "Largest e_value so far."),
        Column("alarm", "", "boolean", "Whether running_e_value has reached 1/alpha."),
        Column("alpha", "1", "number", "Chance of ever raising a false alarm, at most."),
        *(
            Column(f"comparator_{name}", "", "string", f"{rule}: progression or none; n/a where it cannot say.")
            for name, rule in (
                ("recist", "RECIST 1.1"),
                ("rano", "RANO"),
                ("percist", "PERCIST 1.0"),
                ("visible", "First visible lesion"),
            )
        ),
    ),
)

LESIONS = TableSchema(
    "lesions",
    "Lesions as somebody measured them, by hand or from a segmentation: read beside the scans, never written.",
    (
        Column("session_id", "", "string", "Visit, with or without ses-."),
        Column("lesion_id", "", "string", "The same at every visit; n/a in a line that says that there was none."),
        Column("longest_mm", "mm", "number", "Longest diameter; 0 where it has gone, n/a where it was not measured."),
        Column("perpendicular_mm", "mm", "number", "Longest diameter across that; likewise."),
        Column("volume_mm3", "mm³", "number", "Volume; likewise."),
        Column("volume_mm3_err", "mm³", "number", "One standard deviation of the volume; may be left out."),
        Column("sul_peak", "g/mL", "number", "Peak SUV by lean body mass, for PERCIST; may be left out."),
    ),
)

_ACTIVITY = (
    Column("activity_bq", "Bq", "number", "Activity beyond the local background, at the scan's start."),
    Column("activity_bq_err", "Bq", "number", "One standard deviation of the activity."),
    Column("activity_bq_low", "Bq", "number", _INTERVAL.format("Lower end", "activity, given that it was detected")),
    Column("activity_bq_high", "Bq", "number", _INTERVAL.format("Upper end", "activity, given that it was detected")),
)
_RADIUS = (
    Column("radius_mm", "mm", "number", "Radius of the ball that fits; 0 where it cannot be told from a point."),
    Column("radius_mm_high", "mm", "number", "Largest radius that the scan allows (95 %, one-sided)."),
)

PET_CLUSTERS = TableSchema(
    "pet_clusters",
    "Candidate hot spots found in one PET scan, accepted and rejected; what only MRI measures is n/a.",
    (
        *CLUSTERS.columns[:-1],
        Column("estimator", "", "string", "What gave the activity: ball (place and size fitted) or point (screened)."),
        *_ACTIVITY,
        Column(
            "suv_peak", "g/mL", "number", "Mean SUV (body weight) in 1 mL, or a ball of the point spread if smaller."
        ),
        *_RADIUS,
        Column("concentration_bq_ml", "Bq/mL", "number", "Activity over the ball's volume where its size is resolved."),
        Column("concentration_bq_ml_err", "Bq/mL", "number", "One standard deviation of the concentration."),
        Column("background_bq_ml", "Bq/mL", "number", "Fitted background under the spot."),
        Column("remarks", "", "string", "Cautions that do not reject: names from the flag registry, joined by ';'."),
    ),
)

PET_FORCED = TableSchema(
    "pet_forced",
    "Activities measured at given places, whether or not anything was found there: one row per place.",
    (
        *(value for value, _ in _XYZ),
        Column("activity_bq", "Bq", "number", "Activity beyond the local background; may be zero or negative."),
        Column("activity_bq_err", "Bq", "number", "One standard deviation of the activity."),
        Column("activity_bq_low", "Bq", "number", _INTERVAL.format("Lower end", "activity")),
        Column("activity_bq_high", "Bq", "number", _INTERVAL.format("Upper end", "activity")),
        Column("upper_limit_bq", "Bq", "number", "Largest activity that the scan allows (95 %, one-sided)."),
        *_RADIUS,
        Column("background_bq_ml", "Bq/mL", "number", "Fitted background under the place."),
        Column(
            "remarks", "", "string", "Cautions, or why there is no value: names from the flag registry, joined by ';'."
        ),
    ),
)

PET_TRUTH = TableSchema(
    "pet_truth",
    "What a simulated PET scan really holds beyond its tissue.",
    (
        *(value for value, _ in _XYZ),
        Column("activity_bq", "Bq", "number", "Activity beyond that of the tissue it lies in, at the scan's start."),
        Column("radius_mm", "mm", "number", "Radius of the ball that it fills."),
        Column("kind", "", "string", "labelled."),
    ),
)

JOINT_CLUSTERS = TableSchema(
    "joint_clusters",
    "Candidates of MRI and PET of one visit together: what both say of each, accepted and rejected.",
    (
        Column("cluster_id", "", "string", "MRI's where MRI has it as a candidate, otherwise PET's."),
        *(value for value, _ in _XYZ),
        *(error for _, error in _XYZ),
        Column("mri_cluster_id", "", "string", "Its row in the table of MRI; n/a where it is no candidate there."),
        Column("pet_cluster_id", "", "string", "Its row in the table of PET; n/a where it is no candidate there."),
        Column(
            "moment_am2",
            "A m²",
            "number",
            "Magnetic moment: MRI's own, or measured at PET's place, at the most dipole-like one within its error.",
        ),
        Column("moment_am2_err", "A m²", "number", "One standard deviation of the moment."),
        Column("moment_am2_low", "A m²", "number", _INTERVAL.format("Lower end", "moment")),
        Column("moment_am2_high", "A m²", "number", _INTERVAL.format("Upper end", "moment")),
        Column("upper_limit_moment_am2", "A m²", "number", "Largest moment that the scan allows (95 %, one-sided)."),
        Column(
            "limit_moment_am2",
            "A m²",
            "number",
            "Smallest moment that MRI would have found there: the ideal observer's limit times link.over_ideal.",
        ),
        Column("iron_pg", "pg", "number", "Mass of iron: moment over the label's magnetisation at this field."),
        Column("n_cells", "1", "number", "Number of labelled cells: iron mass over the iron per cell of that day."),
        Column("activity_bq", "Bq", "number", "Activity at the PET scan's start, measured within the place's error."),
        Column("activity_bq_err", "Bq", "number", "One standard deviation of the activity."),
        Column("activity_bq_low", "Bq", "number", _INTERVAL.format("Lower end", "activity")),
        Column("activity_bq_high", "Bq", "number", _INTERVAL.format("Upper end", "activity")),
        Column("upper_limit_bq", "Bq", "number", "Largest activity that the scan allows (95 %, one-sided)."),
        Column("suv_peak", "g/mL", "number", "Peak uptake of PET's candidate; n/a where it has none."),
        Column("score_mri", "1", "number", "What MRI says of it, as a standard normal's quantile."),
        Column("p_value_mri", "1", "number", "Chance of that at a place without iron."),
        Column("score_pet", "1", "number", "What PET says of it, as a standard normal's quantile."),
        Column("p_value_pet", "1", "number", "Chance of that at a place without activity."),
        Column("score", "1", "number", "Both together, as a standard normal's quantile; n/a where MRI rejects it."),
        Column("p_value", "1", "number", "Chance of as much at a place with neither, by both or either alone."),
        Column("q_value", "1", "number", "Smallest false discovery rate at which this candidate is accepted."),
        Column("expected_false", "1", "number", "False candidates of at least this score expected in this visit."),
        Column("status", "", "string", "accepted or rejected."),
        Column("reasons", "", "string", "Why it was rejected: names from the flag registry, joined by ';'."),
        Column(
            "finding",
            "",
            "string",
            "Of an accepted one: both; iron_without_activity (dead cells, or iron in macrophages); "
            "activity_without_iron; or undecided where the other modality did not see the place, or is too weak to "
            "tell, which can be known only with the activity and the iron of a cell. Evidence of a modality is a "
            "p-value up to 0.05.",
        ),
        Column("remarks", "", "string", "Cautions that do not reject: names from the flag registry, joined by ';'."),
    ),
)

_ALL = (
    *(CLUSTERS, FITS, FORCED, LESIONS, NULLS, RELAPSE, TRACKS, TRUTH),
    *(MICROGRAPHS, PARTICLE_CLUSTERS, PARTICLES),
    *(PET_CLUSTERS, PET_FORCED, PET_TRUTH, JOINT_CLUSTERS),
)
SCHEMAS: dict[str, TableSchema] = {schema.name: schema for schema in _ALL}
