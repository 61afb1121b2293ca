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


@dataclass(frozen=True)
class ReportConfig(StageConfig):
    """The report."""

    gallery_size: int = setting(24, "How many of the strongest clusters the report shows one by one.", low=0, high=500)
