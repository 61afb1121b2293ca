"""Settings from text, within bounds."""

from __future__ import annotations

import dataclasses
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ferrosight.errors import ConfigError
from ferrosight.types import Config
from ferrosight.types.config import SettingInfo, StageConfig, check_setting, setting


@dataclasses.dataclass(frozen=True)
class SampleConfig(StageConfig):
    """One setting of each type."""

    share: float = setting(0.5, "A share.", low=0.0, high=1.0)
    count: int = setting(3, "A count.", low=1)
    on: bool = setting(True, "A switch.")
    mode: str = setting("fast", "A choice.", choices=("fast", "slow"))


def test_the_defaults_are_within_their_own_bounds() -> None:
    assert Config() == Config().with_settings({})
    assert Config().with_settings(Config().as_dict()) == Config()


def test_text_becomes_the_settings_own_type() -> None:
    config = Config().with_settings({"clusters.q": "0.1", "report.gallery_size": "7"})
    assert config.clusters.q == 0.1
    assert config.report.gallery_size == 7
    assert isinstance(config.report.gallery_size, int)
    assert config.field == Config().field


def test_every_default_survives_being_written_as_text() -> None:
    as_text = {name: str(value) for name, value in Config().as_dict().items()}
    assert Config().with_settings(as_text) == Config()


def test_the_first_config_is_left_alone() -> None:
    first = Config()
    first.with_settings({"clusters.q": 0.2})
    assert first == Config()


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"q": "0.1"}, "no stage 'q'"),
        ({"nowhere.q": 0.1}, "no stage 'nowhere'.*clusters"),
        ({"clusters.nothing": 1}, "no setting 'nothing'; it has q"),
        ({"clusters": 1}, "no setting ''"),
        ({"clusters.q": "much"}, "clusters.q must be of type float, but is 'much'"),
        ({"report.gallery_size": "2.5"}, "report.gallery_size must be of type int"),
        ({"report.gallery_size": 2.5}, "gallery_size must be of type int, but is 2.5"),
        ({"clusters.q": "0.9"}, "q must lie between 1e-06 and 0.5, but is 0.9"),
        ({"clusters.q": "nan"}, "q must lie between"),
        ({"clusters.q": float("nan")}, "q must lie between"),
        ({"clusters.q": "inf"}, "q must lie between"),
        ({"clusters.q": True}, "q must be of type float, but is True"),
        ({"clusters.q": None}, "q must be of type float, but is None"),
    ],
)
def test_a_bad_setting_is_one_clear_sentence(settings: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        Config().with_settings(settings)


@given(st.floats(allow_nan=True, allow_infinity=True))
def test_no_number_outside_its_bounds_gets_in(value: float) -> None:
    if 0 <= value <= 1:
        assert SampleConfig(share=value).share == value
    else:
        with pytest.raises(ConfigError, match=r"between 0\.0 and 1\.0"):
            SampleConfig(share=value)


def test_a_whole_number_may_stand_for_a_float_but_not_for_a_switch() -> None:
    assert SampleConfig(share=1).share == 1
    with pytest.raises(ConfigError, match="of type bool"):
        SampleConfig(on=1)  # type: ignore[arg-type]
    with pytest.raises(ConfigError, match="of type int"):
        SampleConfig(count=True)


def test_a_choice_is_one_of_those_named() -> None:
    assert SampleConfig(mode="slow").mode == "slow"
    with pytest.raises(ConfigError, match="one of fast, slow, but is 'idle'"):
        SampleConfig(mode="idle")


def test_an_open_bound_is_written_as_infinity() -> None:
    with pytest.raises(ConfigError, match="between 1 and ∞"):
        check_setting("count", 0, 3, SettingInfo("A count.", low=1))


@pytest.mark.parametrize(("text", "value"), [("true", True), ("False", False)])
def test_switches_are_read_from_words(text: str, value: bool) -> None:
    config = SampleHolder().with_settings({"sample.on": text})
    assert getattr(config, "sample").on is value  # noqa: B009
    with pytest.raises(ConfigError, match="must be true or false"):
        SampleHolder().with_settings({"sample.on": "1"})


@dataclasses.dataclass(frozen=True)
class SampleHolder(Config):
    """Every stage, and the sample."""

    sample: SampleConfig = dataclasses.field(default_factory=SampleConfig)
