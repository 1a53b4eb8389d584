"""What every store of runs does: one protocol, two implementations with the same tests.

A lease says who may work: a run holds it, through one process at a time. Its token grows with every holder, so that a
process that slept through the end of its lease is found out (a fencing token: Kleppmann, "How to do distributed
locking", 2016).
"""

from collections.abc import Callable, Iterable
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Protocol

from keydistill.errors import RunBusyError, RunNotFoundError, RunStateError
from keydistill.runs.history import AliasChange
from keydistill.runs.record import Run
from keydistill.runs.stamps import is_run_id

Change = Callable[[Run], Run]


class Lease(Protocol):
    """A lease that this process holds for a run."""

    @property
    def name(self) -> str:
        """Name of what the lease is on."""

    @property
    def run_id(self) -> str:
        """Id of the run that it is held for."""

    @property
    def token(self) -> int:
        """Number that is greater than that of every earlier holder."""

    def check(self) -> None:
        """Return if the lease is still held.

        Raises:
            LeaseLostError: The lease ran out, and somebody else may hold it.
        """


class RunStore(Protocol):
    """A place for run records and leases.

    Every method raises RedisUnavailableError where the store is behind a server that cannot be reached.
    """

    def add(self, run: Run) -> Run:
        """Put a new run into the store; when this returns it survives a crash of the process.

        Raises:
            RunStateError: There is a run of that id already.
        """

    def load(self, run_id: str) -> Run:
        """Read a record; a prefix of the id will do if it fits one run only.

        Raises:
            RunNotFoundError: No run has that id, or several begin like it.
        """

    def all(self) -> list[Run]:
        """All runs, newest first; one that cannot be read is left out, with a warning in the log."""

    def is_lost(self, run_id: str) -> bool:
        """Whether the store has lost the record of a run, so that only a copy of it is left."""

    def restore(self, run_id: str) -> None:
        """Put the copy of a run that the store has lost back into it; does nothing for one that is there."""

    def update(self, run_id: str, change: Change, lease: Lease | None = None) -> Run:
        """Change a record in one step: `change` is given the present record and may be called more than once.

        Args:
            run_id: The full id.
            change: Function that returns the new record; an error of it is passed on, and nothing is changed.
            lease: Lease without which nothing is changed, if one is given.

        Returns:
            The new record.

        Raises:
            RunNotFoundError: There is no run of that id.
            LeaseLostError: The lease ran out.
        """

    def forget(self, run_id: str) -> None:
        """Remove the record of a run that nobody works on, and this machine's folder of its files.

        Raises:
            RunNotFoundError: There is no run of that id.
            RunStateError: It is neither over nor failed.
        """

    def lease(self, name: str, run_id: str) -> AbstractContextManager[Lease]:
        """Hold a lease while the block runs; it is renewed all the time and given back at the end.

        Raises:
            RunBusyError: Another run holds it, or another process for the same run; the message names the run.
        """

    def holder(self, name: str) -> str | None:
        """Id of the run that holds a lease."""

    def give_up(self, name: str, run_id: str) -> None:
        """Let go of a lease that is kept for a run which no process works on; of any other it does nothing."""

    def note(self, change: AliasChange) -> None:
        """Add a line to the audit log; when this returns it survives a crash of the process."""

    def history(self) -> list[AliasChange]:
        """The audit log, oldest line first."""

    def installation(self) -> str:
        """Id of the installation whose runs these are; it is made once, and owns the aliases that it put live."""

    def folder(self, run_id: str) -> Path:
        """This machine's folder of a run's files."""


def not_there(run_id: str) -> RunNotFoundError:
    """The error for an id that no run has."""
    return RunNotFoundError(f"run {run_id!r}: there is none; `keydistill runs list` shows them all")


def check_at_rest(run: Run) -> None:
    """Raise unless nobody works on a run.

    Raises:
        RunStateError: Somebody may.
    """
    if not run.is_at_rest:
        raise RunStateError(f"run {run.id} is {run.state}; cancel it before it is forgotten")


def whole_id(prefix: str, ids: Iterable[str]) -> str:
    """The one id that is, or begins with, `prefix`.

    Raises:
        RunNotFoundError: There is none, or there are several.
    """
    matches = [run_id for run_id in ids if run_id.startswith(prefix)]
    if prefix in matches:
        return prefix
    if len(matches) != 1 or not prefix:
        reason = f"{len(matches)} runs begin with it" if matches else "there is none"
        raise RunNotFoundError(f"run {prefix!r}: {reason}; `keydistill runs list` shows them all")
    return matches[0]


def busy(name: str, holder: str, run_id: str) -> RunBusyError:
    """The error for a run that finds a lease held by another."""
    if holder == run_id:
        return RunBusyError(
            f"another process is working on run {run_id}; follow it with `keydistill runs watch {run_id}`"
        )
    if not is_run_id(holder):
        return RunBusyError(f"{holder} holds {name!r} at this moment; try again when it is done")
    doing = f"is building for alias {name.partition(':')[2]!r}" if name.startswith("build:") else f"holds {name!r}"
    return RunBusyError(
        f"run {holder} {doing}; wait for it (`keydistill runs watch {holder}`) or stop it "
        f"(`keydistill runs cancel {holder}`)"
    )
