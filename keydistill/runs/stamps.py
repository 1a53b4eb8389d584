"""The stamps of a record: an id, a time, the user, and the mark of a pause."""

import getpass
import re
import secrets
import socket
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Self


def new_run_id() -> str:
    """An id such as `20261123-184502-3f9a1c`: the time in UTC, and chance for those made in the same second."""
    return f"{datetime.now(UTC):%Y%m%d-%H%M%S}-{secrets.token_hex(3)}"


def is_run_id(text: str) -> bool:
    """Whether a text has the form of a run's id; commands that are no runs hold leases by their name.

    >>> is_run_id("20261123-184502-3f9a1c"), is_run_id("prune")
    (True, False)
    """
    return re.fullmatch(r"\d{8}-\d{6}-[0-9a-f]{6}", text) is not None


def now() -> str:
    """The time in UTC, ISO 8601, to the second."""
    return datetime.now(UTC).isoformat(timespec="seconds")


def present_user() -> str:
    """USER@HOST of this process."""
    try:
        user = getpass.getuser()
    except (KeyError, OSError):
        user = "unknown"
    return f"{user}@{socket.gethostname()}"


@dataclass(frozen=True, slots=True)
class Pause:
    """The mark of a run that is not to go on: since when, and who set it, as USER@HOST."""

    at: str
    by: str

    @classmethod
    def begun(cls) -> Self:
        """A pause that begins now, by the user of this process."""
        return cls(now(), present_user())

    def __str__(self) -> str:
        return f"paused since {self.at} by {self.by}"
