"""``calibrate``: what it writes and prints, and one sentence for bad input."""

from __future__ import annotations

import json

import numpy as np
import pytest

from ferrosight.io import read_calibration
from ferrosight.study import calibration as study_calibration
from ferrosight.types import FORCED, Table

NUMBERS = [50, 100, 200, 400]
PER_CELL = 2e-15


@pytest.fixture
def phantom(tmp_path, monkeypatch):
    """Spots of three sessions, with the scans and their measurement replaced by what would come out."""
    lines = ["participant_id\tsession_id\tx_mm\ty_mm\tz_mm\tn_cells\tbatch"]
    for session in "abc":
        lines += [f"p\t{session}\t{i}\t0\t0\t{n}\t{session}" for i, n in enumerate(NUMBERS)]
    path = tmp_path / "spots.tsv"
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")

    class Visit:
        def __init__(self, session):
            self.subject, self.session, self.name = "p", session, f"sub-p_ses-{session}"

    class Scan:
        b0_t = 7.0

    rng = np.random.default_rng(0)

    def measure(*_, **kwargs):
        moments = PER_CELL * np.array(NUMBERS) * rng.uniform(0.9, 1.1)
        moments[0] = moments[0] if kwargs["positions_mm_err"] < 1 else np.nan
        return Table(FORCED, {"moment_am2": moments, "moment_am2_err": np.full(4, 3e-15)})

    monkeypatch.setattr(study_calibration, "find_visits", lambda _: [Visit(session) for session in "abc"])
    monkeypatch.setattr(study_calibration, "read_visit", lambda *_, **__: Scan())
    monkeypatch.setattr(study_calibration, "measure_at", measure)
    return path


def test_a_calibration_is_written_printed_and_drawn(ferrosight, phantom, tmp_path):
    out, plot = tmp_path / "ours.toml", tmp_path / "ours.svg"
    ended = ferrosight("calibrate", tmp_path, phantom, out, "--plot", plot, "--day", 2)
    assert ended.code == 0, ended.err
    for said in ("moment per cell", "A m²", "another batch", "12", "7"):
        assert said in ended.out
    found = read_calibration(out)
    assert found.moment_per_cell_am2 == pytest.approx(PER_CELL, rel=0.1)
    assert (found.n_spots, found.n_batches, found.day) == (12, 3, 2.0)
    assert plot.stat().st_size > 5000


def test_spots_that_could_not_be_measured_are_listed(ferrosight, phantom, tmp_path):
    ended = ferrosight("calibrate", tmp_path, phantom, tmp_path / "o.toml", "--position-sd-mm", "2", "--json")
    content = json.loads(ended.out)
    assert content["n_spots"] == 9
    assert len(content["left_out"]) == 3
    assert "row 1 could not be measured" in content["left_out"][0]


@pytest.mark.parametrize(
    ("out", "options", "said"),
    [
        ("o.json", [], "must be a .toml file"),
        ("o.toml", ["--plot", "plot.doc"], ".svg, .pdf, .png"),
        ("o.toml", ["--position-sd-mm", "0"], "positive number of mm"),
        ("o.toml", ["--day", "-1"], "phantom's day after labelling"),
        ("o.toml", ["--cell-cv", "-1"], "cell_cv of a calibration"),
    ],
)
def test_bad_options_are_refused_in_a_sentence(ferrosight, phantom, tmp_path, out, options, said):
    assert said in ferrosight("calibrate", tmp_path, phantom, tmp_path / out, *options).assert_refused()
    assert not (tmp_path / out).exists()


def test_a_missing_table_or_scan_is_refused(ferrosight, phantom, tmp_path):
    out = tmp_path / "o.toml"
    assert "no such file" in ferrosight("calibrate", tmp_path, tmp_path / "none.tsv", out).assert_refused()
    phantom.write_text(phantom.read_text(encoding="utf-8").replace("p\tc\t", "p\td\t"), encoding="utf-8")
    assert "there is no scan of p d" in ferrosight("calibrate", tmp_path, phantom, out).assert_refused()
