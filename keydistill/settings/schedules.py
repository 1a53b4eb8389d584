"""Schedules, as the settings define them."""

from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, field_validator


class Schedule(BaseModel):
    """A run that starts by itself.

    Attributes:
        cron: Minute, hour, day of month, month, day of week, as in "0 3 * * 0".
        task: Kind of work that is started.
        kwargs: Options of the command of that name, with underscores.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    cron: str
    task: Literal["reindex", "sync", "retrain", "prune"]
    kwargs: dict[str, Any] = Field(default_factory=dict)

    @field_validator("cron")
    @classmethod
    def _readable(cls, value: str) -> str:
        try:
            from celery.schedules import ParseException, crontab
        except ModuleNotFoundError:
            return value  # the workers and the beat have it, and read the same settings
        try:
            crontab.from_string(value)
        except (ValueError, ParseException) as error:
            raise ValueError(
                f"{value!r} is no cron expression ({error}); expected five fields, as in '0 3 * * 0'"
            ) from None
        return value
