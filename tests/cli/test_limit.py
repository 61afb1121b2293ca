"""The limit of a protocol: numbers with their units, sweeps, a figure, and a sentence for bad input."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest

from ferrosight.limits import find_limit
from ferrosight.types import Protocol, Search

PROMISED = {"iron_pg", "n_cells", "power", "false_per_scan", "d_prime_required"}
LABELLED = ("--label", "ferumoxides", "--iron-per-cell-pg", "10")


def ask(ferrosight, *arguments):
    ended = ferrosight("limit", *arguments, "--json")
    assert ended.code == 0, ended.err
    return json.loads(ended.out)


def test_the_numbers_are_the_ideal_observers(ferrosight):
    options = ("--b0-t", 3, "--echo-times-ms", "5,15", "--voxel-mm", "0.5,0.5,1", "--snr", 45, "--r2star", 22)
    found = ask(ferrosight, *options, "--power", 0.8, "--false-per-scan", 0.1, "--positions", 3e5, *LABELLED)
    limit = find_limit(Protocol(3.0, (0.005, 0.015), (0.5, 0.5, 1.0), 45.0, 22.0), Search(0.8, 0.1, 3e5))
    assert set(found) >= PROMISED
    assert found["moment_am2"] == pytest.approx(limit.moment_am2)
    assert found["iron_pg"] == pytest.approx(limit.moment_am2 / 93.6 * 1e15)
    assert found["n_cells"] == pytest.approx(found["iron_pg"] / 10)
    assert found["d_prime_required"] == pytest.approx(limit.d_prime_required)
    assert (found["power"], found["false_per_scan"]) == (0.8, 0.1)


def test_the_table_gives_every_number_its_unit(ferrosight):
    ended = ferrosight("limit", *LABELLED)
    found = ask(ferrosight, *LABELLED)
    rows = {line.split("  ")[0]: line.split()[-2:] for line in ended.out.splitlines() if "  " in line}
    assert rows["iron"] == [f"{found['iron_pg']:.3g}", "pg"]
    assert rows["cells"] == [f"{found['n_cells']:.3g}", "cells"]
    assert "93.6 A m² per kg of iron at 7 T" in ended.out
    assert "10 ± 1.7 pg" in ended.out


def test_without_a_label_there_is_a_moment_and_no_iron(ferrosight):
    found = ask(ferrosight)
    assert (found["iron_pg"], found["n_cells"], found["label"]) == (None, None, None)
    assert found["moment_am2"] > 0
    ended = ferrosight("limit", "--iron-per-cell-pg", "10")
    assert "No label was given" in ended.out
    assert "n/a" in ended.out


def test_a_label_without_a_load_gives_iron_and_no_cells(ferrosight):
    found = ask(ferrosight, "--label", "mpio-0.9")
    assert found["iron_pg"] > 0
    assert found["n_cells"] is None


def test_a_saturated_label_has_one_limit_at_every_field_and_another_has_not(ferrosight):
    rows = ask(ferrosight, "--label", "ferumoxides", "--sweep", "b0-t=1.5,9.4")["rows"]
    assert rows[0]["iron_pg"] == pytest.approx(rows[1]["iron_pg"])
    rows = ask(ferrosight, "--label", "vsop", "--sweep", "b0-t=1.5,9.4")["rows"]
    assert rows[0]["iron_pg"] > 1.1 * rows[1]["iron_pg"]


def test_other_voxels_fill_the_same_field_of_view_in_the_same_time(ferrosight):
    swept = ask(ferrosight, "--snr", 40, "--positions", 1e6, "--sweep", "voxel-mm=0.2,0.1/0.1/0.2")
    assert swept["sweep"] == "voxel-mm"
    assert [row["value"] for row in swept["rows"]] == ["0.2", "0.1/0.1/0.2"]
    assert [row["voxel_mm"] for row in swept["rows"]] == [[0.2, 0.2, 0.2], [0.1, 0.1, 0.2]]
    assert [row["snr"] for row in swept["rows"]] == pytest.approx([320, 80])
    assert [row["positions"] for row in swept["rows"]] == pytest.approx([1.25e5, 5e5])


@pytest.mark.parametrize(
    ("sweep", "key", "values"),
    [
        ("echo-times-ms=4/8,20", "echo_times_ms", [[4, 8], [20]]),
        ("snr=10,20.5", "snr", [10, 20.5]),
        ("r2star=0,60", "r2star_per_s", [0, 60]),
        ("label=vsop,ferumoxytol", "label", ["vsop", "ferumoxytol"]),
        ("scan-time-factor=1,4", "snr", [30, 60]),
    ],
)
def test_every_value_of_a_sweep_is_the_option_with_that_value(ferrosight, sweep, key, values):
    name, _, listed = sweep.partition("=")
    rows = ask(ferrosight, "--sweep", sweep)["rows"]
    assert [row[key] for row in rows] == pytest.approx(values) if key == "snr" else [row[key] for row in rows] == values
    for row, value in zip(rows, listed.split(","), strict=True):
        alone = ask(ferrosight, f"--{name}", value.replace("/", ","))
        assert row == {"value": value, **alone}


def test_a_sweep_is_a_row_each(ferrosight):
    ended = ferrosight("limit", *LABELLED, "--sweep", "r2star=10,30,90")
    table = ended.out.split("\n- ")[0].splitlines()
    assert table[0].split()[:2] == ["R2*", "(1/s)"]
    assert "iron (pg)" in table[0]
    assert [line.split()[0] for line in table[2:]] == ["10", "30", "90"]


@pytest.mark.parametrize("ending", [".svg", ".pdf", ".png"])
def test_the_plot_is_written(ferrosight, tmp_path, ending):
    path = tmp_path / f"limit{ending}"
    ended = ferrosight("limit", *LABELLED, "--sweep", "b0-t=1.5,7", "--plot", path)
    assert ended.code == 0
    assert path.stat().st_size > 5000
    assert str(path) in ended.err


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["--voxel-mm", "0.1,0.1"], "one or three positive edges"),
        (["--voxel-mm", "0.1,0.1,-1"], "one or three positive edges"),
        (["--echo-times-ms", "8,4"], "positive and growing"),
        (["--echo-times-ms", "four"], "expects a number"),
        (["--snr", "-3"], "signal-to-noise ratio must be positive"),
        (["--r2star", "-1"], "R2* must be zero"),
        (["--b0-t", "70"], "between 0.01 and 30 T"),
        (["--power", "1"], "between 0 and 1"),
        (["--positions", "0"], "number of positions"),
        (["--false-per-scan", "0"], "false alarms"),
        (["--scan-time-factor", "0"], "positive number"),
        (["--label", "rust"], "there is no label 'rust'"),
        (["--sweep", "colour=1,2"], "NAME one of"),
        (["--sweep", "snr"], "NAME one of"),
        (["--sweep", "snr=1,,2"], "NAME one of"),
        (["--plot", "limit.docx"], ".svg, .pdf, .png"),
        (["--plot", "no/such/folder/limit.svg"], "there is no no/such/folder"),
        (["--r2star", "100000"], "shorten the echo times"),
    ],
)
def test_bad_input_is_refused_in_a_sentence(ferrosight, options, said):
    assert said in ferrosight("limit", *options).assert_refused()


def test_the_answer_needs_nothing_heavy():
    code = "from ferrosight.cli import main\ntry:\n    main(['limit'])\nexcept SystemExit: pass\nimport sys"
    asked = (
        f"{code}; sys.stderr.write(' '.join(n for n in ('scipy', 'matplotlib', 'numba', 'pandas') if n in sys.modules))"
    )
    done = subprocess.run([sys.executable, "-c", asked], capture_output=True, encoding="utf-8", check=True)
    assert done.stderr == ""
