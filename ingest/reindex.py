"""A reindex in one process: inventory -> snapshot -> new collection -> verified -> alias swapped."""

import errno
from collections.abc import Sequence
from pathlib import Path

from errors import KeydistillError, LeaseLostError, RunError, RunStateError
from ingest.progress import NoProgress, Progress
from ingest.reindex_steps import ReindexSteps
from runs import Lease, ReindexRun, Run, open_store
from settings import Settings
from vectorstore import Engine


class Reindexer:
    """Makes runs and carries them out.

    Attributes:
        run: The run at hand, as it was last recorded; what to resume when a call is interrupted.
    """

    def __init__(self, settings: Settings, engine: Engine, progress: Progress | None = None) -> None:
        self._store = open_store(settings)
        self._progress = progress or NoProgress()
        self._steps = ReindexSteps(settings, engine, self._store, self._progress)
        self.run: ReindexRun | None = None

    def start(self, files: Sequence[Path], *, categories: Path | None = None, swap: bool = True) -> ReindexRun:
        """Make a run and carry it out; see `resume` for what it returns and raises."""
        run = self._steps.new_run(files, categories=categories, swap=swap)
        with self._store.lease(run.lease_name, run.id) as lease:
            self.run = run
            self._store.add(run)
            return self._carry_out(run, lease)

    def resume(self, run_id: str) -> ReindexRun:
        """Take up a run that was interrupted or failed, and carry it to its end.

        Returns:
            The run: live, or ready where it was made with `swap=False`.

        Raises:
            RunStateError: It is over.
            RunBusyError: Another process is working on it.
            StudentMismatchError: The student is no longer the one that the run began with.
            KeydistillError: A step failed; the record says why, and what was live before still is.
        """
        run = reindex_of(self._store.load(run_id))
        self._store.restore(run.id)
        with self._store.lease(run.lease_name, run.id) as lease:
            return self._carry_out(reindex_of(self._store.update(run.id, lambda now: now.reopened(), lease)), lease)

    def _carry_out(self, run: ReindexRun, lease: Lease) -> ReindexRun:
        self.run = run
        while not self.run.is_over:
            try:
                if self.run.state == "building":
                    self._embed(self.run, lease)
                self.run = self._steps.advance(self.run, lease)
            except KeyboardInterrupt:
                raise  # the record stands as it is: resumable
            except (RunStateError, LeaseLostError):
                raise  # cancelled, or another process goes on with it: the record is not ours
            except Exception as error:
                self._record_failure(run.id, error, lease)
                raise _as_ours(error, self.run) from error
        return self.run

    def _embed(self, run: ReindexRun, lease: Lease) -> None:
        missing = run.missing_parts
        if missing:
            self._progress.start("embed and upsert", self._steps.rows_of(run, missing), "keyphrases")
        for number in missing:
            self.run = self._steps.embed_part(run, number, lease)

    def _record_failure(self, run_id: str, error: Exception, lease: Lease) -> None:
        try:
            self._store.update(run_id, lambda now: now.failed(error), lease)
        except (RunStateError, LeaseLostError) as lost:
            raise lost from error  # what failed here is no longer for us to say
        except (OSError, RunError):
            pass  # a full disk may be what failed; then the record stays as it is, which can be resumed too


def reindex_of(run: Run) -> ReindexRun:
    """A record that must be that of a reindex.

    Raises:
        RunStateError: It is of another kind.
    """
    if not isinstance(run, ReindexRun):
        raise RunStateError(f"run {run.id} is a {run.kind}; go on with it by `keydistill {run.kind} --resume {run.id}`")
    return run


def _as_ours(error: Exception, run: Run) -> Exception:
    """The error with what to do next, where it is one that a person can mend."""
    resume = f"then `keydistill reindex --resume {run.id}`"
    if isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT):
        return RunError(
            f"run {run.id} failed: no space left on the disk of {error.filename or 'its files'}; make room, {resume}"
        )
    if isinstance(error, KeydistillError):
        return type(error)(f"run {run.id} failed while {run.state}: {error}")
    return error
