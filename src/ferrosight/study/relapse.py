"""Relapse of a followed subject: the evidence, what stands in its way, and what the clinical rules say."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from ferrosight.errors import BidsError, InputError
from ferrosight.io import (
    Session,
    find_participant,
    find_session,
    output_path,
    read_lesions,
    read_participants,
    read_sessions,
    write_table,
)
from ferrosight.io.bids_names import clean_label, same_label
from ferrosight.relapse import weigh_evidence
from ferrosight.study.relapse_rules import compare_rules
from ferrosight.study.relapse_series import (
    SURE_LINK,
    FollowedVisit,
    TracedLineages,
    gather_hot_spots,
    gather_tracks,
    gather_volumes,
    trace_lineages,
)
from ferrosight.types import Config, Table
from ferrosight.types.config import RelapseConfig
from ferrosight.types.relapse import (
    STUDY_KINDS,
    Measured,
    Quantity,
    RelapseEvidence,
    StudyDesign,
    StudyKind,
    SubjectSeries,
)
from ferrosight.types.schema import LESIONS, RELAPSE

_NO_KIND = (
    "Not identifiable: what growth can be seen from depends on the kind of study, and nobody said which this is; give "
    "--study-kind prelabelled, targeted or tracer, or a column study_kind in participants.tsv."
)


@dataclass(frozen=True)
class SubjectRelapse:
    """What a subject's visits say about growth, and why.

    ``table`` (schema RELAPSE) has a row per visit; its e-values are missing, and nothing is an alarm, where growth is
    not identifiable. ``sentences`` say what is known, what is not, and what would change that. ``lineages`` are the
    names of the tracks (or first hot spots) of each lineage of ``evidence``, which is None where nothing could be
    weighed at all.
    """

    table: Table
    sentences: tuple[str, ...]
    study_kind: StudyKind | None
    evidence: RelapseEvidence | None = None
    lineages: tuple[tuple[str, ...], ...] = ()

    @property
    def identifiable(self) -> bool:
        """Whether anything that was measured could show growth."""
        return self.evidence is not None and self.evidence.identifiable

    @property
    def first_alarm(self) -> int:
        """Visit of the first alarm, -1 for none."""
        return -1 if self.evidence is None else self.evidence.first_alarm


def write_relapse(
    tracks: Table,
    visits: Sequence[FollowedVisit],
    *,
    bids_dir: Path,
    out_dir: Path,
    subject: str,
    config: Config,
    study_kind: StudyKind | None = None,
) -> tuple[SubjectRelapse, Path]:
    """Weigh a subject's tracks (schema TRACKS) and write ``sub-X_relapse.tsv`` with its data dictionary.

    ``visits`` are in order of time; scans without label, which the sessions table calls ``baseline``, are left out.
    ``study_kind`` overrides that of participants.tsv. What is said stands in the dictionary too. Lesions that cannot be
    read only silence the clinical rules.

    Raises
    ------
    BidsError
        participants.tsv or the sessions table cannot be read.
    """
    sessions = read_sessions(bids_dir, subject)
    lines = [find_session(sessions, visit.session) or Session(visit.session) for visit in visits]
    kept = [visit for visit, line in zip(visits, lines, strict=True) if not line.baseline]
    reference = np.array([line.reference for line in lines if not line.baseline], dtype=float)
    try:
        lesions, notes = _name_visits(read_lesions(bids_dir, subject), visits, sessions)
    except BidsError as error:
        lesions, notes = Table(LESIONS, {}), (f"The clinical rules are silent: {error}",)
    found = assess_relapse(
        tracks,
        kept,
        config.relapse,
        study_kind=study_kind or _find_kind(bids_dir, subject),
        reference=reference,
        lesions=lesions,
        notes=notes,
    )
    path = output_path(out_dir, "relapse", subject)
    write_table(found.table, path, _describe(found))
    return found, path


def assess_relapse(
    tracks: Table,
    visits: Sequence[FollowedVisit],
    relapse: RelapseConfig,
    *,
    study_kind: StudyKind | None,
    reference: NDArray[np.float64] | None = None,
    lesions: Table | None = None,
    notes: Sequence[str] = (),
) -> SubjectRelapse:
    """What a subject's visits say about growth; what stands in the way is said, never raised.

    Parameters
    ----------
    tracks
        Schema TRACKS; may be empty.
    visits
        In order of time, each with label.
    relapse
        What the study knows of its errors.
    study_kind
        None: nobody said, and nothing is weighed.
    reference
        (n_visits,) what a tissue that cannot grow measured, NaN where unknown: of iron in ``targeted`` studies,
        otherwise of PET.
    lesions
        Schema LESIONS, for the clinical rules; volumes with an error are evidence too.
    notes
        Sentences to be said beside these.
    """
    lesions = Table(LESIONS, {}) if lesions is None else lesions
    visible = relapse.visible_sul if relapse.visible_sul >= 0 else None
    sessions = [visit.session for visit in visits]
    rules = compare_rules(lesions, sessions, visible)
    comparators = {f"comparator_{name}": calls for name, calls in rules.items()}
    blank = Table(
        RELAPSE,
        {
            "session_id": np.array(sessions, dtype=np.str_),
            "day": np.array([visit.day for visit in visits], dtype=float),
            "alpha": np.full(len(visits), relapse.alpha),
            **comparators,
        },
    )
    if study_kind is None:
        return SubjectRelapse(blank, (_NO_KIND, *notes), None)
    try:
        series, traced, remarks = build_series(tracks, visits, relapse, study_kind, lesions, reference)
        evidence = weigh_evidence(series, _state_design(relapse, study_kind))
    except InputError as error:
        return SubjectRelapse(blank, (f"Not identifiable: {error}", *notes), study_kind)
    names = dict(zip((one.quantity for one in series.measured), traced, strict=True))
    lineages = tuple(
        names[quantity].members[members[0]]
        for quantity, members in zip(evidence.quantities, evidence.members, strict=True)
    )
    said = [*evidence.sentences, *remarks, *notes]
    if not evidence.identifiable:
        said += _list_unknown(relapse, study_kind, series)
    return SubjectRelapse(evidence.table.with_columns(**comparators), tuple(said), study_kind, evidence, lineages)


def build_series(
    tracks: Table,
    visits: Sequence[FollowedVisit],
    relapse: RelapseConfig,
    study_kind: StudyKind,
    lesions: Table,
    reference: NDArray[np.float64] | None = None,
) -> tuple[SubjectSeries, tuple[TracedLineages, ...], list[str]]:
    """What the test takes, the lineages of each quantity in it, and sentences on what was left out.

    Moments stand for iron: they differ by the label's magnetisation, the same at all visits. New clusters count in what
    the kind of study shows growth by: iron in ``targeted`` ones, otherwise hot spots.

    Raises
    ------
    InputError
        A visit lacks its date, dates are out of order, or two visits have one session.
    """
    remarks: list[str] = []
    known, remark = _judge_reference(visits, relapse, reference)
    remarks += [remark] if remark else []
    shown: Quantity = "iron" if study_kind == "targeted" else "activity"
    traced: dict[Quantity, TracedLineages] = {
        "iron": trace_lineages(gather_tracks(tracks, visits), relapse.link_reach_mm)
    }
    if any(visit.hot_spots is not None for visit in visits):
        reach = relapse.hot_spot_reach_mm
        traced["activity"] = trace_lineages(gather_hot_spots(visits, reach), reach)
    volumes = gather_volumes(lesions, [visit.session for visit in visits])
    if len(volumes.births):
        traced["volume"] = volumes
    elif np.isfinite(lesions["volume_mm3"]).any():
        remarks.append(
            "Volumes of lesions are no evidence without their error: the column volume_mm3_err of their table."
        )
    measured = tuple(
        Measured(
            quantity,
            one.values,
            one.sds,
            one.births,
            one.places_mm,
            factor_sd_max=None if quantity == "volume" else _known(relapse.factor_sd_max),
            reference=known if quantity == shown else None,
            reference_rel_err=max(relapse.reference_rel_err, 0.0),
            carry_over_max=_known(relapse.carry_over_max),
            pooled=True,
        )
        for quantity, one in traced.items()
    )
    series = SubjectSeries(
        tuple(visit.session for visit in visits),
        np.array([visit.day for visit in visits], dtype=float),
        tuple(visit.protocol for visit in visits),
        measured,
        traced[shown].new_candidates if shown in traced else np.zeros(len(visits), dtype=np.int64),
    )
    if n_unsure := traced["iron"].n_unsure:
        remarks.append(
            f"Evidence began anew at {n_unsure} link{'s' if n_unsure > 1 else ''} less sure than {SURE_LINK:g}, with "
            "nothing within relapse.link_reach_mm to share them; with a larger reach what may be mistaken is one."
        )
    return series, tuple(traced.values()), remarks


def _state_design(relapse: RelapseConfig, kind: StudyKind) -> StudyDesign:
    paired = relapse.test_retest_ratio > 0 and relapse.test_retest_pairs > 0
    return StudyDesign(
        kind,
        alpha=relapse.alpha,
        test_retest=(relapse.test_retest_ratio, relapse.test_retest_pairs) if paired else None,
        sd_factor_max=relapse.sd_factor_max if relapse.sd_factor_max > 0 else None,
        outlier_share=relapse.outlier_share,
        false_births_per_visit_max=relapse.false_births_per_visit_max,
        hidden_clusters_max=relapse.hidden_clusters_max if relapse.hidden_clusters_max >= 0 else None,
        link_reach_mm=relapse.link_reach_mm,
    )


def _known(bound: float) -> float | None:
    return bound if bound >= 0 else None


def _judge_reference(
    visits: Sequence[FollowedVisit], relapse: RelapseConfig, reference: NDArray[np.float64] | None
) -> tuple[NDArray[np.float64] | None, str]:
    """The reference where it can be used, or why it cannot; neither where nobody gave one."""
    if reference is None or not np.isfinite(reference).any():
        return None, ""
    wrong = [visit.session for visit, value in zip(visits, reference, strict=True) if not value > 0]
    if wrong:
        return None, (
            "The reference tissue is not used: it must measure more than nothing at every visit, but "
            f"{', '.join(wrong)} has nothing; complete the column reference of the sessions table."
        )
    if relapse.reference_rel_err < 0:
        return None, (
            "The reference tissue is not used: nobody says how well it is measured; give relapse.reference_rel_err."
        )
    return reference, ""


def _list_unknown(relapse: RelapseConfig, kind: StudyKind, series: SubjectSeries) -> list[str]:
    """The settings that nobody gave and without which nothing can be said."""
    unknown = []
    if relapse.factor_sd_max < 0 and all(one.reference is None for one in series.measured):
        unknown.append(
            "relapse.factor_sd_max (or a column reference in the sessions table with relapse.reference_rel_err)"
        )
    if kind == "targeted" and relapse.carry_over_max < 0:
        unknown.append("relapse.carry_over_max")
    if relapse.sd_factor_max <= 0 and not (relapse.test_retest_ratio > 0 and relapse.test_retest_pairs > 0):
        unknown.append("relapse.test_retest_ratio and relapse.test_retest_pairs (or relapse.sd_factor_max)")
    return [f"Settings that nobody gave: {'; '.join(unknown)}."] if unknown else []


def _name_visits(
    lesions: Table, visits: Sequence[FollowedVisit], lines: Sequence[Session]
) -> tuple[Table, tuple[str, ...]]:
    """The lesions with their sessions called as the visits are, and what is said of those that are no visit at all."""
    listed: list[str] = lesions["session_id"].tolist()
    names = {label: _name_visit(label, visits) for label in listed}
    lost = ", ".join(f"ses-{label}" for label, name in names.items() if not name and not _is_baseline(label, lines))
    said = (f"The table of lesions tells of {lost}, which is not followed: those lines count nowhere.",) if lost else ()
    return lesions.with_columns(session_id=np.array([names[label] or label for label in listed], dtype=np.str_)), said


def _name_visit(label: str, visits: Sequence[FollowedVisit]) -> str:
    sessions = [visit.session for visit in visits]
    return label if label in sessions else next((one for one in sessions if same_label(one, label)), "")


def _is_baseline(label: str, lines: Sequence[Session]) -> bool:
    line = find_session(lines, label)
    return line is not None and line.baseline


def _find_kind(bids_dir: Path, subject: str) -> StudyKind | None:
    """The kind that participants.tsv says this subject's study is of."""
    line = find_participant(read_participants(bids_dir), clean_label("sub", subject))
    return next((kind for kind in STUDY_KINDS if line is not None and kind == line.study_kind), None)


def _describe(found: SubjectRelapse) -> dict[str, object]:
    """What the data dictionary says beside its columns."""
    evidence = found.evidence
    lineages = []
    if evidence is not None:
        sessions = found.table["session_id"]
        lineages = [
            {
                "Quantity": quantity,
                "Members": list(names),
                "BornAt": str(sessions[birth]),
                "EValue": float(e_values[-1]),
                "Grows": bool(grows[-1]),
            }
            for quantity, names, birth, e_values, grows in zip(
                evidence.quantities,
                found.lineages,
                evidence.births,
                evidence.e_values,
                evidence.growing,
                strict=True,
            )
        ]
    return {
        "StudyKind": found.study_kind,
        "Identifiable": found.identifiable,
        "Sentences": list(found.sentences),
        "Lineages": lineages,
    }
