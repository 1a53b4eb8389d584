"""Runs of one machine: a folder per run, and leases that are locks of the kernel.

home/runs/ID/run.json      the record, replaced atomically
home/runs/ID/snapshot/     what a reindex works from
home/history.jsonl         the audit log
home/locks/NAME.lock       held by the process that has the lease; the kernel lets go of it when that dies
home/locks/NAME.holder     for which run, and the last token
"""

import errno
import os
import shutil
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from urllib.parse import quote

from keydistill.errors import RunError, RunNotFoundError, RunStateError
from keydistill.files import NewerFormatError, file_lock, lock_handle, replace_json
from keydistill.runs.history import AliasChange
from keydistill.runs.history_file import HistoryFile, warn_once
from keydistill.runs.installation import installation_of
from keydistill.runs.record import Run, read_run, stored_run
from keydistill.runs.store import Change, Lease, busy, check_at_rest, not_there, whole_id
from keydistill.runs.stored_json import read_json

# Whoever asks for the holder of a lease holds its lock for a moment himself.
_PATIENCE_SECONDS = 0.2
# Nobody can write, and yet may read or make room: a lease is the kernel's lock, and the note beside it can wait.
_CANNOT_WRITE = (errno.ENOSPC, errno.EDQUOT)


@dataclass(frozen=True, slots=True)
class FileLease:
    """A lease that ends with the process at the latest."""

    name: str
    run_id: str
    token: int

    def check(self) -> None:
        """Return: nobody takes a lock of the kernel away."""


@dataclass(frozen=True, slots=True)
class _Holder:
    """What stands beside the lock of a lease: the run that took it last, and its token."""

    run: str
    token: int


class FileRunStore:
    """Run records in the folder `home`."""

    def __init__(self, home: Path) -> None:
        self._home = home

    def folder(self, run_id: str) -> Path:
        """See `RunStore.folder`."""
        return self._home / "runs" / run_id

    def installation(self) -> str:
        """See `RunStore.installation`."""
        return installation_of(self._home)

    def add(self, run: Run) -> Run:
        """See `RunStore.add`."""
        with self._locked(run.id):
            if self._record(run.id).exists():
                raise RunStateError(f"there is a run {run.id} already; choose another id")
            return self._write(run)

    def load(self, run_id: str) -> Run:
        """See `RunStore.load`."""
        return self._read(run_id if self._record(run_id).is_file() else whole_id(run_id, self._ids()))

    def all(self) -> list[Run]:
        """See `RunStore.all`."""
        runs: list[Run] = []
        for run_id in sorted(self._ids(), reverse=True):
            # One that cannot be read must not hide the others, nor stop the work on them.
            try:
                runs.append(self._read(run_id))
            except RunNotFoundError:
                continue  # deleted meanwhile
            except RunError as error:
                warn_once(str(error))
        return runs

    def is_lost(self, run_id: str) -> bool:
        """See `RunStore.is_lost`; here there is one record, and no copy."""
        return False

    def restore(self, run_id: str) -> None:
        """See `RunStore.restore`; here nothing is lost."""

    def update(self, run_id: str, change: Change, lease: Lease | None = None) -> Run:
        """See `RunStore.update`."""
        if not self._record(run_id).is_file():
            raise not_there(run_id)
        with self._locked(run_id):
            if lease is not None:
                lease.check()
            return self._write(change(self._read(run_id)))

    def forget(self, run_id: str) -> None:
        """See `RunStore.forget`."""
        if not self._record(run_id).is_file():
            raise not_there(run_id)
        with self._locked(run_id):
            check_at_rest(self._read(run_id))
            # The record first: without it there is no run, whatever is left of its files by a process that is killed.
            self._record(run_id).unlink(missing_ok=True)
            shutil.rmtree(self.folder(run_id), ignore_errors=True)

    @contextmanager
    def lease(self, name: str, run_id: str) -> Iterator[Lease]:
        """See `RunStore.lease`."""
        lock = self._home / "locks" / f"{quote(name, safe='')}.lock"
        holder = lock.with_suffix(".holder")
        with ExitStack() as held:
            try:
                held.enter_context(file_lock(lock, blocking=False, patience=_PATIENCE_SECONDS))
            except BlockingIOError:
                present = _holder(holder)
                raise busy(name, "another run" if present is None else present.run, run_id) from None
            last = _holder(holder)
            mine = _Holder(run_id, 1 if last is None else last.token + 1)
            try:
                replace_json(holder, asdict(mine))
            except OSError as error:
                if error.errno not in _CANNOT_WRITE:
                    raise
            yield FileLease(name, run_id, mine.token)

    def holder(self, name: str) -> str | None:
        """See `RunStore.holder`."""
        lock = self._home / "locks" / f"{quote(name, safe='')}.lock"
        try:
            # Opened for reading: who may only read the home may ask.
            os.close(lock_handle(lock))
            return None
        except FileNotFoundError:
            return None
        except BlockingIOError:
            holder = _holder(lock.with_suffix(".holder"))
            return None if holder is None else holder.run

    def give_up(self, name: str, run_id: str) -> None:
        """See `RunStore.give_up`; here a lease is held by a process or by nobody."""

    def note(self, change: AliasChange) -> None:
        """See `RunStore.note`."""
        HistoryFile(self._home).note(change)

    def history(self) -> list[AliasChange]:
        """See `RunStore.history`."""
        return HistoryFile(self._home).changes()

    def _read(self, run_id: str) -> Run:
        try:
            return read_run(self._record(run_id).read_bytes())
        except FileNotFoundError:
            raise not_there(run_id) from None
        except OSError as error:
            raise RunError(f"{self._record(run_id)} cannot be read ({error.strerror}); check its permissions") from None
        except NewerFormatError as error:
            raise RunError(f"{self._record(run_id)} {error}") from None
        except ValueError as error:
            # Nobody is told to delete it: the collection of a run that is gone has no owner any more.
            raise RunError(
                f"{self._record(run_id)} is no run record that this keydistill reads ({error}); if another version "
                "wrote it, use that one, else restore it from a backup; the other runs go on without it"
            ) from None

    def _write(self, run: Run) -> Run:
        replace_json(self._record(run.id), stored_run(run))
        return run

    @contextmanager
    def _locked(self, run_id: str) -> Iterator[None]:
        with file_lock(self.folder(run_id) / ".lock"):
            yield

    def _record(self, run_id: str) -> Path:
        return self.folder(run_id) / "run.json"

    def _ids(self) -> list[str]:
        return [record.parent.name for record in (self._home / "runs").glob("*/run.json")]


def _holder(path: Path) -> _Holder | None:
    """Who took a lease last; None where nobody did, or where a crash left no whole file."""
    try:
        return read_json(_Holder, path.read_bytes())
    except (FileNotFoundError, ValueError):
        return None
