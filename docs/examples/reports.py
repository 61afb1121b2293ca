"""The page of a subject whose one cluster was found at two visits and only measured at a third."""

from pathlib import Path

from ferrosight.report.study import write_study_report
from ferrosight.report.subject import write_subject_report
from ferrosight.types import Table
from ferrosight.types.schema import TRACKS
from ferrosight.types.story import StoryVisit, SubjectStory

place = {"track_id": "graft", "x_mm": 1.0, "y_mm": 4.0, "z_mm": -2.0}
rows = [
    {"session_id": "d00", "measurement": "detected", "iron_pg": 900.0, "iron_pg_low": 700.0, "iron_pg_high": 1100.0},
    {"session_id": "d07", "measurement": "detected", "iron_pg": 520.0, "iron_pg_low": 380.0, "iron_pg_high": 660.0},
    {"session_id": "d21", "measurement": "forced", "iron_pg": 90.0, "iron_pg_low": -40.0, "iron_pg_high": 220.0},
]
story = SubjectStory(
    subject="01",
    visits=(
        StoryVisit("d00", day=0.0, n_accepted=1),
        StoryVisit("d07", day=7.0, n_accepted=1),
        StoryVisit("d14", day=14.0, error="sub-01_ses-d14 has no phase image; export it with the magnitude."),
        StoryVisit("d21", day=21.0, n_accepted=0),
    ),
    tracks=Table.from_rows(TRACKS, [place | row for row in rows]),
    study_kind="prelabelled",
    label="ferumoxytol",
    report="sub-01_report.html",
)
write_subject_report(Path("sub-01_report.html"), story, provenance={"made by": "an example"})
write_study_report(Path("report.html"), "One mouse", [story], provenance={"made by": "an example"})
