"""A retrain as a run: its record, its lease, and carrying out its stages."""

import time
from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager
from pathlib import Path

from keydistill.distillation.pairs import labels_of
from keydistill.distillation.registry import Registry, resolve_assistant, resolve_student
from keydistill.distillation.retrain import STAGES, Retrain, RetrainResult, StageResult, why_worse
from keydistill.encoders.judge import Judge
from keydistill.errors import RedisUnavailableError, RunBusyError, RunNotFoundError, RunStateError
from keydistill.execution.judge_choice import judge_of
from keydistill.execution.local import LocalWork
from keydistill.execution.retrain_order import OWN_JUDGMENTS, RetrainOrder
from keydistill.files import file_lock
from keydistill.progress import Progress
from keydistill.runs import (
    Executor,
    Lease,
    RecordedProgress,
    RetrainRun,
    RunStore,
    new_run_id,
    now,
    present_user,
    retrain_of,
)
from keydistill.settings import Settings
from keydistill.telemetry import carried, span

Warn = Callable[[str], object]

# A stage takes hours; a run that was cancelled, or whose process slept through the end of its lease, is to stop sooner.
_SECONDS_BETWEEN_CHECKS = 2.0
_SECONDS_AFTER_A_FAILURE = 30.0


def new_retrain(
    settings: Settings, order: RetrainOrder, *, executor: Executor = "local", started_by: str | None = None
) -> RetrainRun:
    """A record of a new retrain, which is in no store yet.

    Raises:
        InputError: A file or folder is missing.
        SettingsError: There is no judge, or several.
        TrainingError: The recipe cannot be followed.
        ModelNotFoundError: The present student or assistant is in no registry.
    """
    order = order.with_judge_of(settings).absolute()
    order.check(settings)
    created_at = now()
    return RetrainRun(
        id=new_run_id(),
        kind="retrain",
        state="planned",
        created_at=created_at,
        updated_at=created_at,
        executor=executor,
        started_by=started_by or present_user(),
        trace=carried(),
        order=order.model_dump(mode="json"),
        present_student=resolve_student(settings),
        present_assistant=resolve_assistant(settings),
    )


class Retrainer(LocalWork[RetrainRun]):
    """Makes retrains and carries them out.

    Attributes:
        result: Result of the retrain, once it is done.
    """

    # Nor does a run fail where another process has the folder, or the store is away, for the moment: hours of training
    # are not called failed for that.
    NOT_OURS = (*LocalWork.NOT_OURS, RunBusyError, RunNotFoundError, RedisUnavailableError)

    def __init__(self, settings: Settings, store: RunStore, progress: Progress, warn: Warn) -> None:
        """A retrainer that opens nothing yet; `warn` is called with each new run, and with rows that cannot be used."""
        super().__init__(store, retrain_of, progress)
        self._settings = settings
        self._warn = warn
        self._only: Collection[str] = STAGES
        self.result: RetrainResult | None = None

    def start(self, order: RetrainOrder) -> RetrainRun:
        """Make a retrain and carry it out; returns and raises as `resume` does."""
        with span("order retrain"):
            return self._begin(new_retrain(self._settings, order))

    def do_stages(self, run: RetrainRun, lease: Lease, only: Collection[str]) -> RetrainRun:
        """Do the stages in `only`, as far as they follow each other; returns and raises as `resume` does."""
        self._only = only
        return self._carry_out(run, lease)

    def _added(self, run: RetrainRun) -> None:
        # A user whose process is killed must know what to resume.
        self._warn(f"retrain {run.id}")
        self._say_own_judgments(run)

    def _say_own_judgments(self, run: RetrainRun) -> None:
        if RetrainOrder.of(run.order).own_judgments:
            self._warn(OWN_JUDGMENTS)

    def _reopened(self, run: RetrainRun, lease: Lease) -> RetrainRun:
        with self._alone_in(self._folder(run)):
            # It is this process's run from now on: workers must not take it up when this process is interrupted.
            reopened = self._store.update(
                run.id, lambda now: now.reopened().traced(carried()).changed(executor="local"), lease
            )
        return retrain_of(reopened)

    def _work(self, run: RetrainRun, lease: Lease) -> RetrainRun:
        with self._alone_in(self._folder(run)):
            if run.state == "planned":
                run = self._update(run, lambda now: now.moved("training"), lease)
            guard = self._guard(lease)
            progress = _WatchedProgress(self._progress, RecordedProgress(self._store, run.id), guard)
            work = self._retrain(run)
            run = self._forget_stages(run, work, lease)
            self.result = work.run(
                progress, only=self._only, guard=guard, on_stage=lambda stage: self._record(run, stage, lease)
            )
            if self.result is None:
                assert self.run is not None
                return self.run
            guard()
            return self._finish(run, self.result, lease)

    def plan(self, order: RetrainOrder, run: RetrainRun | None = None) -> dict[str, bool]:
        """Stages, each with whether its output is there already; changes nothing."""
        planned = run or new_retrain(self._settings, order)
        self._say_own_judgments(planned)
        return self._retrain(planned).plan()

    def _retrain(self, run: RetrainRun) -> Retrain:
        order = RetrainOrder.of(run.order)
        self._progress.start("read", None, "")
        inputs = order.inputs(self._settings, self._warn, run.present_student)
        judge: Judge
        if order.own_judgments and inputs.judgments is not None:
            judge = labels_of(inputs.judgments, inputs.files["judgments"])
        else:
            judge = judge_of(self._settings, order.model_dump())
        return Retrain(
            self._folder(run),
            inputs,
            judge,
            Registry.of(self._settings),
            student=run.present_student,
            assistant=run.present_assistant,
            recipe=order.recipe(),
            cache=self._settings.home / "judgments.sqlite",
            threads=self._settings.threads,
        )

    def _folder(self, run: RetrainRun) -> Path:
        return self._settings.home / "retrains" / run.id

    def _guard(self, lease: Lease) -> Callable[[], None]:
        def guard() -> None:
            lease.check()
            state = self._store.load(lease.run_id).state
            if state != "training":
                raise RunStateError(f"run {lease.run_id} is {state}: it stops here; what is done is kept")

        return guard

    def _forget_stages(self, run: RetrainRun, work: Retrain, lease: Lease) -> RetrainRun:
        """The run without the stages that must be done again, as an input or a setting changed after they were done."""
        is_done = work.plan()
        if all(is_done[name] for name in run.stages_done):
            return run
        return self._update(
            run, lambda now: now.changed(stages_done=tuple(name for name in now.stages_done if is_done[name])), lease
        )

    def _record(self, run: RetrainRun, stage: StageResult, lease: Lease) -> None:
        def done(run: RetrainRun) -> RetrainRun:
            # A stage whose output was there already ends no attempt: else two workers that do not agree on what must be
            # done again would send the run to and fro for ever.
            attempts = {name: count for name, count in run.attempts.items() if name != stage.name or stage.skipped}
            return run.changed(
                stages_done=tuple(dict.fromkeys((*run.stages_done, stage.name))),
                timings={**run.timings, stage.name: round(stage.seconds, 3)},
                results={**run.results, stage.name: stage.result},
                attempts=attempts,
            )

        self._update(run, done, lease)

    def _finish(self, run: RetrainRun, result: RetrainResult, lease: Lease) -> RetrainRun:
        order = RetrainOrder.of(run.order)
        worse = why_worse({stage.name: stage.result for stage in result.stages}["evaluate"])
        refused = None
        if order.promote and worse is not None and order.promote_worse is None:
            refused = (
                f"not promoted, as the new student is clearly worse than the present one ({worse}); "
                f"if it is to be used, `keydistill models promote {result.student.full_name} --reason REASON`"
            )
        elif order.promote:
            reason = f"retrain {run.id}"
            if worse is not None:
                reason += f", although clearly worse ({worse}): {order.promote_worse}"
            for version in (result.assistant, result.student):
                Registry.of(self._settings).promote(version, reason=reason)
        return self._update(
            run,
            lambda now: now.moved(
                "done",
                student=result.student.full_name,
                assistant=result.assistant.full_name,
                report=str(result.report),
                error=refused,
                attempts={},
            ),
            lease,
        )

    def _update(self, run: RetrainRun, change: Callable[[RetrainRun], RetrainRun], lease: Lease) -> RetrainRun:
        self.run = retrain_of(self._store.update(run.id, lambda now: change(retrain_of(now)), lease))
        return self.run

    @contextmanager
    def _alone_in(self, folder: Path) -> Iterator[None]:
        """Lock a folder: a lease may run out while its process is only paused, and two must not write its files."""
        lock = folder / ".lock"
        try:
            with file_lock(lock, blocking=False):
                yield
        except BlockingIOError:
            raise RunBusyError(f"another process still works in {folder}; wait for it, or end it") from None


class _WatchedProgress:
    """Progress that is shown and recorded, and checks every few seconds whether the work should go on.

    An error of the check goes through the stage as Ctrl-C would: checkpoints and judgments are kept.
    """

    def __init__(self, shown: Progress, recorded: Progress, check: Callable[[], None]) -> None:
        self._targets = (shown, recorded)
        self._check = check
        self._next_check = time.monotonic() + _SECONDS_BETWEEN_CHECKS

    def start(self, step: str, total: int | None, unit: str) -> None:
        """Start a step in both, and check if it is time."""
        for target in self._targets:
            target.start(step, total, unit)
        self._check_now_and_then()

    def advance(self, count: int) -> None:
        """Advance both, and check if it is time."""
        for target in self._targets:
            target.advance(count)
        self._check_now_and_then()

    def _check_now_and_then(self) -> None:
        if time.monotonic() < self._next_check:
            return
        pause = _SECONDS_BETWEEN_CHECKS
        try:
            self._check()
        except RedisUnavailableError:
            # Training goes on while Redis is away; before the next stage it must be there.
            pause = _SECONDS_AFTER_A_FAILURE
        self._next_check = time.monotonic() + pause
