"""The methods paragraph: what was done, on what assumptions, and what was left uncorrected."""

from __future__ import annotations

import dataclasses

import numpy as np

from ferrosight.report.numbers import NA, format_number, format_voxel, is_number
from ferrosight.report.orientation import direction_letters
from ferrosight.types import Catalogue, Config, FieldMap, PhaseSign, Scan
from ferrosight.types.config import SettingInfo

LEFT_OUT = (
    "Not corrected: displacement along the readout direction by strong local fields, which biases the moment of the "
    "strongest clusters; diffusion, which blurs the innermost voxels; motion; and gradient non-linearity beyond what "
    "the scanner itself corrected."
)
NOT_SEEN = (
    "Decoys measure how often noise and texture pass for iron. They cannot see what truly is a dipole along B0: veins, "
    "micro-haemorrhages, gas bubbles, and macrophages that have taken up iron. Veins and bubbles are tested for by "
    "shape; a haemorrhage or a macrophage can only be told from labelled cells by a scan from before labelling or by "
    "its course over time."
)


def describe_scan(scan: Scan) -> str:
    """One line: field strength, echoes, matrix, voxel."""
    times = ", ".join(f"{1000 * t:.4g}" for t in scan.echo_times_s)
    n = len(scan.echo_times_s)
    shape = " × ".join(str(m) for m in scan.grid.shape)
    return (
        f"{scan.b0_t:.4g}\u00a0T · {n} echo{'' if n == 1 else 'es'} at {times}\u00a0ms · "
        f"{shape} voxels of {format_voxel(scan.grid.voxel_mm)}"
    )


def write_methods(scan: Scan, field_map: FieldMap, catalogue: Catalogue, config: Config) -> list[tuple[str, str]]:
    """Paragraphs (heading, text), each one assumption or step that the numbers hang on."""
    return [
        ("Scan", _scan_text(scan)),
        ("Sign of phase", _phase_text(catalogue)),
        ("Noise and point spread", _noise_text(scan, field_map, catalogue)),
        ("Detection", _detection_text(catalogue, config)),
        ("Measurement", _measurement_text()),
        ("Iron and cells", _iron_text(scan, catalogue, config)),
        ("Totals", _totals_text()),
        ("What was left out", f"{LEFT_OUT} {NOT_SEEN}"),
    ]


def _scan_text(scan: Scan) -> str:
    b0 = ", ".join(f"{c:.3g}".replace("-", "−") for c in scan.b0_direction)
    echoes = "All echoes were used together." if len(scan.echo_times_s) > 1 else "R2* cannot be told from one echo."
    return (
        f"Gradient echo, {describe_scan(scan)}. B0 was taken along ({b0}) in scanner coordinates, towards "
        f"{direction_letters(scan.b0_direction)}. Positions are scanner RAS+ millimetres. {echoes}"
    )


def _phase_text(catalogue: Catalogue) -> str:
    words = {
        PhaseSign.POSITIVE: "The stored phase was taken to grow where the field is stronger",
        PhaseSign.NEGATIVE: "The stored phase was taken to fall where the field is stronger",
        PhaseSign.UNKNOWN: "How the stored phase moves with the field is not known; both polarities were tested",
    }[catalogue.phase_sign]
    return f"{words} (decided by: {catalogue.phase_sign_source or 'not stated'})."


def _noise_text(scan: Scan, field_map: FieldMap, catalogue: Catalogue) -> str:
    noise, mask = field_map.noise, field_map.mask
    snr = NA
    if mask.any():
        sigma = float(np.median(noise.sigma[0][mask]))
        snr = format_number(float(np.median(np.abs(scan.signal[0][mask]))) / sigma, 3)
    support = ", ".join(f"{100 * axis.width:.0f}\u00a0%" for axis in noise.support)
    full = all(axis.is_full for axis in noise.support)
    filled = "" if full else " The rest was zero-filled, which correlates the noise; this was accounted for."
    return (
        f"Signal-to-noise ratio at the first echo, median over the mask: {snr} (noise of one real channel). k-space "
        f"was acquired over {support} of its stored lines along the array’s axes.{filled} Point spread: "
        f"{catalogue.point_spread or 'not stated'}."
    )


def _detection_text(catalogue: Catalogue, config: Config) -> str:
    null = catalogue.null
    tail = (
        f"An exponential-type tail was fitted to {null.n_decoys_in_tail:,} decoys scoring above "
        f"{format_number(null.tail_threshold)} (scale {format_number(null.tail_scale)}"
        + (f" ± {format_number(null.tail_scale_err, 2)}" if is_number(null.tail_scale_err) else "")
        + "), which gives each candidate its p-value and the number of false candidates expected at its score."
        if is_number(null.tail_scale)
        else "Too few decoys were found for a tail to be fitted."
    )
    return (
        "Every voxel of the mask was screened for the field of a magnetic dipole along B0 over a local background, "
        f"divided by the local residual; where that statistic exceeded {config.clusters.screen_z:g}, the full complex "
        "signal (void and phase together, all echoes) was fitted with and without a cluster. The score is the signed "
        "root of the studentised likelihood ratio. The other four patterns of the same radial shape (xz, yz, xy, "
        "x²−y²) of both signs, and the dipole of opposite sign, were put through the same steps: no cluster of iron "
        f"makes them, so they measure this scan’s own false-positive rate. {tail} Candidates were accepted at a false "
        f"discovery rate of {catalogue.q_threshold:g} (Benjamini and Hochberg), unless their shape spoke against them."
    )


def _measurement_text() -> str:
    return (
        "The magnetic moment comes from the complex fit, its error from the fit’s covariance, inflated by the root of "
        "χ² per degree of freedom where that exceeds one, and by the disagreement between the inner and the outer "
        "half of the window where they disagree. ± is one standard deviation. Overlapping clusters were fitted "
        "together."
    )


def _iron_text(scan: Scan, catalogue: Catalogue, config: Config) -> str:
    label, ms = catalogue.label, catalogue.ms_am2_per_kg_fe
    if label is None:
        return "No label was named: moments were not converted to iron or cells."
    at_b0 = ""
    if ms is not None:
        at_b0 = f" At {scan.b0_t:.4g} T this is {format_number(ms)} A m²/kg Fe."
    core = (
        f" Its approach to saturation is a Langevin curve for a core of {label.core_diameter_nm:g} nm "
        f"({label.core_source or 'source not stated'})."
        if label.core_diameter_nm is not None
        else " It was taken to be saturated."
    )
    text = (
        f"Iron mass is the moment over the magnetisation of {label.name}: {format_number(label.ms_am2_per_kg_fe)} "
        f"A m² per kilogram of iron (not of oxide) at saturation, with a relative standard deviation of "
        f"{100 * label.ms_rel_sd:.0f} % (source: {label.ms_source}).{core}{at_b0}"
    )
    return f"{text} {_cells_text(catalogue, config)}"


def _cells_text(catalogue: Catalogue, config: Config) -> str:
    """The load that was really used, read back from the table: the label's own may have been replaced."""
    iron, n_cells = catalogue.clusters["iron_pg"], catalogue.clusters["n_cells"]
    known = np.isfinite(iron) & (n_cells > 0)
    if not known.any():
        return f"Numbers of cells are {NA}: no iron per cell was given, or there is nothing to count."
    used_pg = float(np.median(iron[known] / n_cells[known]))
    load = catalogue.label.load if catalogue.label is not None else None
    source = "as given for this visit"
    if load is not None and abs(load.mean_pg - used_pg) < 1e-3 * used_pg:
        source = f"± {load.sd_pg:.3g} pg between batches; source: {load.source or 'not stated'}"
    return (
        f"A cell was taken to hold {used_pg:.4g} pg of iron on this day ({source}), with a spread between single cells "
        f"of {100 * config.quantify.cell_to_cell_cv:.0f} % (assumption), which averages out over many cells."
    )


def _totals_text() -> str:
    return (
        "Totals are sums over the accepted clusters, expected false ones included. Fit errors are independent between "
        "clusters and add in quadrature; whatever else widens a cluster’s interval (the magnetisation of iron, iron "
        "per cell) is shared by all clusters of a scan and adds linearly. Clusters below the limit of detection are in "
        "no total."
    )


@dataclasses.dataclass(frozen=True)
class SettingRow:
    """One line of the settings table."""

    name: str
    value: str
    is_default: bool
    doc: str


def list_settings(config: Config) -> list[SettingRow]:
    """Every setting with its value and its sentence, in the order of the stages."""
    rows = []
    for stage in dataclasses.fields(config):
        values = getattr(config, stage.name)
        for field in dataclasses.fields(values):
            info: SettingInfo = field.metadata["setting"]
            value = getattr(values, field.name)
            rows.append(SettingRow(f"{stage.name}.{field.name}", str(value), value == field.default, info.doc))
    return rows
