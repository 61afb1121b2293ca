"""Hashes are those of the files, and versions those installed."""

from __future__ import annotations

import hashlib
import json

import numpy as np
import pytest

from ferrosight.errors import InputError
from ferrosight.physics.labels import get_label
from ferrosight.study import provenance
from ferrosight.study.provenance import describe_run, hash_files, library_versions
from ferrosight.study.summary import plain_value
from ferrosight.types import Config, IronPerCell


def test_hashes_are_sha256_by_relative_path(tmp_path):
    (tmp_path / "sub").mkdir()
    (tmp_path / "sub" / "a.json").write_bytes(b"{}")
    found = hash_files([tmp_path / "sub" / "a.json"] * 2, tmp_path)
    assert found == {"sub/a.json": hashlib.sha256(b"{}").hexdigest()}


@pytest.mark.parametrize("spoil", ["folder", "link"])
def test_a_file_that_cannot_be_read_is_named(tmp_path, spoil):
    path = tmp_path / "a.nii.gz"
    if spoil == "folder":
        path.mkdir()
    else:
        path.symlink_to(tmp_path / "never_fetched")
    with pytest.raises(InputError, match=r"a\.nii\.gz must be a file that can be read") as caught:
        hash_files([path], tmp_path)
    assert ("fetch it" in str(caught.value)) == (spoil == "link")


def test_versions_are_those_installed_and_absence_is_said(monkeypatch):
    found = library_versions()
    assert found["numpy"] == np.__version__
    assert {"scipy", "numba", "typer", "rich", "matplotlib"} <= set(found)
    monkeypatch.setattr(
        provenance, "requires", lambda _: ["numpy>=2.0", "no-such.library[extra]>=1; python_version>'3'"]
    )
    assert library_versions() == {"no-such.library": "missing", "numpy": np.__version__}


@pytest.mark.parametrize("load", [None, IronPerCell(10.0, 2.0, "assay")])
def test_a_run_is_described_in_plain_values(load):
    described = describe_run(Config(), get_label("vsop"), load, 2)
    again = json.loads(json.dumps(plain_value(described), allow_nan=False))
    assert again["settings"] == Config().as_dict()
    assert again["label"]["label_id"] == "vsop"
    assert (again["iron_per_cell"] is None) == (load is None)
    assert again["n_cpus"] == 2
