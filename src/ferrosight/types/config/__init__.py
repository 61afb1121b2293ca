"""Configuration of every stage: one frozen dataclass each, gathered in ``Config``."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from ferrosight.errors import ConfigError
from ferrosight.types.config._setting import SettingInfo, StageConfig, check_setting, setting
from ferrosight.types.config.stages import (
    ClustersConfig,
    FieldConfig,
    LimitsConfig,
    LinkConfig,
    PetConfig,
    QuantifyConfig,
    RegisterConfig,
    RelapseConfig,
    ReportConfig,
)

__all__ = [
    "ClustersConfig",
    "Config",
    "FieldConfig",
    "LimitsConfig",
    "LinkConfig",
    "PetConfig",
    "QuantifyConfig",
    "RegisterConfig",
    "RelapseConfig",
    "ReportConfig",
    "SettingInfo",
    "StageConfig",
    "check_setting",
    "setting",
]


@dataclass(frozen=True)
class Config:
    """All stages' configurations."""

    field: FieldConfig = dataclasses.field(default_factory=FieldConfig)
    clusters: ClustersConfig = dataclasses.field(default_factory=ClustersConfig)
    quantify: QuantifyConfig = dataclasses.field(default_factory=QuantifyConfig)
    limits: LimitsConfig = dataclasses.field(default_factory=LimitsConfig)
    link: LinkConfig = dataclasses.field(default_factory=LinkConfig)
    register: RegisterConfig = dataclasses.field(default_factory=RegisterConfig)
    pet: PetConfig = dataclasses.field(default_factory=PetConfig)
    relapse: RelapseConfig = dataclasses.field(default_factory=RelapseConfig)
    report: ReportConfig = dataclasses.field(default_factory=ReportConfig)

    def with_settings(self, settings: Mapping[str, Any]) -> Config:
        """A copy with ``{"stage.setting": value}`` replaced; strings are read as the setting's own type."""
        by_stage: dict[str, dict[str, Any]] = {}
        for dotted, value in settings.items():
            stage, _, name = dotted.partition(".")
            by_stage.setdefault(stage, {})[name] = self._read(dotted, stage, name, value)
        changes = {stage: dataclasses.replace(getattr(self, stage), **values) for stage, values in by_stage.items()}
        return dataclasses.replace(self, **changes)

    def _read(self, dotted: str, stage: str, name: str, value: Any) -> Any:
        stages = [f.name for f in dataclasses.fields(self)]
        if stage not in stages:
            raise ConfigError(f"there is no stage {stage!r} in setting {dotted!r}; stages are {', '.join(stages)}.")
        known = {f.name: f.default for f in dataclasses.fields(getattr(self, stage))}
        if name not in known:
            raise ConfigError(f"stage {stage} has no setting {name!r}; it has {', '.join(known)}.")
        if not isinstance(value, str) or isinstance(known[name], str):
            return value
        return _parse(dotted, value, type(known[name]))

    def as_dict(self) -> dict[str, Any]:
        """``{"stage.setting": value}`` for every setting."""
        return {
            f"{stage.name}.{f.name}": getattr(getattr(self, stage.name), f.name)
            for stage in dataclasses.fields(self)
            for f in dataclasses.fields(getattr(self, stage.name))
        }


def _parse(dotted: str, text: str, kind: type) -> Any:
    if kind is bool:
        if text.lower() in ("true", "false"):
            return text.lower() == "true"
        raise ConfigError(f"setting {dotted} must be true or false, but is {text!r}.")
    try:
        return kind(text)
    except ValueError:
        raise ConfigError(f"setting {dotted} must be of type {kind.__name__}, but is {text!r}.") from None
