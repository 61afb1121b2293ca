"""``ferrosight run``: the BIDS app."""

from __future__ import annotations

import sys
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from ferrosight.cli.output import print_json
from ferrosight.cli.progress import show_progress
from ferrosight.errors import ConfigError, LabelError

if TYPE_CHECKING:
    from ferrosight.io import PetFile
    from ferrosight.study.run import PlannedVisit, StudyOptions
    from ferrosight.types import IronPerCell


class Level(StrEnum):
    """Levels of analysis of a BIDS app."""

    PARTICIPANT = "participant"
    GROUP = "group"


class SignChoice(StrEnum):
    """How phase moves where the field is stronger; ``auto`` leaves it to sidecar and data."""

    AUTO = "auto"
    POSITIVE = "positive"
    NEGATIVE = "negative"


class KindChoice(StrEnum):
    """What a study says of itself; see ``StudyDesign``."""

    PRELABELLED = "prelabelled"
    TARGETED = "targeted"
    TRACER = "tracer"


def run(
    bids_dir: Annotated[Path, typer.Argument(help="A BIDS folder; it is never written to.")],
    out_dir: Annotated[Path, typer.Argument(help="Where derivatives are written.")],
    level: Annotated[
        Level | None,
        typer.Argument(help="participant: all of each subject; group: only what is the whole study's; else both."),
    ] = None,
    participant_label: Annotated[
        list[str] | None, typer.Option(help="Only this subject; may be repeated.", metavar="LABEL")
    ] = None,
    session_label: Annotated[
        list[str] | None,
        typer.Option(help="Analyse only this session (again), then its subject; may be repeated.", metavar="LABEL"),
    ] = None,
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
    calibration: Annotated[
        Path | None,
        typer.Option(
            help="Moment per cell, from a phantom: what `calibrate` writes; --uptake carries it to the visit's day.",
            metavar="FILE.toml",
        ),
    ] = None,
    phase_sign: Annotated[
        SignChoice, typer.Option(help="Whether phase grows or falls where the field is stronger.")
    ] = SignChoice.AUTO,
    q: Annotated[float | None, typer.Option(help="False discovery rate at which clusters are accepted.")] = None,
    study_kind: Annotated[
        KindChoice | None,
        typer.Option(
            help="Cells labelled before they were given; particles given again before each scan; or PET alone. "
            "What growth can be seen from depends on it; by default as participants.tsv says."
        ),
    ] = None,
    alpha: Annotated[
        float | None, typer.Option(help="Chance of ever raising a false alarm of relapse in a subject.")
    ] = None,
    config: Annotated[Path | None, typer.Option(help="Settings from a TOML file.", metavar="FILE.toml")] = None,
    set_: Annotated[
        list[str] | None,
        typer.Option(
            "--set", help="One setting; may be repeated, and overrides the file.", metavar="STAGE.SETTING=VALUE"
        ),
    ] = None,
    n_cpus: Annotated[int | None, typer.Option(help="Threads to use; all by default.", min=1)] = None,
    dry_run: Annotated[bool, typer.Option(help="List what would be analysed, and stop.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
) -> None:
    """Analyse every gradient-echo scan and every PET scan of a BIDS folder, and follow each subject through its visits.

    Labelled clusters and hot spots are found and measured, cells counted, clusters followed. What is finished and has
    not changed is not done again. Exit code 0: all done; 1: some visits failed, or some subject could not be followed;
    2: bad input, or no visit could be analysed.
    """
    from ferrosight.io import find_pet_visits
    from ferrosight.io.calibration_file import read_calibration
    from ferrosight.io.uptake_file import read_course
    from ferrosight.physics.labels import get_label
    from ferrosight.study.config import load_config
    from ferrosight.study.run import StudyOptions, plan_study
    from ferrosight.types import PhaseSign

    others = {"--uptake": uptake, "--calibration": calibration}
    given = [name for name, value in others.items() if value is not None]
    if iron_per_cell_pg is not None and given:
        raise LabelError(
            "cells are counted by --iron-per-cell-pg, or by --uptake, --calibration or both, but --iron-per-cell-pg "
            f"and {' and '.join(given)} were given."
        )
    overrides = dict(_split_setting(text) for text in set_ or ())
    if q is not None:
        overrides["clusters.q"] = q
    if alpha is not None:
        overrides["relapse.alpha"] = alpha
    options = StudyOptions(
        label=None if label is None else get_label(label),
        iron_per_cell=None if iron_per_cell_pg is None else parse_iron_per_cell(iron_per_cell_pg),
        uptake=None if uptake is None else read_course(uptake),
        calibration=None if calibration is None else read_calibration(calibration),
        phase_sign=None if phase_sign is SignChoice.AUTO else PhaseSign[phase_sign.name],
        study_kind=None if study_kind is None else study_kind.value,
        config=load_config(config, overrides),
        n_cpus=n_cpus,
    )
    planned = plan_study(bids_dir, out_dir, options, subjects=participant_label, sessions=session_label)
    pet = find_pet_visits(bids_dir, participant_label, session_label)
    if dry_run:
        _show_plan(planned, pet, options, as_json=as_json)
        return
    raise typer.Exit(_run_and_show(planned, pet, out_dir, options, level, as_json=as_json))


def _run_and_show(
    planned: tuple[PlannedVisit, ...],
    pet: tuple[PetFile, ...],
    out_dir: Path,
    options: StudyOptions,
    level: Level | None,
    *,
    as_json: bool,
) -> int:
    from ferrosight.cli.show import describe_joint, describe_pet, describe_subject, describe_visit
    from ferrosight.study.joint_visit import JointOutcome
    from ferrosight.study.pet_visit import PetOutcome
    from ferrosight.study.run import SubjectOutcome, VisitOutcome, run_study

    def show(outcome: VisitOutcome | PetOutcome) -> None:
        if outcome.error:
            print(f"error: {outcome.name}: {outcome.error}", file=sys.stderr)
        elif not as_json:
            words = describe_pet(outcome) if isinstance(outcome, PetOutcome) else describe_visit(outcome)
            print(words, end="\n\n", flush=True)

    def show_joint(outcome: JointOutcome) -> None:
        if outcome.error:
            print(f"error: {outcome.name} with {outcome.mri}: {outcome.error}", file=sys.stderr)
        elif not as_json:
            print(describe_joint(outcome), end="\n\n", flush=True)

    def show_subject(outcome: SubjectOutcome) -> None:
        if outcome.error:
            print(f"error: sub-{outcome.subject}: its clusters are not followed: {outcome.error}", file=sys.stderr)
        elif not as_json:
            print(describe_subject(outcome), end="\n\n", flush=True)

    levels: dict[Level, Literal["participant", "group"]] = {Level.PARTICIPANT: "participant", Level.GROUP: "group"}
    asked = None if level is None else levels[level]
    with show_progress() as on_progress:
        study = run_study(
            planned,
            out_dir,
            options,
            pet=pet,
            level=asked,
            on_progress=on_progress,
            on_visit=show,
            on_joint=show_joint,
            on_subject=show_subject,
        )
    if as_json:
        print_json(study.as_plain())
    else:
        done = len(study.every) - len(study.failed)
        print(f"{done} of {len(study.every)} visits analysed; results are in {out_dir}")
        for visit in study.failed:
            print(f"failed: {visit.name}")
        for joint in study.not_joined:
            print(f"not judged with MRI: {joint.name}")
        for subject in study.not_followed:
            print(f"not followed: sub-{subject.subject}")
    return study.exit_code


def _show_plan(
    planned: tuple[PlannedVisit, ...], pet: tuple[PetFile, ...], options: StudyOptions, *, as_json: bool
) -> None:
    settings = options.config.as_dict()
    if as_json:
        visits = [
            {
                "visit": visit.files.name,
                "label": None if visit.label is None else visit.label.label_id,
                "is_baseline": visit.choice.is_baseline,
                "baseline": None if visit.choice.baseline is None else visit.choice.baseline.name,
                "baseline_note": visit.choice.note or None,
                "iron_per_cell_pg": None if visit.load.iron_per_cell is None else visit.load.iron_per_cell.mean_pg,
                "moment_per_cell_am2": (
                    None if visit.load.calibration is None else visit.load.calibration.moment_per_cell_am2
                ),
                "iron_per_cell_note": visit.load.note or None,
                "images": [str(file.path) for file in visit.files.files],
            }
            for visit in planned
        ]
        scans = [{"visit": file.name, "images": [str(file.path)]} for file in pet]
        print_json({"visits": visits, "pet": scans, "settings": settings})
        return
    for visit in planned:
        print(
            f"{visit.files.name}  "
            f"(label: {visit.label.label_id if visit.label else 'none'}{_load(visit)}{_baseline(visit)})"
        )
        for file in visit.files.files:
            print(f"  {file.path}")
    for scan in pet:
        print(f"{scan.name}\n  {scan.path}")
    print("settings")
    for name, value in settings.items():
        print(f"  {name} = {value}")


def _baseline(visit: PlannedVisit) -> str:
    choice = visit.choice
    if choice.is_baseline:
        return "; a baseline scan itself, without label"
    if choice.baseline is not None:
        return f"; baseline: {choice.baseline.name}"
    return f"; judged without a baseline: {choice.note}" if choice.note else ""


def _load(visit: PlannedVisit) -> str:
    if visit.choice.is_baseline:
        return ""
    load, calibration = visit.load.iron_per_cell, visit.load.calibration
    if calibration is not None:
        return f"; {calibration.moment_per_cell_am2:.4g} A m² per cell"
    if load is not None:
        return f"; {load.mean_pg:.4g} pg of iron per cell"
    return f"; cells are not counted: {visit.load.note}" if visit.load.note else ""


def _split_setting(text: str) -> tuple[str, object]:
    name, equals, value = text.partition("=")
    if not equals or not name.strip():
        raise ConfigError(f"--set expects stage.setting=value, but was given {text!r}.")
    return name.strip(), value.strip()


def parse_iron_per_cell(text: str) -> IronPerCell:
    """``MEAN[,SD]`` in pg.

    Without SD it is 17 % of the mean: the spread between assays of Arbab et al. 2004 (10.94 ± 1.86 pg),
    here an assumption. No spread at all would make numbers of cells look surer than any batch is.
    """
    from ferrosight.types import IronPerCell

    mean_text, _, sd_text = text.partition(",")
    try:
        mean = float(mean_text)
        sd = float(sd_text) if sd_text else mean * 0.17
    except ValueError:
        raise LabelError(f"--iron-per-cell-pg expects MEAN or MEAN,SD in pg, but was given {text!r}.") from None
    source = "as given" if sd_text else "mean as given; a spread of 17% between batches is an assumption"
    return IronPerCell(mean, sd, source)
