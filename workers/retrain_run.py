"""A retrain as a run: its record, its lease, and who carries out which stages."""

from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import cast

from distillation import Registry, Retrain, resolve_assistant, resolve_student
from distillation.retrain import STAGES, RetrainResult
from distillation.stages import StageResult
from errors import KeydistillError, LeaseLostError, RunBusyError, RunError, RunStateError
from files import file_lock
from ingest.progress import Progress
from runs import Lease, RetrainRun, Run, RunStore, new_run_id, now
from runs.record import Executor, present_user
from settings import Settings
from workers.judge_choice import judge_of
from workers.retrain_order import RetrainOrder

Warn = Callable[[str], object]


def new_retrain(
    settings: Settings, order: RetrainOrder, *, executor: Executor = "local", started_by: str | None = None
) -> RetrainRun:
    """The record of a retrain that is not begun, and in no store yet.

    Raises:
        InputError: A file or folder is missing.
        SettingsError: There is no judge.
        ModelNotFoundError: The present student or assistant is in no registry.
    """
    order = order.absolute()
    order.check(settings)
    made = now()
    return RetrainRun(
        id=new_run_id(),
        kind="retrain",
        state="planned",
        created_at=made,
        updated_at=made,
        executor=executor,
        started_by=started_by or present_user(),
        order=order.model_dump(mode="json"),
        present_student=resolve_student(settings),
        present_assistant=resolve_assistant(settings),
    )


def next_stage(run: Run) -> str:
    """The first stage that is not done; "register" after all of them."""
    done = retrain_of(run).stages_done
    return next((stage for stage in STAGES if stage not in done), "register")


def retrain_of(run: Run) -> RetrainRun:
    """A record that must be that of a retrain.

    Raises:
        RunStateError: It is of another kind.
    """
    if not isinstance(run, RetrainRun):
        raise RunStateError(f"run {run.id} is a {run.kind}; go on with it by `keydistill {run.kind} --resume {run.id}`")
    return run


class Retrainer:
    """Carries retrains out.

    Attributes:
        run: The run at hand, as it was last recorded.
        result: What came of it, once it is done.
    """

    def __init__(self, settings: Settings, store: RunStore, progress: Progress, warn: Warn) -> None:
        self._settings = settings
        self._store = store
        self._progress = progress
        self._warn = warn
        self.run: RetrainRun | None = None
        self.result: RetrainResult | None = None

    def start(self, order: RetrainOrder) -> RetrainRun:
        """Make a run and carry it out; see `resume` for what it returns and raises."""
        run = new_retrain(self._settings, order)
        with self._store.lease(run.lease_name, run.id) as lease:
            self._store.add(run)
            return self.carry_out(run, lease)

    def resume(self, run_id: str) -> RetrainRun:
        """Take up a retrain that was interrupted or failed, and carry it to its end.

        Raises:
            RunStateError: It is over.
            RunBusyError: Another process is working on it.
            KeydistillError: A stage failed; the record says why.
        """
        run = retrain_of(self._store.load(run_id))
        with self._store.lease(run.lease_name, run.id) as lease:
            reopened = self._store.update(run.id, lambda now: now.reopened(), lease)
            return self.carry_out(retrain_of(reopened), lease)

    def carry_out(self, run: RetrainRun, lease: Lease, only: Collection[str] = STAGES) -> RetrainRun:
        """Do the stages in `only`, as far as they come one after the other; see `resume`."""
        self.run = run
        try:
            with self._alone_in(self._folder(run)):
                if run.state == "planned":
                    self._update(lambda now: now.moved("training"), lease)
                self.result = self._work(run).run(
                    self._progress,
                    only=only,
                    guard=self._guard(lease),
                    on_stage=lambda stage: self._record(stage, lease),
                )
                if self.result is not None:
                    self._finish(run, self.result, lease)
        except KeyboardInterrupt:
            raise  # resumable as it is
        except (RunStateError, RunBusyError, LeaseLostError):
            raise  # cancelled, or another process goes on with it
        except Exception as error:
            reason = str(error)
            with suppress(OSError, RunError):
                self._store.update(run.id, lambda now: now.failed(reason))
            if isinstance(error, KeydistillError):
                raise type(error)(
                    f"run {run.id} failed: {error}; mend it, then `keydistill retrain --resume {run.id}`"
                ) from error
            raise
        return self.run

    def plan(self, order: RetrainOrder, run: RetrainRun | None = None) -> dict[str, bool]:
        """Stage to whether its output is there already; changes nothing."""
        return self._work(run or new_retrain(self._settings, order)).plan()

    def _work(self, run: RetrainRun) -> Retrain:
        order = RetrainOrder.of(run.order)
        self._progress.start("read", None, "")
        return Retrain(
            self._folder(run),
            order.inputs(self._settings, self._warn),
            judge_of(self._settings, order.model_dump()),
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

    def _record(self, stage: StageResult, lease: Lease) -> None:
        def done(run: RetrainRun) -> RetrainRun:
            attempts = {name: count for name, count in run.attempts.items() if name != stage.name}
            return run.changed(
                stages_done=tuple(dict.fromkeys((*run.stages_done, stage.name))),
                timings={**run.timings, stage.name: round(stage.seconds, 3)},
                results={**run.results, stage.name: stage.result},
                attempts=attempts,
            )

        self._update(done, lease)

    def _finish(self, run: RetrainRun, result: RetrainResult, lease: Lease) -> None:
        if RetrainOrder.of(run.order).promote:
            lease.check()
            for version in (result.assistant, result.student):
                Registry.of(self._settings).promote(version, reason=f"retrain {run.id}")
        self._update(
            lambda now: now.moved(
                "done",
                student=result.student.full_name,
                assistant=result.assistant.full_name,
                report=str(result.report),
            ),
            lease,
        )

    def _update(self, change: Callable[[RetrainRun], RetrainRun], lease: Lease) -> None:
        assert self.run is not None
        changed = self._store.update(self.run.id, lambda run: change(cast(RetrainRun, run)), lease)
        self.run = cast(RetrainRun, changed)

    @contextmanager
    def _alone_in(self, folder: Path) -> Iterator[None]:
        """A lease may run out while its process is only paused: two must not write the same files."""
        lock = folder / ".lock"
        try:
            with file_lock(lock, blocking=False):
                yield
        except BlockingIOError:
            raise RunBusyError(f"another process still works in {folder}; wait for it, or end it") from None
