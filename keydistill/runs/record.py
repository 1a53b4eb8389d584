"""The record of a run: everything that long work knows about itself, and the moves it may make."""

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from typing import Annotated, Any, ClassVar, Literal, Self, cast

from pydantic import ConfigDict, Field

from keydistill.errors import RunError, RunStateError, one_line
from keydistill.files import stamped, without_stamp
from keydistill.runs.moves import MOVES, Kind, State, open_states, working_states
from keydistill.runs.stamps import Pause, now
from keydistill.runs.stored_json import read_json

Executor = Literal["local", "celery"]


@dataclass(frozen=True, slots=True)
class StepProgress:
    """Progress of a step: `done` of `total` (None where nobody knows it) in `unit`, since `began_at`."""

    step: str
    total: int | None
    unit: str
    done: int
    began_at: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Run:
    """The record of a run. It never changes: a move makes a new record that replaces the old one in the store.

    Attributes:
        id: Id that starts with the time of its making, so that ids sort by age.
        kind: Kind of the run, which decides the class of the record.
        executor: Whether one process does all the work, or Celery workers do.
        started_by: Who started the run, as USER@HOST, or which schedule did.
        failed_in: State in which the run failed.
        error: Reason of the failure, or of a promotion that was refused, one line.
        timings: Seconds per step, summed over resumptions.
        progress: Progress of the present step.
        attempts: Number of times that a worker took up each state or part; finished ones are taken out.
        paused: Mark that keeps everybody from going on with the run, if there is one.
        trace: Span that the run was ordered in (`keydistill.telemetry.carried`), with whose trace all work goes on.
    """

    # An unknown field is another version's: it would be lost with the next change of the record, so it is refused.
    __pydantic_config__: ClassVar[ConfigDict] = ConfigDict(extra="forbid")

    id: str
    kind: Kind
    state: State
    created_at: str
    updated_at: str
    executor: Executor = "local"
    started_by: str | None = None
    failed_in: State | None = None
    error: str | None = None
    timings: Mapping[str, float] = field(default_factory=dict)
    progress: StepProgress | None = None
    attempts: Mapping[str, int] = field(default_factory=dict)
    paused: Pause | None = None
    trace: str | None = None

    @property
    def lease_name(self) -> str:
        """Name of the lease that only one such run at a time may hold."""
        raise NotImplementedError

    @property
    def is_over(self) -> bool:
        """Whether nothing is left to do, also not by resuming."""
        return self.state not in open_states(self.kind)

    @property
    def is_at_rest(self) -> bool:
        """Whether nobody works on the run: it is over, or it failed and waits to be resumed."""
        return self.is_over or self.state == "failed"

    @property
    def is_paused(self) -> bool:
        """Whether there is work left that nobody is to do until the run is resumed."""
        return self.paused is not None and not self.is_at_rest

    def moved(self, state: State, **changes: Any) -> Self:
        """This run in another state.

        Raises:
            RunStateError: The table of its kind has no such move.
        """
        allowed = MOVES[self.kind][self.state]
        if state not in allowed:
            raise RunStateError(
                f"run {self.id} is {self.state} and cannot become {state}; "
                f"allowed: {', '.join(sorted(allowed)) or 'nothing'}"
            )
        attempts = {name: count for name, count in self.attempts.items() if name != self.state}
        # A run that ends or fails is paused no longer: whoever takes it up again wants it to go on.
        paused = self.paused if state in working_states(self.kind) else None
        return self.changed(state=state, **{"progress": None, "attempts": attempts, "paused": paused, **changes})

    def failed(self, error: object) -> Self:
        """This run failed in its present state; an error without a text is known by its name."""
        reason = one_line(" ".join(str(error).split())) or type(error).__name__
        return self.moved("failed", failed_in=self.state, error=reason)

    def reopened(self) -> Self:
        """A failed run in the state that it failed in, any other as it is.

        Raises:
            RunStateError: There is nothing left to do.
        """
        if self.is_over:
            raise RunStateError(f"run {self.id} is {self.state}: there is nothing to resume")
        if self.state != "failed":
            return self
        if self.failed_in is None:
            raise RunError(f"run {self.id} does not say in which state it failed; start a new one")
        return self.moved(self.failed_in, error=None, failed_in=None, attempts={})

    def changed(self, **changes: Any) -> Self:
        """This run with other values and a new `updated_at`."""
        return replace(self, updated_at=now(), **changes)

    def traced(self, trace: str | None) -> Self:
        """This run in a trace, unless it is in one already."""
        return self if trace is None or self.trace is not None else self.changed(trace=trace)

    def timed(self, step: str, seconds: float) -> Self:
        """This run with seconds added to a step's time."""
        return self.changed(timings={**self.timings, step: round(self.timings.get(step, 0.0) + seconds, 3)})

    def attempted(self, what: str) -> Self:
        """This run with one more attempt at a state or part."""
        return self.changed(attempts={**self.attempts, what: self.attempts.get(what, 0) + 1})

    def not_attempted(self, what: str) -> Self:
        """This run with one attempt less: it was not the work's fault that it did not end."""
        attempts = {**self.attempts, what: self.attempts.get(what, 0) - 1}
        return self.changed(attempts={name: count for name, count in attempts.items() if count > 0})

    def as_dict(self) -> dict[str, Any]:
        """Plain values for JSON."""
        return asdict(self)


@dataclass(frozen=True, slots=True, kw_only=True)
class ReindexRun(Run):
    """A run that builds a collection.

    Attributes:
        files: Inventory files, absolute paths.
        categories: File of the category tree, if one was given.
        student: Folder or model name that the student is loaded from.
        student_version: Version that the loaded student must have.
        settings: Settings that decide the result; they override those of the process that works on the run.
        alias: Alias that is to name the collection.
        collection: The collection that this run builds; where ready collections never change (embedded engine), the
            copy that took its place when a sync changed it last.
        previous_target: Collection that the alias named when the run began; the swap happens only if it still does.
        swap: Whether to swap once the collection is verified.
        rows, parts: Size of the snapshot; 0 until there is one.
        rejected: Rows of the files that the snapshot could not take.
        parts_done: Numbers of the parts whose every point is in the collection.
        parts_redone: Number of times that a part was begun which a worker had begun before.
        report: Report of the verification.
        gate: Report of the gate (`keydistill.ingest.gate.GateReport`), once there is one.
        shadow: What services found that asked the collection beside the live one, before it was live
            (`keydistill.ingest.gate.ShadowSummary`).
        forced: Reason why the collection may be swapped in although the gate refused it.
        journal: The last sync of the alias that was accepted when this run read its inventory; 0 for none. Later ones
            are applied to the collection before it is put live.
    """

    kind: Literal["reindex"]
    files: tuple[str, ...]
    categories: str | None
    student: str
    student_version: str
    dimension: int
    settings: Mapping[str, Any] = field(default_factory=dict)
    alias: str
    collection: str
    previous_target: str | None
    swap: bool
    rows: int = 0
    rejected: int = 0
    parts: int = 0
    parts_done: tuple[int, ...] = ()
    parts_redone: int = 0
    report: Mapping[str, Any] = field(default_factory=dict)
    gate: Mapping[str, Any] = field(default_factory=dict)
    shadow: Mapping[str, Any] = field(default_factory=dict)
    forced: str | None = None
    journal: int = 0

    @property
    def lease_name(self) -> str:
        """Name of the lease that allows one build per alias."""
        return f"build:{self.alias}"

    @property
    def is_over(self) -> bool:
        """Whether nothing is left to do, as also when the run is ready and not to be swapped."""
        # Not super(): a class with slots is made anew by the decorator, and the cell of super() is of the old one.
        return Run.is_over.fget(self) or (self.state == "ready" and not self.swap)  # type: ignore[attr-defined]

    @property
    def missing_parts(self) -> list[int]:
        """Parts that are not done, in order."""
        return sorted(set(range(self.parts)) - set(self.parts_done))

    def with_part(self, number: int) -> Self:
        """This run with one more part done; a part that is done twice counts once."""
        attempts = {name: count for name, count in self.attempts.items() if name != part_name(number)}
        return self.changed(parts_done=tuple(sorted({*self.parts_done, number})), attempts=attempts)

    def with_part_begun(self, number: int) -> Self:
        """This run with one more attempt at a part."""
        run = self.attempted(part_name(number))
        return run.changed(parts_redone=self.parts_redone + (run.attempts[part_name(number)] > 1))


@dataclass(frozen=True, slots=True, kw_only=True)
class SyncRun(Run):
    """A run that brings the collections of an alias to a new state of the inventory.

    Attributes:
        files: Inventory files, absolute paths.
        categories: File of the category tree, if one was given.
        settings: Settings that decide the result.
        alias: Alias whose collections are changed.
        max_removed_share: Share of the live rows above which removals fail the run before anything is changed.
        journal: Number of the run among the accepted syncs of the alias, from 1 on; 0 until its snapshot was accepted.
        rows: Size of the snapshot.
        rejected: Rows of the files that the snapshot could not take.
        changes: Collections, each with the changes that were made in it.
    """

    kind: Literal["sync"]
    files: tuple[str, ...]
    categories: str | None
    settings: Mapping[str, Any] = field(default_factory=dict)
    alias: str
    max_removed_share: float
    journal: int = 0
    rows: int = 0
    rejected: int = 0
    changes: Mapping[str, Any] = field(default_factory=dict)

    @property
    def lease_name(self) -> str:
        """Name of the lease that allows one sync per alias."""
        return f"sync:{self.alias}"


@dataclass(frozen=True, slots=True, kw_only=True)
class RetrainRun(Run):
    """A run that trains an assistant and a student.

    Attributes:
        order: Options that the run was ordered with, as `keydistill.execution.RetrainOrder` reads them.
        present_student, present_assistant: Models that pairs are mined with and the new student is compared with.
        stages_done: Stages whose output is there.
        student, assistant: The new versions, once registered.
        report: Folder of the evaluation's report.
        results: Stages, each with what it reported.
    """

    kind: Literal["retrain"]
    order: Mapping[str, Any]
    present_student: str
    present_assistant: str | None = None
    stages_done: tuple[str, ...] = ()
    student: str | None = None
    assistant: str | None = None
    report: str | None = None
    results: Mapping[str, Any] = field(default_factory=dict)

    @property
    def lease_name(self) -> str:
        """Name of the lease that allows one retrain at a time."""
        return "retrain"


# Raised when a keydistill that reads the former one would misread the new.
_FORMAT = 1
_AnyRun = Annotated[ReindexRun | SyncRun | RetrainRun, Field(discriminator="kind")]


def stored_run(run: Run) -> dict[str, Any]:
    """What is written of a run: its record, with the number of its format."""
    return stamped(_FORMAT, run.as_dict())


def read_run(text: str | bytes) -> Run:
    """The run whose record, as `Run.as_dict` or `stored_run` gives it, was written as JSON.

    Raises:
        NewerFormatError: A newer keydistill wrote it.
        ValueError: The text is no record of a run; the message is one line.
    """
    return run_of_values(json.loads(text))


def run_of_values(values: Any) -> Run:
    """`read_run` of a record whose JSON is read already."""
    if isinstance(values, dict):
        values = without_stamp(values, _FORMAT)
    run: Run = read_json(cast(type[Run], _AnyRun), json.dumps(values))
    if run.state not in MOVES[run.kind]:
        raise ValueError(f"state {run.state!r} of a {run.kind}; expected one of {', '.join(MOVES[run.kind])}")
    return run


def part_name(number: int) -> str:
    """Name of a part among the attempts and the leases."""
    return f"part {number}"
