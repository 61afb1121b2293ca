"""The table of labels shows every label with its source."""

from __future__ import annotations

import json

from ferrosight.physics.labels import LABELS, magnetisation_am2_per_kg_fe


def test_every_label_is_listed_with_its_source(ferrosight):
    ended = ferrosight("labels")
    assert ended.code == 0
    for label in LABELS.values():
        row = next(line for line in ended.out.splitlines() if line.startswith(label.label_id))
        assert f"{magnetisation_am2_per_kg_fe(label, 1.5):.1f}" in row
        number = row.split()[-1]
        source = next(line for line in ended.out.splitlines() if line.startswith(number))
        assert label.ms_source in source


def test_json_is_one_object_with_a_value_per_field(ferrosight):
    content = json.loads(ferrosight("labels", "--json").out)
    assert [label["label_id"] for label in content["labels"]] == list(LABELS)
    vsop = next(label for label in content["labels"] if label["label_id"] == "vsop")
    assert vsop["magnetisation_am2_per_kg_fe_at_t"]["1.5"] < vsop["magnetisation_am2_per_kg_fe_at_t"]["9.4"]
