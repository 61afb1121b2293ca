"""The methods paragraph: what was done, on what assumptions, and what was left uncorrected."""

from __future__ import annotations

import dataclasses

import numpy as np

from ferrosight.report.numbers import NA, format_number, format_voxel, is_number
from ferrosight.report.orientation import direction_letters
from ferrosight.types import Catalogue, Config, FieldMap, PhaseSign, Scan
from ferrosight.types.config import SettingInfo

NOT_SEEN = (
    "Decoys measure how often noise and texture pass for iron. They cannot see what truly is a dipole along B0: veins, "
    "micro-haemorrhages, gas bubbles, air at the edge of tissue, macrophages that have taken up iron. Against every "
    "significant candidate a magnetised cylinder (a vein) and a gas bubble were fitted in the same window; a "
    "haemorrhage or a macrophage can only be told from labelled cells by a scan from before labelling or by its course "
    "over time."
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
        ("What was left out", f"{_left_out(scan)} {NOT_SEEN}"),
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
    return f"{words}: {catalogue.phase_sign_source or 'not stated'}."


def _noise_text(scan: Scan, field_map: FieldMap, catalogue: Catalogue) -> str:
    noise, mask = field_map.noise, field_map.mask
    snr = NA
    if mask.any():
        sigma = float(np.median(noise.sigma[0][mask]))
        snr = format_number(float(np.median(np.abs(scan.signal[0][mask]))) / sigma, 3)
    support = ", ".join(f"{100 * axis.width:.0f}\u00a0%" for axis in noise.support)
    full = all(axis.is_full for axis in noise.support)
    filled = (
        ""
        if full
        else " The rest was zero-filled, which correlates the noise between voxels: the point spread and the errors of "
        "moments carry this, the weights of the fits do not."
    )
    return (
        f"Signal-to-noise ratio at the first echo, median over the mask: {snr} (noise of one real channel). k-space "
        f"was acquired over {support} of its stored lines along the array’s axes.{filled} Point spread: "
        f"{catalogue.point_spread or 'not stated'}."
    )


def _detection_text(catalogue: Catalogue, config: Config) -> str:
    clusters = config.clusters
    return (
        "Every voxel of the mask in every slice, and up to two voxels beyond the image, was screened: what is left of "
        "the phase after a smooth background was fitted, weighted by its precision, by a quadratic background and "
        "each of the five far-field patterns of order two (the dipole along B0, xz, yz, xy, x²−y², all over r³), and "
        "each amplitude divided by its error as the local residual gives it. Where a pattern of either sign peaked "
        f"above {clusters.screen_z:g}, the complex signal (void and lobes as one, all echoes) was fitted in a ball of "
        f"{clusters.window_voxels:g} mean voxel edges around it: strength and position of the source, over a quadratic "
        "complex background of each echo; the best of all patterns and signs was kept. Sources that explain their "
        "surroundings multiplied their neighbours’ windows as known factors, what they left was screened again, and "
        "all were fitted again in turn; voxels changed by a neighbour weigh less by the relative error of the model, "
        "which was learnt from the scan’s strong sources. The score is the root of the studentised likelihood ratio "
        f"of source against background, divided by its pattern’s own null spread. {_null_text(catalogue)} "
        f"Candidates were accepted at a false discovery rate of {catalogue.q_threshold:g}, down to the score at which "
        f"{clusters.max_expected_false:g} false candidates are expected in the scan, if their centre lies inside the "
        "tissue and their shape does not speak for a vein or a bubble. Centres outside were fitted so that their "
        "fields would not be taken "
        "for something inside."
    )


def _null_text(catalogue: Catalogue) -> str:
    null = catalogue.null
    if not is_number(null.tail_scale):
        return "Too few decoys were found for a tail to be fitted."
    spread = f" ± {format_number(null.tail_scale_err, 2)}" if is_number(null.tail_scale_err) else ""
    rate = (
        "Where the sign of phase is unknown the number expected is that of both polarities together."
        if catalogue.phase_sign is PhaseSign.UNKNOWN
        else "Dipoles of the polarity that iron does not have are among them: where they are more frequent, their rate "
        "was taken, and where they are five or more, a tail of their own if it expects more."
    )
    return (
        "The other four patterns of both signs went through the same steps: no single cluster makes them, so they "
        f"measure this scan’s own false positives. To the {null.n_decoys_in_tail:,} of them that score above "
        f"{format_number(null.tail_threshold)} a generalised Pareto tail in s²/2 was fitted (scale "
        f"{format_number(null.tail_scale)}{spread}; 1 in pure noise), averaged over the uncertainty of its scale and "
        f"shape; it says how many false candidates are expected at a score. {rate} p is that number over the "
        f"{null.n_places:,} places fitted, q that number over the candidate’s rank (Benjamini and Hochberg)."
    )


def _measurement_text() -> str:
    return (
        "The magnetic moment and its error come from the complex fit, with overlapping neighbours free as well. The "
        "error was inflated by the noise’s correlation, by the root of χ² per degree of freedom where that exceeds "
        "one, and where the inner and the outer half of the window disagree by more than two of their errors, by as "
        "many of them. ± is one standard deviation."
    )


def _left_out(scan: Scan) -> str:
    moved = (
        "displacement along the readout direction by strong local fields (it is estimated with one echo only), which "
        "biases the moment of the strongest clusters; "
        if len(scan.echo_times_s) > 1
        else ""
    )
    return (
        f"Not corrected: {moved}diffusion, which blurs the innermost voxels; clusters wider than about a voxel, which "
        "are fitted as points; motion; and gradient non-linearity beyond what the scanner itself corrected."
    )


def _iron_text(scan: Scan, catalogue: Catalogue, config: Config) -> str:
    label, ms = catalogue.label, catalogue.ms_am2_per_kg_fe
    if label is None:
        if catalogue.calibration is not None:
            return f"No label was named: moments were not converted to iron. {_cells_text(catalogue, config)}"
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
    """The calibration or the load that was really used: the label's own may have been replaced."""
    calibration, load = catalogue.calibration, catalogue.load
    if calibration is not None:
        return (
            f"Numbers of cells are moments over {format_number(calibration.moment_per_cell_am2)} A m² per cell, with a "
            f"relative standard deviation of {100 * calibration.rel_sd:.0f} % between batches (calibrated: "
            f"{calibration.source}) and of {100 * calibration.cell_cv:.0f} % between single cells, which averages out "
            "over many cells."
        )
    if load is None or not np.isfinite(catalogue.clusters["n_cells"]).any():
        return f"Numbers of cells are {NA}: no iron per cell was given, or there is nothing to count."
    single = f"{100 * config.quantify.cell_to_cell_cv:.0f} % (assumption)"
    if load.cell_cv is not None:
        single = f"{100 * load.cell_cv:.0f} %"
    return (
        f"A cell was taken to hold {load.mean_pg:.4g} pg of iron on this day (± {load.sd_pg:.3g} pg between batches; "
        f"source: {load.source or 'not stated'}), with a spread between single cells of {single}, which averages out "
        "over many cells."
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
