"""Settings in force, from options, environment and the TOML file."""

from typing import Any

from pydantic import ValidationError

from keydistill.errors import SettingsError
from keydistill.settings.fields import Settings
from keydistill.settings.schedules import Schedule


def schedule_of(settings: Settings, name: str) -> Schedule:
    """A schedule by its name.

    Raises:
        SettingsError: There is no such schedule.
    """
    if name not in settings.schedules:
        raise SettingsError(
            f"there is no schedule {name!r}; in the settings there are: {', '.join(settings.schedules) or 'none'}"
        )
    return settings.schedules[name]


def load_settings(**options: Any) -> Settings:
    """The settings in force; options that are None do not count.

    Raises:
        SettingsError: A value is malformed or a name is unknown. The message never shows the value of a secret.
    """
    try:
        loaded = Settings(**{name: value for name, value in options.items() if value is not None})
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False, include_context=False)[0]
        name = ".".join(str(part) for part in first["loc"])
        raise SettingsError(
            f"setting {name!r}: {first['msg']}; see `keydistill settings` for names and values"
        ) from None
    except ValueError as error:
        raise SettingsError(f"the settings file cannot be read: {error}; expected TOML") from None
    return loaded.model_copy(update={"home": loaded.home.expanduser().absolute()})
