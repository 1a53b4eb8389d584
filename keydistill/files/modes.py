"""Who may read what we write: in the home its owner alone, or a group, too; elsewhere whomever the umask lets.

Much of what is in a home is written by libraries, so it is the process that is made to keep things to itself.
"""

import grp
import os
from pathlib import Path

from keydistill.errors import SettingsError

_OWNER_ALONE, _GROUP_READS = 0o077, 0o027
# The homes that this process keeps to itself, and the umask that it was started with.
_homes: set[Path] = set()
_usual_mask: int | None = None
_mask = 0


def protect_home(home: Path, group: str | None = None) -> None:
    """Give what this process makes in `home` from now on to its owner alone: 0700 and 0600, or 0750 and 0640.

    What is there already stays as it is.

    Args:
        home: Folder of runs and collections; made if there is a group and it is not there.
        group: Group that may read, too; a home that is made belongs to it, and so does all that is made in it.

    Raises:
        SettingsError: There is no such group, or the home cannot be given to it.
    """
    global _usual_mask, _mask
    _mask = _OWNER_ALONE if group is None else _GROUP_READS
    before = os.umask(_mask)
    if _usual_mask is None:
        _usual_mask = before
    _homes.add(home.absolute())
    if group is None or home.exists():
        return
    try:
        number = grp.getgrnam(group).gr_gid
    except KeyError:
        raise SettingsError(
            f"home_group is {group!r}, and there is no such group here; name one of `getent group`"
        ) from None
    home.mkdir(parents=True)
    try:
        os.chown(home, -1, number)
        # What is made in it gets its group.
        home.chmod(0o2750)
    except OSError as error:
        home.rmdir()
        raise SettingsError(
            f"{home} cannot be given to the group {group!r}: {error.strerror}; be a member of it"
        ) from None


def private_mode(mode: int) -> int:
    """A mode less what the home's protection takes away."""
    return mode & ~_mask


def as_usual(path: Path) -> None:
    """Give a file or folder outside of the homes the modes that it would have had without `protect_home`."""
    if _usual_mask is None or any(path.absolute().is_relative_to(home) for home in _homes):
        return
    for entry in (path, *(path.rglob("*") if path.is_dir() else ())):
        if not entry.is_symlink():
            entry.chmod((0o777 if entry.is_dir() else 0o666) & ~_usual_mask)
