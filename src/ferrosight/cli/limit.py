"""``ferrosight limit``: the least iron that a protocol could show, before anything is scanned."""

from __future__ import annotations

import dataclasses
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from ferrosight.cli.output import print_json, print_table
from ferrosight.errors import InputError

if TYPE_CHECKING:
    from ferrosight.report.limit_chart import LimitCurve
    from ferrosight.types import IronPerCell, Label, PowerCurve, Protocol, Search, UptakeCourse

PG_PER_KG = 1e15
#: What may be swept: its words and the unit of its values.
SWEEPS = {
    "voxel-mm": ("voxel", "mm"),
    "echo-times-ms": ("TE", "ms"),
    "snr": ("SNR", ""),
    "r2star": ("R2*", "1/s"),
    "b0-t": ("B0", "T"),
    "label": ("", ""),
    "scan-time-factor": ("scan time ×", ""),
    "day": ("day", "d"),
}


@dataclass(frozen=True)
class Question:
    """A protocol, what is asked of it, and what turns moments into iron and cells."""

    protocol: Protocol
    search: Search
    label: Label | None
    load: IronPerCell | None
    course: UptakeCourse | None = None

    @property
    def ms_am2_per_kg_fe(self) -> float | None:
        """The label's moment per kilogram of iron at the protocol's field."""
        from ferrosight.physics.labels import magnetisation_am2_per_kg_fe

        return None if self.label is None else magnetisation_am2_per_kg_fe(self.label, self.protocol.b0_t)


@dataclass(frozen=True)
class Answer:
    """A question, the swept value it stands for ("" for none), and its power curve."""

    value: str
    question: Question
    curve: PowerCurve

    @property
    def iron_pg(self) -> float | None:
        """Iron at the limit, pg; None without a label."""
        ms = self.question.ms_am2_per_kg_fe
        return None if ms is None else self.curve.limit.moment_am2 / ms * PG_PER_KG

    @property
    def n_cells(self) -> float | None:
        """Cells at the limit; None without a label or a load."""
        if self.iron_pg is None or self.question.load is None:
            return None
        return self.iron_pg / self.question.load.mean_pg

    def as_plain(self) -> dict[str, Any]:
        """Plain values for JSON."""
        limit, protocol, label = self.curve.limit, self.question.protocol, self.question.label
        return {
            "iron_pg": self.iron_pg,
            "n_cells": self.n_cells,
            "power": limit.search.power,
            "false_per_scan": limit.search.false_per_scan,
            "d_prime_required": limit.d_prime_required,
            "moment_am2": limit.moment_am2,
            "threshold": limit.threshold,
            "positions": limit.search.positions,
            "effective_positions": limit.effective_positions,
            "b0_t": protocol.b0_t,
            "echo_times_ms": [_in_ms(time) for time in protocol.echo_times_s],
            "voxel_mm": list(protocol.voxel_mm),
            "snr": protocol.snr,
            "r2star_per_s": protocol.r2star_per_s,
            "label": None if label is None else label.label_id,
            "ms_am2_per_kg_fe": self.question.ms_am2_per_kg_fe,
            "iron_per_cell_pg": None if self.question.load is None else self.question.load.mean_pg,
        }


def limit(
    b0_t: Annotated[float, typer.Option(help="Field strength, T; along the voxel's third edge.")] = 7.0,
    echo_times_ms: Annotated[str, typer.Option(help="Echo times, ms.", metavar="TE,...")] = "4,8,12,16",
    voxel_mm: Annotated[str, typer.Option(help="Voxel edges as acquired, mm.", metavar="X,Y,Z")] = "0.1,0.1,0.1",
    snr: Annotated[
        float, typer.Option(help="Tissue signal, extrapolated to TE 0, over the noise of one real channel.")
    ] = 30.0,
    r2star: Annotated[float, typer.Option(help="R2* of the tissue, 1/s.")] = 30.0,
    label: Annotated[
        str | None, typer.Option(help="Iron-oxide label: an id of `ferrosight labels`, or a TOML file.", metavar="ID")
    ] = None,
    iron_per_cell_pg: Annotated[
        str | None,
        typer.Option(help="Iron per cell, pg, and its standard deviation between batches.", metavar="MEAN[,SD]"),
    ] = None,
    uptake: Annotated[
        Path | None,
        typer.Option(help="Iron per cell by day since labelling: what `uptake predict` writes.", metavar="FILE.tsv"),
    ] = None,
    day: Annotated[float | None, typer.Option(help="Day since labelling, with --uptake; its first by default.")] = None,
    power: Annotated[float, typer.Option(help="Chance to find a cluster at the limit.")] = 0.9,
    false_per_scan: Annotated[float, typer.Option(help="False alarms allowed per scan.")] = 1.0,
    positions: Annotated[float, typer.Option(help="Voxels that are searched.")] = 2e6,
    scan_time_factor: Annotated[
        float, typer.Option(help="Scan that many times as long: SNR grows with the root.")
    ] = 1.0,
    sweep: Annotated[
        str | None,
        typer.Option(
            help="One option with several values, / between the numbers of one: a row and a curve each. "
            f"Of {', '.join(SWEEPS)}. Other voxels fill the same field of view in the same time: SNR follows their "
            "volume, positions their number.",
            metavar="NAME=V1,V2,...",
        ),
    ] = None,
    plot: Annotated[
        Path | None, typer.Option(help="Draw chance against iron; .svg, .pdf or .png.", metavar="FILE")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
) -> None:
    """Say how little iron, and how few cells, a protocol could show.

    The limit is that of an ideal observer, who knows the signal and the noise and pays for searching: no
    analysis finds less. Power is the same wherever in a voxel a cluster lies. Without a label the limit is a
    magnetic moment.
    """
    from ferrosight.limits import trace_power
    from ferrosight.physics.labels import get_label
    from ferrosight.types import Protocol, Search

    if plot is not None:
        from ferrosight.report.svg import check_figure_path

        check_figure_path(plot)
    known = None if label is None else get_label(label)
    asked = Question(
        Protocol(b0_t, parse_times(echo_times_ms, ","), parse_voxel(voxel_mm, ","), snr, r2star),
        Search(power, false_per_scan, positions),
        known,
        *_read_load(iron_per_cell_pg, uptake, day, known),
    )
    asked = _with_value(asked, "scan-time-factor", str(scan_time_factor))
    name, values = _split_sweep(sweep)
    questions = [("", asked)] if not name else [(value, _with_value(asked, name, value)) for value in values]
    answers = [Answer(value, one, trace_power(one.protocol, one.search)) for value, one in questions]
    if plot is not None:
        _draw(plot, answers, name)
    if as_json:
        rows = [{"value": answer.value, **answer.as_plain()} for answer in answers]
        print_json({"sweep": name, "rows": rows} if name else answers[0].as_plain())
        return
    _show_sweep(answers, name) if name else _show_one(answers[0])
    for note in _notes(answers):
        print(f"- {note}")
    if plot is not None:
        print(f"plot: {plot}", file=sys.stderr)


def _read_load(
    per_cell: str | None, uptake: Path | None, day: float | None, label: Label | None
) -> tuple[IronPerCell | None, UptakeCourse | None]:
    """The load that was asked for, and the course it is taken from, if it is."""
    from ferrosight.cli.run import parse_iron_per_cell

    if uptake is None:
        if day is not None:
            raise InputError("--day is a day of the course that --uptake gives, but none was given.")
        return parse_iron_per_cell(per_cell) if per_cell is not None else label.load if label else None, None
    if per_cell is not None:
        raise InputError("iron per cell must come from --iron-per-cell-pg or from --uptake, but both were given.")
    from ferrosight.io.uptake_file import read_course
    from ferrosight.uptake.predict import load_on_day

    course = read_course(uptake)
    return load_on_day(course, float(course.table["day"][0]) if day is None else day), course


def _show_one(answer: Answer) -> None:
    found, search = answer.curve.limit, answer.curve.limit.search
    print_table(
        ["at the limit of detection", "value", "unit"],
        [
            ["iron", _number(answer.iron_pg), "pg"],
            ["cells", _number(answer.n_cells), "cells"],
            ["magnetic moment", f"{found.moment_am2:.4g}", "A m²"],
            ["power", f"{search.power:g}", "1"],
            ["false alarms", f"{search.false_per_scan:g}", "per scan"],
            ["voxels searched", f"{search.positions:.4g}", "voxels"],
            ["d′ required", f"{found.d_prime_required:.2f}", "noise SD"],
            ["threshold", f"{found.threshold:.2f}", "noise SD"],
        ],
    )


def _show_sweep(answers: list[Answer], name: str) -> None:
    rows = [
        [
            answer.value,
            f"{answer.question.protocol.snr:.4g}",
            f"{answer.question.search.positions:.3g}",
            f"{answer.curve.limit.d_prime_required:.2f}",
            f"{answer.curve.limit.moment_am2:.4g}",
            _number(answer.iron_pg),
            _number(answer.n_cells),
        ]
        for answer in answers
    ]
    words, unit = SWEEPS[name]
    heading = f"{words} ({unit})" if unit else words or name
    print_table([heading, "SNR", "voxels", "d′ required", "moment (A m²)", "iron (pg)", "cells"], rows)


def _notes(answers: list[Answer]) -> list[str]:
    """What the numbers rest on."""
    search = answers[0].curve.limit.search
    notes = [
        f"The smallest cluster that an ideal observer finds with a chance of {search.power:.3g}, at "
        f"{_false_alarms(search)} per scan. Real tissue, vessels and edges raise it; no analysis lowers it.",
    ]
    seen: dict[str, None] = {}  # in order, each once
    for answer in answers:
        label, ms = answer.question.label, answer.question.ms_am2_per_kg_fe
        if label is not None and ms is not None:
            at = f"{ms:.1f} A m² per kg of iron at {answer.question.protocol.b0_t:g} T"
            seen[f"Iron is the moment over {at} ({label.name}; ± {label.ms_rel_sd:.0%}; {label.ms_source})."] = None
    notes.extend(seen or ["No label was given: moments, but no iron and no cells."])
    loads = [answer.question.load for answer in answers if answer.question.load is not None]
    if loads and seen:
        said = [f"Cells hold {load.mean_pg:.4g} ± {load.sd_pg:.3g} pg of iron each ({load.source})." for load in loads]
        notes.extend(dict.fromkeys(said))
        if all((answer.n_cells or 0) < 1 for answer in answers):
            notes.append("Fewer than one cell: a single cell of that load lies above the limit.")
    elif seen:
        notes.append("No iron per cell was given: no number of cells.")
    return notes


def _draw(path: Path, answers: list[Answer], name: str) -> None:
    from ferrosight.report.limit_chart import LimitCurve, write_limit_chart

    words, unit = SWEEPS.get(name, ("", ""))
    curves: list[LimitCurve] = []
    for answer in answers:
        ms, load = answer.question.ms_am2_per_kg_fe, answer.question.load
        value = answer.value.replace("/", " × " if name == "voxel-mm" else ", ")
        curves.append(
            LimitCurve(
                name=f"{words} {value} {unit}".strip(),
                curve=answer.curve,
                am2_per_pg=None if ms is None else ms / PG_PER_KG,
                iron_per_cell_pg=None if load is None else load.mean_pg,
            )
        )
    write_limit_chart(path, curves, "Smallest cluster that this protocol can show", _describe(answers, name))


def _describe(answers: list[Answer], name: str) -> str:
    """The protocol in a few lines, less what is swept."""
    question = answers[0].question
    protocol, search = question.protocol, question.search
    voxel = " × ".join(f"{edge:g}" for edge in protocol.voxel_mm)
    parts = {
        "b0-t": f"{protocol.b0_t:g} T",
        "echo-times-ms": "TE " + ", ".join(f"{_in_ms(time):g}" for time in protocol.echo_times_s) + " ms",
        "voxel-mm": f"voxel {voxel} mm",
        "snr": f"SNR {protocol.snr:.3g}",
        "r2star": f"R2* {protocol.r2star_per_s:g}/s",
    }
    swept = {name, *(["snr"] if name in ("voxel-mm", "scan-time-factor") else [])}
    first = " · ".join(text for key, text in parts.items() if text and key not in swept)
    places = "" if name == "voxel-mm" else f" in {search.positions:,.7g} voxels"
    second = (
        f"ideal observer, {_false_alarms(search)} per scan{places}; dots: found with a chance of {search.power:.0%}"
    )
    third = question.label.name if question.label and name != "label" else ""
    return "\n".join(line for line in (first, second, third) if line)


def _false_alarms(search: Search) -> str:
    return f"{search.false_per_scan:g} false alarm{'' if search.false_per_scan == 1 else 's'}"


def _split_sweep(text: str | None) -> tuple[str, list[str]]:
    if text is None:
        return "", []
    name, equals, rest = text.partition("=")
    name, values = name.strip().removeprefix("--"), [value.strip() for value in rest.split(",")]
    if not equals or name not in SWEEPS or not all(values):
        raise InputError(
            f"--sweep expects NAME=V1,V2,... with NAME one of {', '.join(SWEEPS)}, but was given {text!r}."
        )
    return name, values


def _with_value(question: Question, name: str, value: str) -> Question:
    """The question with one option changed."""
    from ferrosight.limits import change_scan_time, change_voxel
    from ferrosight.physics.labels import get_label

    def with_protocol(**changes: Any) -> Question:
        return dataclasses.replace(question, protocol=dataclasses.replace(question.protocol, **changes))

    def with_voxel() -> Question:
        protocol, search = change_voxel(question.protocol, question.search, parse_voxel(value, "/"))
        return dataclasses.replace(question, protocol=protocol, search=search)

    def with_label() -> Question:
        label = get_label(value)
        return dataclasses.replace(question, label=label, load=question.load or label.load)

    def with_day() -> Question:
        if question.course is None:
            raise InputError("a sweep over days needs the course of iron per cell that --uptake gives; give it.")
        from ferrosight.uptake.predict import load_on_day

        return dataclasses.replace(question, load=load_on_day(question.course, _read_number(name, value)))

    change: dict[str, Callable[[], Question]] = {
        "voxel-mm": with_voxel,
        "echo-times-ms": lambda: with_protocol(echo_times_s=parse_times(value, "/")),
        "snr": lambda: with_protocol(snr=_read_number(name, value)),
        "r2star": lambda: with_protocol(r2star_per_s=_read_number(name, value)),
        "b0-t": lambda: with_protocol(b0_t=_read_number(name, value)),
        "label": with_label,
        "day": with_day,
        "scan-time-factor": lambda: dataclasses.replace(
            question, protocol=change_scan_time(question.protocol, _read_number(name, value))
        ),
    }
    return change[name]()


def _read_number(name: str, text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        raise InputError(f"--{name} expects a number, but was given {text!r}.") from None
    if name == "scan-time-factor" and not 0 < value < float("inf"):
        raise InputError(f"--scan-time-factor expects a positive number, but was given {text!r}.")
    return value


def parse_times(text: str, separator: str) -> tuple[float, ...]:
    """Echo times, ms in the text, in seconds."""
    return tuple(_read_number("echo-times-ms", part) / 1e3 for part in text.split(separator))


def parse_voxel(text: str, separator: str) -> tuple[float, float, float]:
    """Three edges, or one for a cube, mm."""
    edges = [_read_number("voxel-mm", part) for part in text.split(separator)]
    if len(edges) not in (1, 3) or not all(0 < edge < float("inf") for edge in edges):
        raise InputError(f"--voxel-mm expects one or three positive edges in mm, but was given {text!r}.")
    return (edges[0], edges[0], edges[0]) if len(edges) == 1 else (edges[0], edges[1], edges[2])


def _in_ms(time_s: float) -> float:
    return round(1e3 * time_s, 9)


def _number(value: float | None) -> str:
    return "n/a" if value is None else f"{value:.3g}"
