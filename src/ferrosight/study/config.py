"""Settings from a TOML file and from overrides."""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ferrosight.errors import ConfigError
from ferrosight.types import Config


def load_config(path: Path | None = None, overrides: Mapping[str, Any] | None = None) -> Config:
    """Defaults, changed by a TOML file with a table per stage, changed by ``{"stage.setting": value}``.

    Raises
    ------
    ConfigError
        The file cannot be read, or a setting is unknown or out of bounds.
    """
    settings = {} if path is None else _read_settings(path)
    return Config().with_settings(settings).with_settings(overrides or {})


def _read_settings(path: Path) -> dict[str, Any]:
    try:
        tables = tomllib.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise ConfigError(f"there is no settings file {path}; check the path.") from None
    except OSError as error:
        raise ConfigError(f"the settings file {path} cannot be read: {error.strerror}.") from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ConfigError(f"the settings file {path} is not valid TOML: {error}.") from None
    settings = {}
    for stage, values in tables.items():
        if not isinstance(values, dict):
            raise ConfigError(
                f"the settings file {path} must have a table per stage, such as [clusters], "
                f"but has {stage} outside one."
            )
        settings.update({f"{stage}.{name}": value for name, value in values.items()})
    return settings
