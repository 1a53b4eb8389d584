"""What a store that several machines share does beyond `RunStore`: for workers, their watchdog and schedules.

A lease there does not end with a process: it expires unless it is renewed, and it can be kept for a run which no
process works on just now.
"""

from dataclasses import dataclass
from typing import Protocol, Self

from keydistill.runs.store import Lease, RunStore
from keydistill.runs.stored_json import read_json

# Prefix of the queues that messages to workers wait in, beside the records.
QUEUE_PREFIX = "keydistill:celery:"
# Header of a message: when it was sent, in seconds since 1970.
SENT_AT = "keydistill_sent_at"


@dataclass(frozen=True, slots=True)
class OldestMessage:
    """A message that waits: its digest, and when it was sent, in seconds since 1970, if it says so."""

    digest: str
    sent_at: float | None


@dataclass(frozen=True, slots=True)
class Fired:
    """The last start of a schedule.

    Attributes:
        at: Time at which the schedule fired.
        run: Id of the run that it started, then or before.
        said: Reason why it started no run, or None.
    """

    at: str
    run: str | None
    said: str | None

    @classmethod
    def parse(cls, text: str | bytes) -> Self:
        """Read a stored record, as `read_json` does."""
        return read_json(cls, text)


class SharedLease(Lease, Protocol):
    """A lease that expires unless its process renews it."""

    @property
    def owner(self) -> str:
        """The process that holds the lease, as HOST:PID:CHANCE."""

    def leave_to_run(self, seconds: float) -> None:
        """Let go of the lease so that for some seconds only a process of the same run can take it."""

    def release(self) -> None:
        """Let go of the lease; does nothing where it is not held any more."""


class ScheduleMarks(Protocol):
    """Marks of schedules, by their names: whether each is paused, and what it did last."""

    def pause(self, name: str) -> None:
        """Note that a schedule is to start nothing."""

    def resume(self, name: str) -> None:
        """Note that a schedule may start runs again."""

    def is_paused(self, name: str) -> bool:
        """Whether a schedule is to start nothing."""

    def note(self, name: str, fired: Fired) -> None:
        """Note what a schedule did; it replaces what the schedule did before."""

    def last(self, name: str) -> Fired | None:
        """The last start of a schedule, if there was one."""


class SharedRunStore(RunStore, Protocol):
    """A store of runs for several machines, with what their workers must know of each other."""

    def acquire(self, name: str, run_id: str) -> SharedLease:
        """A lease that the caller gives back.

        Raises:
            RunBusyError: See `RunStore.lease`.
        """

    def reserve(self, name: str, run_id: str, seconds: float) -> None:
        """Keep a lease for a run that no process is working on just now. Of one that a process holds it does nothing.

        Raises:
            RunBusyError: Another run holds it.
        """

    def owner(self, name: str) -> str | None:
        """The process that holds a lease, as HOST:PID:CHANCE; None where there is none, or it is only reserved."""

    def messages_waiting(self, queue: str) -> int:
        """Number of messages in a queue of the workers that none has taken."""

    def oldest_message(self, queue: str) -> OldestMessage | None:
        """The message that is taken next from a queue of the workers; None where it is empty."""

    def is_first_in(self, seconds: int, what: str) -> bool:
        """Whether nobody has asked this of `what` for so long, so that it is for the caller to do."""

    def check_format(self) -> None:
        """Check that all others who use the store keep runs in the same format.

        Raises:
            RedisUnavailableError: It cannot be reached, or keydistill of another version uses it.
        """

    @property
    def schedules(self) -> ScheduleMarks:
        """The marks of the schedules."""

    def eviction_policy(self) -> str | None:
        """What the server does when its memory is full, in Redis' words; None where it does not say."""
