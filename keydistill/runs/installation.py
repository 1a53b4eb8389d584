"""The id of an installation: of a home, or of all homes that share a Redis."""

import json
from pathlib import Path
from uuid import uuid4

from keydistill.errors import RunError
from keydistill.files import file_lock, replace_json


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
