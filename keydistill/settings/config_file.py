"""The TOML file of settings: the one that `KEYDISTILL_CONFIG` names, otherwise `keydistill.toml` where we stand."""

import os
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
