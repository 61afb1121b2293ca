"""Settings come from defaults, file and overrides, in that order."""

from __future__ import annotations

import pytest

from ferrosight.errors import ConfigError
from ferrosight.study.config import load_config


def test_overrides_win_over_the_file_and_the_file_over_defaults(tmp_path):
    path = tmp_path / "settings.toml"
    path.write_text("[clusters]\nq = 0.01\nscreen_z = 5\n", encoding="utf-8")
    config = load_config(path, {"clusters.q": "0.02"})
    assert config.clusters.q == 0.02
    assert config.clusters.screen_z == 5
    assert load_config().clusters.q == 0.05


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("[clusters]\nq = 2\n", "must lie between"),
        ("[clusters]\nqq = 0.1\n", "has no setting 'qq'"),
        ("[cluster]\nq = 0.1\n", "there is no stage 'cluster'"),
        ("q = 0.1\n", "table per stage"),
        ('[clusters]\nq = "x"\n', "must be of type float"),
        ("[clusters\n", "not valid TOML"),
    ],
)
def test_a_bad_file_is_refused_in_a_sentence(tmp_path, text, said):
    path = tmp_path / "settings.toml"
    path.write_text(text, encoding="utf-8")
    with pytest.raises(ConfigError, match=said):
        load_config(path)


def test_a_missing_file_and_a_folder_are_refused(tmp_path):
    with pytest.raises(ConfigError, match="there is no settings file"):
        load_config(tmp_path / "none.toml")
    with pytest.raises(ConfigError, match="cannot be read"):
        load_config(tmp_path)
