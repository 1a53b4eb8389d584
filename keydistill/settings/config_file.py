"""The TOML file of settings: the one that `KEYDISTILL_CONFIG` names, otherwise `keydistill.toml` where we stand."""

import os
import tomllib
from contextlib import suppress
from pathlib import Path

from keydistill.errors import SettingsError


def config_file() -> Path | None:
    """The file in force, if there is one.

    Raises:
        SettingsError: `KEYDISTILL_CONFIG` names no file.
    """
    named = os.environ.get("KEYDISTILL_CONFIG")
    if named:
        if not Path(named).is_file():
            raise SettingsError(f"KEYDISTILL_CONFIG names {named}, which is no file; correct or unset it")
        return Path(named)
    default = Path("keydistill.toml")
    return default if default.is_file() else None


def present_config_file() -> Path | None:
    """The file in force; None also where `KEYDISTILL_CONFIG` names none."""
    with suppress(SettingsError):
        return config_file()
    return None


def value_in_file(name: str) -> object:
    """A setting as the file has it, unchecked; None where there is none, or the file cannot be read."""
    with suppress(SettingsError, OSError, ValueError):
        file = config_file()
        return None if file is None else tomllib.loads(file.read_text(encoding="utf-8")).get(name)
    return None
