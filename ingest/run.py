"""The record of a run: everything that a reindex knows about itself, and the moves it may make."""

import secrets
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from datetime import UTC, datetime
from typing import Any, Literal, Self

from errors import RunStateError

State = Literal["planned", "snapshot", "building", "verifying", "ready", "live", "retired", "failed", "cancelled"]

# The one table of allowed moves. A failed run may take up again the state it failed in.
ALLOWED_MOVES: Mapping[State, frozenset[State]] = {
    "planned": frozenset({"snapshot", "failed", "cancelled"}),
    "snapshot": frozenset({"building", "failed", "cancelled"}),
    "building": frozenset({"verifying", "failed", "cancelled"}),
    "verifying": frozenset({"ready", "failed", "cancelled"}),
    "ready": frozenset({"live", "failed", "cancelled"}),
    "live": frozenset({"retired"}),
    "retired": frozenset({"live"}),
    "failed": frozenset({"planned", "snapshot", "building", "verifying", "ready", "cancelled"}),
    "cancelled": frozenset(),
}


# Runs in these states can be resumed, or are being worked on.
OPEN_STATES: frozenset[State] = frozenset({"planned", "snapshot", "building", "verifying", "failed"})


@dataclass(frozen=True, slots=True)
class Run:
    """One reindex. Never changed: a move makes a new record that replaces the old one in the store.

    Attributes:
        id: Starts with the time it was made, so that ids sort by age.
        files: Inventory files, absolute paths.
        categories: File of the category tree, if one was given.
        student: What the student is loaded from.
        student_version: The version it must turn out to be.
        alias: Behind which the collection is to stand.
        collection: The collection that this run builds.
        previous_target: What the alias named when the run was made; the swap happens only if it still does.
        swap: Whether to swap once the collection is verified.
        rows, parts: Size of the snapshot; 0 until there is one.
        parts_done: Numbers of the parts whose every point is in the collection.
        failed_in: The state in which it failed.
        error: Why it failed, one line.
        timings: Seconds per step, summed over resumptions.
        report: What the verification found.
    """

    id: str
    kind: Literal["reindex"]
    state: State
    created_at: str
    updated_at: str
    files: tuple[str, ...]
    categories: str | None
    student: str
    student_version: str
    dimension: int
    alias: str
    collection: str
    previous_target: str | None
    swap: bool
    rows: int = 0
    parts: int = 0
    parts_done: tuple[int, ...] = ()
    failed_in: State | None = None
    error: str | None = None
    timings: Mapping[str, float] = field(default_factory=dict)
    report: Mapping[str, Any] = field(default_factory=dict)

    def moved(self, state: State, **changes: Any) -> Self:
        """This run in another state.

        Raises:
            RunStateError: The table has no such move.
        """
        if state not in ALLOWED_MOVES[self.state]:
            allowed = ", ".join(sorted(ALLOWED_MOVES[self.state])) or "nothing"
            raise RunStateError(f"run {self.id} is {self.state} and cannot become {state}; allowed: {allowed}")
        return self.changed(state=state, **changes)

    def changed(self, **changes: Any) -> Self:
        """This run with other values and a new `updated_at`."""
        return replace(self, updated_at=now(), **changes)

    def timed(self, step: str, seconds: float) -> Self:
        """This run with seconds added to a step's time."""
        return self.changed(timings={**self.timings, step: round(self.timings.get(step, 0.0) + seconds, 3)})

    def as_dict(self) -> dict[str, Any]:
        """Plain values for JSON."""
        return asdict(self)

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Self:
        """The inverse of `as_dict`, also after a trip through JSON."""
        tuples = {name: tuple(values[name]) for name in ("files", "parts_done")}
        return cls(**{**values, **tuples})


def new_run_id() -> str:
    """An id such as `20261123-184502-3f9a1c`: the time in UTC, and chance for those made in the same second."""
    return f"{datetime.now(UTC):%Y%m%d-%H%M%S}-{secrets.token_hex(3)}"


def now() -> str:
    """The time in UTC, ISO 8601, to the second."""
    return datetime.now(UTC).isoformat(timespec="seconds")
