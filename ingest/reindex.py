"""A reindex: inventory -> snapshot -> new collection -> verified -> alias swapped.

Each state of a run has one step here that ends in the next state. A step can be killed at any point and begun again:
the snapshot appears whole or not at all, points are written by id, and a part counts as done only once all its points
are durable. So a resumed run repeats at most the part that was in flight.
"""

import errno
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path

from encoders import Student, find_model, student_version
from errors import CollectionExistsError, KeydistillError, RunError, RunStateError, StudentMismatchError
from ingest.points import collection_spec, payloads
from ingest.progress import NoProgress, Progress
from ingest.run import Run, State, new_run_id, now
from ingest.run_store import FileRunStore
from ingest.snapshot import Snapshot, SnapshotSettings, build_snapshot
from ingest.space import check_space
from ingest.verification import verify
from settings import Settings
from vectorstore import Engine, PointBatch

_FINAL: frozenset[State] = frozenset({"live", "retired", "cancelled"})


class Reindexer:
    """Makes runs and carries them out.

    Attributes:
        run: The run at hand, as it was last recorded; what to resume when a call is interrupted.
    """

    def __init__(self, settings: Settings, engine: Engine, progress: Progress | None = None) -> None:
        self._settings = settings
        self._engine = engine
        self._store = FileRunStore(settings.home)
        self._progress = progress or NoProgress()
        self._student: Student | None = None
        self.run: Run | None = None

    def start(self, files: Sequence[Path], *, categories: Path | None = None, swap: bool = True) -> Run:
        """Make a run and carry it out; see `resume` for what it returns and raises."""
        student = self._load_student()
        run_id = new_run_id()
        alias = self._settings.alias
        made = now()
        run = Run(
            id=run_id,
            kind="reindex",
            state="planned",
            created_at=made,
            updated_at=made,
            files=tuple(str(file.absolute()) for file in files),
            categories=None if categories is None else str(categories.absolute()),
            student=student.source,
            student_version=student.version,
            dimension=student.dimension,
            alias=alias,
            collection=f"{alias}-{run_id}",
            previous_target=self._engine.aliases().get(alias),
            swap=swap,
        )
        with self._store.building_for(alias, run_id):
            return self._carry_out(self._save(run))

    def resume(self, run_id: str) -> Run:
        """Take up a run that was interrupted or failed, and carry it to its end.

        Returns:
            The run: live, or ready where it was made with `swap=False`.

        Raises:
            RunStateError: It is over.
            RunBusyError: Another process is working on it.
            StudentMismatchError: The student is no longer the one that the run began with.
            KeydistillError: A step failed; the record says why, and what was live before still is.
        """
        run = self._store.load(run_id)
        with self._store.building_for(run.alias, run.id):
            run = self._store.load(run.id)
            if run.state in _FINAL or (run.state == "ready" and not run.swap):
                raise RunStateError(f"run {run.id} is {run.state}: there is nothing to resume")
            if run.state == "failed":
                if run.failed_in is None:
                    raise RunError(f"run {run.id} does not say in which state it failed; start a new one")
                run = self._save(run.moved(run.failed_in, error=None, failed_in=None))
            return self._carry_out(run)

    def _carry_out(self, run: Run) -> Run:
        steps: dict[State, Callable[[Run], Run]] = {
            "planned": lambda run: run.moved("snapshot"),
            "snapshot": self._take_snapshot,
            "building": self._build,
            "verifying": self._verify,
            "ready": self._swap,
        }
        while run.state in steps and (run.state != "ready" or run.swap):
            began = time.monotonic()
            try:
                moved = steps[run.state](run)
            except KeyboardInterrupt:
                raise  # the record stands as it is: resumable
            except Exception as error:
                self._record_failure(run.id, error)
                raise _as_ours(error, run) from error
            run = self._save(moved.timed(run.state, time.monotonic() - began))
        return run

    def _save(self, run: Run) -> Run:
        self.run = self._store.save(run)
        return run

    def _record_failure(self, run_id: str, error: Exception) -> None:
        # A full disk may be what failed; then the record stays as it is, which can be resumed too.
        with suppress(OSError):
            run = self._store.load(run_id)
            self._save(run.moved("failed", failed_in=run.state, error=" ".join(str(error).split())))

    def _take_snapshot(self, run: Run) -> Run:
        folder = self._store.folder(run.id) / "snapshot"
        if folder.exists():
            snapshot = Snapshot.open(folder)
        else:
            student = self._student_of(run)
            self._progress.start("snapshot", None, "rows")
            done = 0

            def advance(rows: int, _: int | None) -> None:
                nonlocal done
                self._progress.advance(rows - done)
                done = rows

            snapshot = build_snapshot(
                [Path(file) for file in run.files],
                folder,
                SnapshotSettings.of(self._settings),
                student.count_tokens,
                categories=None if run.categories is None else Path(run.categories),
                progress=advance,
            )
        spec = collection_spec(run.dimension, self._settings)
        if self._settings.engine == "embedded":
            check_space(self._settings.home, snapshot.summary.rows, spec)
        metadata = {
            "run": run.id,
            "student": run.student,
            "student_version": run.student_version,
            "snapshot": snapshot.summary.digest,
            "rows": snapshot.summary.rows,
            "payload_indexes": sorted(spec.payload_indexes),
            "created_at": now(),
        }
        try:
            self._engine.create(run.collection, spec, metadata)
        except CollectionExistsError:
            # Made by this very run before it was killed; anybody else's has another name and another run.
            if self._engine.info(run.collection).metadata.get("run") != run.id:
                raise
        return run.moved("building", rows=snapshot.summary.rows, parts=len(snapshot.parts))

    def _build(self, run: Run) -> Run:
        student = self._student_of(run)
        snapshot = Snapshot.open(self._store.folder(run.id) / "snapshot")
        parts = [part for part in snapshot.parts if part.number not in run.parts_done]
        if parts:
            self._progress.start("embed and upsert", sum(part.rows for part in parts), "keyphrases")
        for part in parts:
            rows = snapshot.read(part.number)
            ids: list[str] = rows.column("point_id").to_pylist()
            fields = payloads(rows)
            vectors = student.embed_keyphrases(rows.column("keyphrase").to_pylist(), self._progress.advance)
            step = self._settings.upsert_batch
            for start in range(0, len(rows), step):
                window = slice(start, start + step)
                self._engine.upsert(run.collection, PointBatch(ids[window], vectors[window], fields[window]))
            run = self._save(run.changed(parts_done=(*run.parts_done, part.number)))
        self._progress.start("optimise", None, "")
        began = time.monotonic()
        self._engine.finish(run.collection)
        return run.moved("verifying").timed("optimise", time.monotonic() - began)

    def _verify(self, run: Run) -> Run:
        self._progress.start("verify", None, "")
        snapshot = Snapshot.open(self._store.folder(run.id) / "snapshot")
        return run.moved("ready", report=verify(run, snapshot, self._engine, self._student_of(run)))

    def _swap(self, run: Run) -> Run:
        # It names ours already where we were killed between the swap and the record of it.
        if self._engine.aliases().get(run.alias) != run.collection:
            self._engine.swap_alias(run.alias, run.collection, run.previous_target)
        for other in self._store.all():
            if other.state == "live" and other.alias == run.alias:
                self._store.save(other.moved("retired"))
        return run.moved("live")

    def _load_student(self) -> Student:
        if self._student is None:
            settings = self._settings
            self._student = Student.load(settings.student, dimension=settings.dimension, threads=settings.threads)
        return self._student

    def _student_of(self, run: Run) -> Student:
        if self._student is None or self._student.version != run.student_version:
            present = student_version(run.student, find_model(run.student), run.dimension)
            if present != run.student_version:
                raise StudentMismatchError(
                    f"run {run.id} began with student {run.student_version}, {run.student} is {present} now; "
                    "put the old one back, or start a new run"
                )
            self._student = Student.load(run.student, dimension=run.dimension, threads=self._settings.threads)
        return self._student


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
