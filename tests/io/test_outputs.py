"""Products go where BIDS derivatives belong, and never over data that are not Ferrosight's own."""

from __future__ import annotations

import json

import pytest

import ferrosight
from ferrosight.errors import BidsError
from ferrosight.io.outputs import (
    check_out_dir,
    check_own_dataset,
    output_path,
    product_paths,
    write_dataset_description,
    write_raw_description,
)


@pytest.mark.parametrize(
    ("product", "labels", "expected"),
    [
        ("clusters", {"subject": "01"}, "sub-01/anat/sub-01_clusters.tsv"),
        ("clusters", {"subject": "01", "session": "d07"}, "sub-01/ses-d07/anat/sub-01_ses-d07_clusters.tsv"),
        (
            "clusters",
            {"subject": "01", "session": "d07", "run": "2", "acquisition": "hi"},
            "sub-01/ses-d07/anat/sub-01_ses-d07_acq-hi_run-2_clusters.tsv",
        ),
        ("R2starmap", {"subject": "sub-01", "run": "2"}, "sub-01/anat/sub-01_run-2_R2starmap.nii.gz"),
        ("report", {"subject": "01", "session": "d07"}, "sub-01/ses-d07/sub-01_ses-d07_report.html"),
        ("study_summary", {}, "summary.json"),
    ],
)
def test_names_are_those_of_bids_derivatives(tmp_path, product, labels, expected):
    assert output_path(tmp_path, product, **labels) == tmp_path / expected


def test_no_two_products_share_a_path(tmp_path):
    paths = [output_path(tmp_path, product, "01", "a", "1") for product in product_paths()]
    assert len(set(paths)) == len(paths)
    assert not any(mark in str(path) for path in paths for mark in "[]{}")


def test_unknown_products_and_missing_subjects_are_programming_errors(tmp_path):
    with pytest.raises(KeyError):
        output_path(tmp_path, "nonsense", "01")
    with pytest.raises(ValueError, match="clusters"):
        output_path(tmp_path, "clusters")


def test_labels_cannot_lead_out_of_the_folder(tmp_path):
    with pytest.raises(BidsError):
        output_path(tmp_path, "clusters", "../../x")


def test_description_says_who_made_it(tmp_path):
    content = json.loads(write_dataset_description(tmp_path / "out").read_text())
    assert content["DatasetType"] == "derivative"
    assert content["GeneratedBy"] == [{"Name": "Ferrosight", "Version": ferrosight.__version__}]
    assert {"Name", "BIDSVersion"} <= set(content)


@pytest.fixture
def bids_dir(tmp_path):
    folder = tmp_path / "study"
    (folder / "sub-01").mkdir(parents=True)
    (folder / "dataset_description.json").write_text('{"Name": "mine", "BIDSVersion": "1.10.0"}')
    return folder


def test_new_own_and_derivative_folders_are_fine(tmp_path, bids_dir):
    check_out_dir(bids_dir, tmp_path / "out")
    check_out_dir(bids_dir, bids_dir / "derivatives" / "ferrosight")
    write_dataset_description(tmp_path / "out")
    check_out_dir(bids_dir, tmp_path / "out")
    assert sorted(path.name for path in bids_dir.iterdir()) == ["dataset_description.json", "sub-01"]


@pytest.mark.parametrize("inside", [".", "sub-01", "sub-01/..", "out", "derivatives"])
def test_the_input_is_never_the_output(bids_dir, inside):
    with pytest.raises(BidsError, match=r"OUT_DIR must .*BIDS_DIR"):
        check_out_dir(bids_dir, bids_dir / inside)


def test_a_link_to_the_input_is_seen_through(tmp_path, bids_dir):
    (tmp_path / "link").symlink_to(bids_dir)
    with pytest.raises(BidsError, match="never written to"):
        check_out_dir(bids_dir, tmp_path / "link")


@pytest.mark.parametrize(
    "text",
    [
        '{"Name": "mine"}',
        "{",
        "[]",
        '{"DatasetType": "derivative", "GeneratedBy": [{"Name": "fMRIPrep"}]}',
        '{"DatasetType": "raw", "GeneratedBy": [{"Name": "Ferrosight"}]}',
    ],
)
def test_another_data_set_is_not_written_into(tmp_path, bids_dir, text):
    other = tmp_path / "other"
    other.mkdir()
    (other / "dataset_description.json").write_text(text)
    with pytest.raises(BidsError, match=r"other belongs to another data set"):
        check_out_dir(bids_dir, other)


def test_a_file_is_no_folder(tmp_path, bids_dir):
    (tmp_path / "file").touch()
    with pytest.raises(BidsError, match="is a file"):
        check_out_dir(bids_dir, tmp_path / "file")


def test_simulated_data_sets_are_raw(tmp_path):
    write_raw_description(tmp_path, "Simulated")
    check_own_dataset(tmp_path, "raw")
    with pytest.raises(BidsError):
        check_own_dataset(tmp_path, "derivative")
