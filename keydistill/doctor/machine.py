"""Checks of the machine: the home's permissions, disk, memory, and what killed processes left."""

import os
import shutil
import time
import tomllib
from collections.abc import Iterator
from contextlib import suppress
from functools import partial
from pathlib import Path

from keydistill.doctor.complaint import Complaint
from keydistill.doctor.patient import Patient
from keydistill.errors import CollectionLostError, VectorStoreError
from keydistill.files import lock_handle
from keydistill.masking import masked
from keydistill.runs import RESTORE_MARK, check_home

_GB = 1_000_000_000
_OLD_SECONDS = 86_400
# Folders of work that is thrown away at its end: below the home, and what the names of the entries begin with.
_KEY_FILES = ("qdrant_client_key", "redis_client_key", "serve_tls_key")
_WORK = (("tmp", ""), ("trash", ""), ("collections", ".copying"))


def home_is_there(patient: Patient) -> Iterator[Complaint]:
    """The home is there; a check that only reads must not make one."""
    check_home(patient.settings)
    return
    yield


def private_files(patient: Patient) -> Iterator[Complaint]:
    """Files with secrets are their owner's alone."""
    settings = patient.settings
    keys = [getattr(settings, name) for name in _KEY_FILES]
    files = [path.expanduser() for path in keys if path is not None]
    config = patient.config_file()
    if config is not None and secrets_in(config):
        files.append(config)
    for file in files:
        if file.is_file() and (wide := file.stat().st_mode & 0o077):
            mode = file.stat().st_mode & 0o7777 & ~wide
            yield Complaint(
                "warning",
                f"{file} holds a secret and has the mode {file.stat().st_mode & 0o777:o}: others read it",
                f"chmod {mode:o} {file}",
                partial(file.chmod, mode),
            )


def secrets_in(config: Path) -> list[str]:
    """Settings in a file that are secrets."""
    try:
        values = tomllib.loads(config.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return []
    return [name for name, value in values.items() if masked(value, name) != value]


def home_permissions(patient: Patient) -> Iterator[Complaint]:
    """Others must not read a home, and its owner must be able to write it."""
    home, group = patient.settings.home, patient.settings.home_group
    if not home.exists():
        return
    wide = home.stat().st_mode & (0o077 if group is None else 0o027)
    if wide:
        mode = home.stat().st_mode & 0o7777 & ~wide
        yield Complaint(
            "warning",
            f"{home} has the mode {home.stat().st_mode & 0o777:o}: others than its owner reach it",
            f"chmod {mode:o} {home}",
            partial(home.chmod, mode),
        )
    if not os.access(home, os.W_OK | os.X_OK):
        yield Complaint(
            "error",
            f"{home} cannot be written by this user",
            "run as its owner, mount its disk writable, or choose another --home",
        )


def disk(patient: Patient) -> Iterator[Complaint]:
    """The next build must have room beside what is live."""
    settings = patient.settings
    needed = _GB
    with suppress(CollectionLostError, VectorStoreError):
        if settings.engine == "embedded" and patient.live is not None:
            # A building collection, and what its optimiser writes anew.
            needed = max(needed, 2 * (patient.live.disk_bytes or 0))
    free = patient.free_bytes(settings.home)
    if free < needed:
        yield Complaint(
            "error" if free < needed / 10 else "warning",
            f"{free / _GB:.1f} GB are free on the disk of {settings.home}, the next build wants {needed / _GB:.1f} GB",
            "keydistill collections prune, or a larger disk",
        )


def memory(patient: Patient) -> Iterator[Complaint]:
    """A build must have its memory."""
    free = patient.free_memory()
    needed = 1_000_000 * patient.settings.memory_mb + _GB // 2
    with suppress(CollectionLostError, VectorStoreError):
        if patient.settings.engine == "embedded" and patient.live is not None:
            # The engine of the collection that is built is in this machine's memory, too.
            needed += patient.live.disk_bytes or 0
    if free is not None and free < needed:
        yield Complaint(
            "warning",
            f"{free / _GB:.1f} GB of memory are free, a build takes about {needed / _GB:.1f} GB",
            "lower the setting memory_mb, or stop other programs",
        )


def leftovers(patient: Patient) -> Iterator[Complaint]:
    """Folders of processes that were killed."""
    home = patient.settings.home
    for view in _entries(home / "views"):
        if view.is_dir() and not _is_held(view / "owner"):
            yield _leftover("view", view)
    for folder, beginning in _WORK:
        for entry in _entries(home / folder):
            if entry.name.startswith(beginning) and not entry.name.endswith(".lock") and _is_old(entry, patient):
                yield _leftover("work folder", entry)
    for run in _entries(home / "runs"):
        for partial_folder in run.glob(".*.partial"):
            if not _is_held(partial_folder):
                yield _leftover("unfinished snapshot", partial_folder)
    if (home / RESTORE_MARK).exists():
        yield Complaint(
            "error", f"a restore into {home} did not end", "give the same `keydistill restore` again; it goes on"
        )


def _leftover(kind: str, path: Path) -> Complaint:
    return Complaint("warning", f"a killed process left the {kind} {path}", f"rm -r {path}", partial(_remove, path))


def _entries(folder: Path) -> list[Path]:
    return sorted(folder.iterdir()) if folder.is_dir() else []


def _is_old(path: Path, patient: Patient) -> bool:
    old = max(_OLD_SECONDS, patient.settings.grace_seconds)
    return path.lstat().st_mtime + old < time.time()


def _is_held(path: Path) -> bool:
    try:
        os.close(lock_handle(path))
    except BlockingIOError:
        return True
    except FileNotFoundError:
        pass
    return False


def _remove(path: Path) -> None:
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)
