"""The id of an installation: of a home, or of all homes that share a Redis."""

import json
from pathlib import Path
from typing import Literal, TypeAlias
from uuid import uuid4

from keydistill.errors import RunError, RunStateError, SettingsError
from keydistill.files import file_lock, replace_json
from keydistill.settings import Settings

# In the home while a restore into it has not ended: the id of its backup.
RESTORE_MARK = "restoring.json"

HomeContent: TypeAlias = Literal["records", "collections", "models"]


def check_home(settings: Settings, content: HomeContent = "records") -> None:
    """Check that the home is there, for whoever only reads what is in it, or changes what is there.

    Args:
        settings: Settings of the command.
        content: What is read; where it is kept elsewhere, nothing is checked.

    Raises:
        SettingsError: It is not: its name was mistyped, or nothing was begun yet.
    """
    on_servers = settings.engine == "server" and settings.redis_url is not None
    is_elsewhere = {
        "records": on_servers,
        "collections": settings.engine == "server",
        "models": on_servers or settings.registry is not None,
    }
    if not is_elsewhere[content] and not settings.home.is_dir():
        raise SettingsError(
            f"there is nothing at {settings.home}: correct --home or KEYDISTILL_HOME, or begin there with "
            "`keydistill reindex INVENTORY`"
        )


def check_restored(home: Path) -> None:
    """Check that no restore into a home was left half done: what a run built there could not be told from the rest.

    Raises:
        RunStateError: One was.
    """
    mark = home / RESTORE_MARK
    try:
        backup = json.loads(mark.read_bytes())
    except FileNotFoundError:
        return
    except ValueError:
        backup = "unknown"
    raise RunStateError(
        f"a restore of backup {backup} into {home} did not end; give the same `keydistill restore SOURCE` again, which "
        "goes on where it was, then start the run"
    )


def installation_of(home: Path) -> str:
    """The id that a home keeps; the first who asks makes it.

    Raises:
        RunError: The file that keeps it holds something else.
    """
    path = home / "installation.json"
    try:
        return _read(path)
    except FileNotFoundError:
        with file_lock(home / "locks" / "installation.lock"):
            if not path.exists():
                replace_json(path, uuid4().hex)
        return _read(path)


def remember_installation(home: Path, installation: str) -> None:
    """Keep the id that those who share a Redis agreed on, for the day when that is emptied."""
    if installation_of(home) != installation:
        with file_lock(home / "locks" / "installation.lock"):
            replace_json(home / "installation.json", installation)


def _read(path: Path) -> str:
    try:
        installation = json.loads(path.read_bytes())
    except ValueError:
        installation = None
    if not isinstance(installation, str) or not installation:
        raise RunError(f"{path} holds no id of an installation; restore it from a backup, or delete it and take over")
    return installation
