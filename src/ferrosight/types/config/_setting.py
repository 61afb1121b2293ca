"""How a setting is declared once, so that command line, TOML, documentation and reports agree on it."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import Any

from ferrosight.errors import ConfigError


@dataclass(frozen=True)
class SettingInfo:
    """Documentation and bounds of one setting."""

    doc: str
    low: float | None = None
    high: float | None = None
    choices: tuple[str, ...] = ()


def setting(
    default: Any, doc: str, *, low: float | None = None, high: float | None = None, choices: tuple[str, ...] = ()
) -> Any:
    """Declare a field of a stage's configuration."""
    return dataclasses.field(default=default, metadata={"setting": SettingInfo(doc, low, high, choices)})


@dataclass(frozen=True)
class StageConfig:
    """Base of every stage's configuration: checks types and bounds when built."""

    def __post_init__(self) -> None:
        for field in dataclasses.fields(self):
            info: SettingInfo = field.metadata["setting"]
            check_setting(f"{field.name}", getattr(self, field.name), field.default, info)


def check_setting(name: str, value: Any, default: Any, info: SettingInfo) -> None:
    """Raise ConfigError unless ``value`` has the default's type and lies within bounds."""
    kind = type(default)
    right_kind = isinstance(value, kind) and isinstance(value, bool) == isinstance(default, bool)
    if kind is float and isinstance(value, int) and not isinstance(value, bool):
        right_kind = True
    if not right_kind:
        raise ConfigError(f"setting {name} must be of type {kind.__name__}, but is {value!r}.")
    if info.choices and value not in info.choices:
        raise ConfigError(f"setting {name} must be one of {', '.join(info.choices)}, but is {value!r}.")
    # Written as "not inside" so that NaN fails.
    below = info.low is not None and not value >= info.low
    above = info.high is not None and not value <= info.high
    if below or above:
        low = "-∞" if info.low is None else info.low
        high = "∞" if info.high is None else info.high
        raise ConfigError(f"setting {name} must lie between {low} and {high}, but is {value!r}.")
