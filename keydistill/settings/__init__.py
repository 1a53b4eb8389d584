"""The one settings object. Later wins: defaults, TOML file, environment (`KEYDISTILL_...`), command-line options.

The TOML file is the one that `KEYDISTILL_CONFIG` names, otherwise `keydistill.toml` in the working directory.
`keydistill settings` prints what is in force, secrets masked.
"""

from keydistill.settings.config_file import present_config_file, value_in_file
from keydistill.settings.fields import Settings
from keydistill.settings.loading import load_settings, schedule_of
from keydistill.settings.names import NAME
from keydistill.settings.redis_url import RedisAddress, redis_address
from keydistill.settings.schedules import Schedule
from keydistill.settings.storage import QUANTIZATIONS, Component, Limit, Quantization, StorageSettings, Tier

__all__ = [
    "NAME",
    "QUANTIZATIONS",
    "Component",
    "Limit",
    "Quantization",
    "RedisAddress",
    "Schedule",
    "Settings",
    "StorageSettings",
    "Tier",
    "load_settings",
    "present_config_file",
    "redis_address",
    "schedule_of",
    "value_in_file",
]
