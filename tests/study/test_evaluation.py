"""From tables on disk to an evaluation on disk: a simulated study with a catalogue that knows the truth."""

from __future__ import annotations

import dataclasses
import json
import math
import shutil

import numpy as np
import pytest

from ferrosight.errors import InputError
from ferrosight.io import output_path, read_table, write_table
from ferrosight.simulate import get_preset
from ferrosight.study.evaluation import FALLBACK_MATCH_MM, choose_match_mm, evaluate_study, write_evaluation
from ferrosight.study.simulation import simulate_study
from ferrosight.types import CLUSTERS, TRUTH, Table

SHAPE = (24, 22, 20)


@pytest.fixture(scope="module")
def study(tmp_path_factory):
    """Two subjects simulated, and the catalogues of a detector that finds all bodies, whatever they are."""
    whole = get_preset("mouse-brain-9t")
    scan = dataclasses.replace(whole.scan, point_spread="box", bandwidth_hz=math.inf, sub_sampling=4)
    content = dataclasses.replace(whole.content, cells=(5, 20, 40) * 100, grafts=(), cavities_um=(), n_trees=1)
    root = tmp_path_factory.mktemp("study")
    simulate_study(dataclasses.replace(whole, scan=scan, content=content), root / "bids", n_subjects=2, shape=SHAPE)
    for subject in ("01", "02"):
        truth = read_table(TRUTH, root / "bids" / "truth" / f"sub-{subject}_truth.tsv")
        columns = {name: truth[name] for name in ("x_mm", "y_mm", "z_mm", "moment_am2", "iron_pg", "n_cells")}
        # veins are found near one of their ends
        columns |= {f"{a}_mm": truth[f"{a}_mm"] + 0.9 * truth[f"axis_{a}_mm"] for a in "xyz"}
        clusters = Table(CLUSTERS, {**columns, "status": np.full(len(truth), "accepted")})
        write_table(clusters, output_path(root / "out", "clusters", subject))
    return root


def test_all_that_lies_in_a_simulated_scan_is_told_apart(study):
    found = evaluate_study(study / "out", study / "bids")
    detection = found.evaluation.detection
    assert (found.exit_code, found.evaluation.match_mm) == (0, 0.1)
    assert "voxel" in found.match_source
    assert detection.recall.count == detection.recall.total > 0
    confusers = {one.kind: (one.accepted.count, one.bodies.count, one.bodies.total) for one in detection.confusers}
    assert {"vein", "haemorrhage"} <= set(confusers)
    for kind, (accepted, hit, total) in confusers.items():
        if kind in ("duplicate", "background"):
            assert accepted == 0
        else:  # at a fork a candidate may sit on either vein
            assert accepted == total >= hit > 0
    assert all(bias.mean.value == pytest.approx(0, abs=1e-12) for bias in found.evaluation.calibration.bias)


def test_everything_is_written_and_says_what_is_returned(study, tmp_path):
    found = evaluate_study(study / "out", study / "bids" / "truth", match_mm=0.25)
    paths = write_evaluation(found, tmp_path / "new" / "folder")
    assert [path.name for path in paths] == ["evaluation.json", "recall.svg", "confusers.svg", "calibration.svg"]
    content = json.loads(paths[0].read_text(encoding="utf-8"))
    assert content == json.loads(json.dumps(found.as_plain()))
    assert (content["match_mm"], content["match_source"]) == (0.25, "as given")
    assert content["visits"] == ["sub-01", "sub-02"]
    assert content["detection"]["recall"]["value"] == 1.0


def test_a_truth_without_catalogue_is_named_and_counts_nowhere(study, tmp_path):
    shutil.copytree(study / "out" / "sub-01", tmp_path / "out" / "sub-01")
    found = evaluate_study(tmp_path / "out", study / "bids")
    assert (found.exit_code, found.without_catalogue, found.without_truth) == (1, ("sub-02",), ())
    assert found.evaluation.visits == ("sub-01",)


def test_a_folder_that_cannot_be_written_to_is_refused(study, tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(InputError, match="cannot be written"):
        write_evaluation(evaluate_study(study / "out", study / "bids"), tmp_path / "file")


def test_the_matching_distance_is_the_largest_edge_of_the_one_voxel():
    assert choose_match_mm([(0.1, 0.1, 0.3), (0.2, 0.3, 0.1)])[0] == 0.3
    assert choose_match_mm([None, None])[0] == FALLBACK_MATCH_MM
    for voxels in ([(0.1, 0.1, 0.1), (0.2, 0.2, 0.2)], [(0.1, 0.1, 0.1), None]):
        with pytest.raises(InputError, match="--match-mm"):
            choose_match_mm(voxels)
