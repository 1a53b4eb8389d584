"""The stamps of a record: an id, a time, and the user."""

import getpass
import secrets
import socket
from datetime import UTC, datetime


def new_run_id() -> str:
    """An id such as `20261123-184502-3f9a1c`: the time in UTC, and chance for those made in the same second."""
    return f"{datetime.now(UTC):%Y%m%d-%H%M%S}-{secrets.token_hex(3)}"


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
