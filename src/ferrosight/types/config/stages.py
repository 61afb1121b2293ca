"""One frozen configuration per stage. Names carry units; every field has a default, bounds and a sentence."""

from __future__ import annotations

from dataclasses import dataclass

from ferrosight.types.config._setting import StageConfig, setting


@dataclass(frozen=True)
class FieldConfig(StageConfig):
    """Field, noise and mask."""

    background_mm: float = setting(
        0.0, "Width of the smooth background taken off the field map, mm; 0 chooses 8 voxels.", low=0.0, high=100.0
    )
    mask_snr: float = setting(
        4.0, "Tissue is where the smoothed magnitude exceeds this many noise standard deviations.", low=1.0, high=100.0
    )
    closing_mm: float = setting(
        0.0,
        "Voids at the border of the tissue up to this radius count as tissue, mm; 0 chooses 8 voxels.",
        low=0.0,
        high=100.0,
    )


@dataclass(frozen=True)
class ClustersConfig(StageConfig):
    """Detection, refit and judgement."""

    q: float = setting(0.05, "False discovery rate at which candidates are accepted.", low=1e-6, high=0.5)
    max_expected_false: float = setting(
        3.0, "Nothing is accepted where more false candidates than this are expected in the scan.", low=1e-6, high=1e6
    )
    screen_z: float = setting(
        4.5, "Candidates are refitted where the screening statistic exceeds this.", low=2.0, high=20.0
    )
    window_voxels: float = setting(
        3.6, "Radius of the fitting window, in cube roots of the voxel's volume.", low=2.0, high=4.0
    )
    repositioning_mm: float = setting(
        0.0,
        "How far anything may lie from where it lay in the baseline scan, one standard deviation along each axis, mm "
        "(an assumption); 0 chooses a quarter of a voxel.",
        low=0.0,
        high=10.0,
    )


@dataclass(frozen=True)
class QuantifyConfig(StageConfig):
    """Extended grafts; moment to iron to cells."""

    least_graft_voxels: float = setting(
        3.0,
        "Regions of raised R2* wider than this are measured as extended grafts, unless a point explains them; "
        "diameter of the ball of the same volume, cube roots of the voxel's volume.",
        low=2.0,
        high=100.0,
    )

    cell_to_cell_cv: float = setting(
        0.5,
        "Relative spread of iron between single cells (an assumption); it averages out over many cells.",
        low=0.0,
        high=5.0,
    )


@dataclass(frozen=True)
class RegisterConfig(StageConfig):
    """Visits into one subject space."""

    max_samples: int = setting(
        100_000, "Most places per pair of visits at which the two images are compared.", low=1000, high=10_000_000
    )
    least_overlap: float = setting(
        0.25,
        "Pairs that have less than this share of the smaller tissue in common are not registered.",
        low=0.01,
        high=1.0,
    )
    least_similarity: float = setting(
        0.6,
        "Pairs whose images, smooth parts taken off, correlate less than this once registered have failed.",
        low=0.0,
        high=1.0,
    )
    pet_header_err_mm: float = setting(
        -1.0,
        "How far PET and MRI of a visit may lie apart by their headers, one standard deviation along each axis, mm, as "
        "for a scanner that takes both; -1: unknown, and the images decide.",
        low=-1.0,
        high=100.0,
    )


@dataclass(frozen=True)
class LimitsConfig(StageConfig):
    """The map of the limit of detection."""

    power: float = setting(0.9, "Chance with which a cluster at the limit would be found.", low=0.01, high=0.9999)
    false_per_scan: float = setting(1.0, "False alarms per scan that the ideal observer may make.", low=1e-9, high=1e3)


@dataclass(frozen=True)
class PetConfig(StageConfig):
    """Hot spots of PET."""

    q: float = setting(0.05, "False discovery rate at which hot spots are accepted.", low=1e-6, high=0.5)
    max_expected_false: float = setting(
        1.0, "No hot spot is accepted where more false ones than this are expected in the scan.", low=1e-6, high=1e6
    )
    model_rel_err: float = setting(
        0.01,
        "What the point spread's own error adds to that of an activity, relative (an assumption).",
        low=0.0,
        high=0.5,
    )
    fwhm_mm: float = setting(
        0.0,
        "Width (FWHM) of a point in the image, positrons' range left out, mm; 0 takes the sidecar's PointSpreadFWHM.",
        low=0.0,
        high=50.0,
    )
    axial_fwhm_mm: float = setting(
        0.0, "The same along the scanner's axis, mm; 0 takes pet.fwhm_mm.", low=0.0, high=50.0
    )
    activity_per_cell_bq: float = setting(
        -1.0,
        "Activity of one cell at the PET scan's start where cells bear both labels, Bq; -1: unknown.",
        low=-1.0,
        high=1e6,
    )


@dataclass(frozen=True)
class LinkConfig(StageConfig):
    """Tracks from visit to visit: what is expected of clusters before their positions are seen (assumptions)."""

    use_mass: bool = setting(
        True, "Links follow position and mass; false: position alone, where what follows is a test of the masses."
    )
    motion_mm: float = setting(
        0.05,
        "How far a cluster moves in a day along each axis, mm; times the root of the days between two visits.",
        low=1e-6,
        high=1e4,
    )
    tail_dof: float = setting(
        5.0,
        "Degrees of freedom of Student's distribution of motion and mass change; few: now and then far more.",
        low=1.0,
        high=1e3,
    )
    mass_change: float = setting(
        0.15,
        "Relative change of mass in a day, times the root of the days between two visits.",
        low=1e-3,
        high=10.0,
    )
    mass_loss_per_day: float = setting(
        0.0, "Share of the mass that is expected to go in a day (logarithmic).", low=-10.0, high=10.0
    )
    new_per_day: float = setting(0.01, "New clusters in a day for each that there is on average.", low=1e-6, high=10.0)
    gone_per_day: float = setting(0.01, "Share of clusters that go in a day.", low=1e-6, high=10.0)
    split_per_day: float = setting(0.005, "Share of clusters that split in a day.", low=1e-9, high=10.0)
    merge_per_day: float = setting(
        0.01, "Share of pairs of clusters at the same place that become one in a day.", low=1e-9, high=10.0
    )
    separation_mm: float = setting(
        0.5,
        "Distance along each axis of two parts first seen apart, or last before they merge, mm.",
        low=1e-6,
        high=1e4,
    )
    max_gap_visits: int = setting(
        2, "Visits in a row at which a cluster may go unseen and still be followed.", low=0, high=100
    )
    gate_sd: float = setting(
        7.0, "Links farther than this many standard deviations of motion and errors are not tried.", low=2.0, high=100.0
    )
    over_ideal: float = setting(
        2.0,
        "How much more moment than an ideal observer's least the search needs to find a cluster as surely: 1.5 was "
        "measured in smooth tissue, 2.5 in texture.",
        low=1.0,
        high=100.0,
    )
    least_probability: float = setting(
        0.01, "Alternatives at least this likely are kept beside the chosen links.", low=1e-4, high=1.0
    )


@dataclass(frozen=True)
class RelapseConfig(StageConfig):
    """The test for relapse: what the study knows of its own errors. Where nobody knows a bound it is -1."""

    alpha: float = setting(0.05, "Chance of ever raising a false alarm in a subject, at most.", low=1e-6, high=0.5)
    factor_sd_max: float = setting(
        -1.0,
        "Largest relative standard deviation of what all clusters of a visit share (dose, gain); -1: unknown.",
        low=-1.0,
        high=1.0,
    )
    reference_rel_err: float = setting(
        -1.0,
        "Relative standard deviation of the reference in the sessions table; -1: unknown, and it is not used.",
        low=-1.0,
        high=1.0,
    )
    carry_over_max: float = setting(
        -1.0,
        "Largest share of a dose's iron that stays until the next visit; -1: unknown.",
        low=-1.0,
        high=0.95,
    )
    sd_factor_max: float = setting(
        -1.0,
        "Largest true over stated standard deviation of a measurement; -1: unknown. Not read where pairs are given.",
        low=-1.0,
        high=100.0,
    )
    test_retest_ratio: float = setting(
        -1.0,
        "Mean over pairs of repeated scans of (difference)² over the sum of both stated variances; -1: unknown.",
        low=-1.0,
        high=1e4,
    )
    test_retest_pairs: int = setting(0, "Number of those pairs.", low=0, high=1_000_000)
    outlier_share: float = setting(
        0.002, "Share of measurements that may be anything (an assumption).", low=1e-6, high=0.2
    )
    false_births_per_visit_max: float = setting(
        0.2,
        "Largest chance that a visit has a false candidate of which at most 0.01 were expected, a piece of a vein or "
        "an old bleed among them; 0.11 in simulated mouse brains, 0 in simulated human ones.",
        low=1e-6,
        high=0.99,
    )
    hidden_clusters_max: int = setting(
        -1,
        "Largest number of clusters that do not grow and were missed at first; -1: unknown, and new ones are no "
        "evidence.",
        low=-1,
        high=100_000,
    )
    link_reach_mm: float = setting(
        0.5, "Clusters this near could be mistaken for each other: their total is followed, mm.", low=0.0, high=1e3
    )
    hot_spot_reach_mm: float = setting(
        5.0, "The same for hot spots of PET, which are followed by place alone, mm (an assumption).", low=0.0, high=1e3
    )
    visible_sul: float = setting(
        -1.0,
        "SUL from which uptake counts as tumour, for PERCIST: 1.5 times the liver's mean plus 2 of its standard "
        "deviations; -1: unknown.",
        low=-1.0,
        high=1e3,
    )


@dataclass(frozen=True)
class ReportConfig(StageConfig):
    """The report."""

    gallery_size: int = setting(24, "How many of the strongest clusters the report shows one by one.", low=0, high=500)
