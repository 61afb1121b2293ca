"""The doctor lists what is installed, and says what is not."""

from __future__ import annotations

import json

import numpy as np

from ferrosight.study import provenance


def test_versions_and_machine_are_listed(ferrosight):
    ended = ferrosight("doctor")
    assert ended.code == 0
    assert np.__version__ in ended.out
    assert "Nothing is missing." in ended.out


def test_json_is_one_object(ferrosight):
    content = json.loads(ferrosight("doctor", "--json").out)
    assert content["missing"] == []
    assert content["cpus"] >= 1
    assert content["libraries"]["numpy"] == np.__version__


def test_a_missing_library_is_named(ferrosight, monkeypatch):
    monkeypatch.setattr(provenance, "requires", lambda _: ["no-such-library>=1"])
    ended = ferrosight("doctor")
    assert ended.code == 1
    assert "Missing: no-such-library" in ended.out
