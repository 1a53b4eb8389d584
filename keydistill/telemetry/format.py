"""The form of what is logged: text for people, JSON for programs."""

import os
from pathlib import Path
from typing import Literal, cast, get_args

LogFormat = Literal["text", "json"]
_VARIABLE = "KEYDISTILL_LOG_FORMAT"


def log_format(default: LogFormat = "text") -> LogFormat:
    """The setting `log_format`, known before all settings are: what is wrong with them has to be logged, too.

    Args:
        default: What counts where nothing is set, or something else than a format: `load_settings` refuses that.
    """
    value = os.environ.get(_VARIABLE) or _in_file()
    return cast(LogFormat, value) if value in get_args(LogFormat) else default


def _in_file() -> object:
    if not (os.environ.get("KEYDISTILL_CONFIG") or Path("keydistill.toml").exists()):
        return None
    # Not before: it takes longer than a short command.
    from keydistill.settings import value_in_file

    return value_in_file("log_format")
