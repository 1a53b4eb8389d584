"""The steps of a reindex: what is done in each state of a run, whichever process does it.

A step can be killed at any point and begun again: the snapshot appears whole or not at all, points are written by id,
and a part counts as done only once all its points are durable. So a run that is taken up repeats at most the parts that
were in flight.
"""

import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import nullcontext
from functools import partial
from pathlib import Path
from typing import Any

import pyarrow as pa

from keydistill.encoders import Student, StudentFiles, Vectors
from keydistill.errors import (
    CollectionExistsError,
    CollectionLostError,
    CollectionNotFoundError,
    GateRefusedError,
    InputError,
    StorageError,
)
from keydistill.ingest.aliases import AliasChanges, last_number, went_live
from keydistill.ingest.collection import (
    SAMPLE_ROWS,
    RowVectors,
    Throttle,
    changes_of_storage,
    check_space,
    check_spec,
    collection_spec,
    in_turn,
    index_settings,
    payload_bytes,
    payloads,
    verify,
)
from keydistill.ingest.gate import Gate
from keydistill.ingest.snapshot import RunSources, Snapshot, SnapshotSettings, build_snapshot, linked, would_be_the_same
from keydistill.progress import NO_PROGRESS, Progress, WaitingProgress
from keydistill.runs import (
    Executor,
    Lease,
    ReindexRun,
    RunStore,
    State,
    change_record,
    new_run_id,
    now,
    present_user,
    reindex_of,
)
from keydistill.settings import Settings
from keydistill.telemetry import carried, span
from keydistill.vectorstore import CollectionMetadata, Engine, PointBatch

# Settings that decide what a run builds: those of the process that ordered it count, wherever it is carried out.
_DECIDING = (
    "part_rows",
    "max_reject_share",
    "max_keyphrase_chars",
    "decimal_comma",
    "missing_values",
    "payload_indexes",
    "quantization",
    "hnsw_m",
    "hnsw_ef_construct",
    "tenant",
    "placement",
    "shards",
    "replicas",
    "write_consistency",
    "strict_mode",
    "reuse_vectors",
    "verify_rows",
    "take_over",
)

# Rows whose vectors are computed before the engine gets them: fewer would make too small batches of equal length.
_WINDOW_ROWS = 4_096

# Steps whose states do not say what is done.
_SPANS: Mapping[State, str] = {"planned": "begin", "building": "optimise", "ready": "swap"}

Changes = Mapping[str, Any]


class ReindexSteps:
    """Makes the record of a reindex, and does its steps one at a time."""

    def __init__(
        self,
        settings: Settings,
        engine: Engine,
        store: RunStore,
        progress: Progress = NO_PROGRESS,
        *,
        sources: RunSources | None = None,
    ) -> None:
        """Steps of reindexes on this machine; nothing is loaded yet.

        Args:
            settings: Settings in force where the steps are done; those that decide the result come from the run.
            engine: Engine that gets the collection.
            store: Store with the run's record.
            progress: Told about the steps.
            sources: Where students and snapshots are on this machine; None takes what the records say.
        """
        self._sources = sources or RunSources(settings, store)
        self._settings = settings
        shown = WaitingProgress(progress)
        self._progress: Progress = shown
        # An order is refused at once by a server that is away; work on a run waits for it.
        self._ordered_from = engine
        self._engine = engine.patient(settings.qdrant_patience_seconds, shown.waiting)
        self._store = store
        self._vectors: tuple[str, RowVectors] | None = None
        self._throttle = Throttle(settings.build_rows_per_second)
        self._changes = AliasChanges(settings, self._engine, store, sources=self._sources, progress=self._progress)

    def new_run(
        self,
        files: Sequence[Path],
        *,
        categories: Path | None = None,
        swap: bool = True,
        executor: Executor = "local",
        started_by: str | None = None,
    ) -> ReindexRun:
        """A record of a new run, which is in no store yet.

        Raises:
            StudentError: The student cannot be found.
            SettingsError: The engine cannot store a collection as the settings ask for.
        """
        settings = self._settings
        check_spec(collection_spec(settings.dimension or 1, settings), self._ordered_from)
        student = StudentFiles.find(settings.student, dimension=settings.dimension)
        run_id = new_run_id()
        created_at = now()
        return ReindexRun(
            id=run_id,
            kind="reindex",
            state="planned",
            created_at=created_at,
            updated_at=created_at,
            executor=executor,
            started_by=started_by or present_user(),
            trace=carried(),
            files=tuple(str(file.absolute()) for file in files),
            categories=None if categories is None else str(categories.absolute()),
            student=student.source,
            student_version=student.version,
            dimension=student.dimension,
            settings={name: getattr(settings, name) for name in _DECIDING},
            alias=settings.alias,
            collection=f"{settings.alias}-{run_id}",
            previous_target=self._ordered_from.aliases().get(settings.alias),
            swap=swap,
        )

    @property
    def steps(self) -> Mapping[State, Callable[[ReindexRun, Lease], tuple[State, Changes]]]:
        """States, each with its step: a function that returns the next state and what changes in the record."""
        return {
            "planned": self._begin,
            "snapshot": self._take_snapshot,
            "building": self._optimise,
            "verifying": self._verify,
            "gating": self._gate,
            "ready": self._swap,
        }

    def advance(self, run: ReindexRun, lease: Lease) -> ReindexRun:
        """Do the step of the run's state and move the run on. One that is building must have embedded all its parts.

        Raises:
            LeaseLostError: Somebody else works on the run.
            RunStateError: The run was cancelled, or failed elsewhere.
            KeydistillError: The step failed; the record is as it was.
        """
        began = time.monotonic()
        with span(_SPANS.get(run.state, run.state)):
            state, changes = self.steps[run.state](run, lease)
        seconds = time.monotonic() - began
        if state == "live":
            # The alias names the collection. A later change of the alias may have put that on record already.
            return reindex_of(
                self._store.update(run.id, lambda now: went_live(reindex_of(now)).timed(run.state, seconds), lease)
            )
        return change_record(self._store, run, lambda now: now.moved(state, **changes).timed(run.state, seconds), lease)

    def embed_parts(
        self,
        run: ReindexRun,
        numbers: Iterable[int],
        lease: Lease,
        recorded: Callable[[ReindexRun], None] | None = None,
        before_part: Callable[[], object] | None = None,
    ) -> ReindexRun:
        """Embed parts, write their points, and record each part as done once all its points are durable.

        Args:
            run: A run that is building.
            numbers: Numbers of the parts, in the order in which they are to be done.
            lease: Lease on the run or the part.
            recorded: Called with the run after each part, on another thread.
            before_part: Called before each part; the time that it takes is not counted as work.

        Returns:
            The run as it was recorded last.

        Raises:
            LeaseLostError: Somebody else works on the run or the part.
            RunStateError: The run was cancelled, or failed elsewhere.
            KeydistillError: Embedding or writing failed; a part that is written again has the same points.
        """
        snapshot = self._sources.snapshot(run.id)
        vectors = self._vectors_of(run)
        latest, began, waited = run, time.monotonic(), 0.0

        def write(number: int, window: pa.Table, window_vectors: Vectors, is_last: bool) -> None:
            nonlocal latest, began, waited
            self._write(run, window, window_vectors, lease)
            if not is_last:
                return
            seconds = max(0.0, time.monotonic() - began - waited)
            began, waited = time.monotonic(), 0.0
            latest = change_record(
                self._store, run, lambda now: now.with_part(number).timed("embedding", seconds), lease
            )
            if recorded is not None:
                recorded(latest)

        # While the engine takes the points of one window, the vectors of the next are computed, be it of the next part.
        with in_turn(write) as put:
            for number in numbers:
                if before_part is not None:
                    wait_began = time.monotonic()
                    before_part()
                    waited = time.monotonic() - wait_began
                rows = snapshot.read(number)
                for start in range(0, len(rows), _WINDOW_ROWS):
                    window = rows.slice(start, _WINDOW_ROWS)
                    window_vectors = vectors.of(window, self._progress)
                    put(number, window, window_vectors, start + _WINDOW_ROWS >= len(rows))
        return latest

    def rows_of(self, run: ReindexRun, parts: Sequence[int]) -> int:
        """The number of rows of these parts together."""
        snapshot = self._sources.snapshot(run.id)
        return sum(snapshot.parts[number].rows for number in parts)

    def student_of(self, run: ReindexRun, texts: int | None = None) -> Student:
        """The run's student, loaded; see `RunSources.student_of`.

        Raises:
            StudentMismatchError: The student is no longer the one that the run began with.
        """
        return self._sources.student_of(run, texts)

    def _begin(self, run: ReindexRun, lease: Lease) -> tuple[State, Changes]:
        if run.swap:
            self._changes.check_may_swap(run)
        # Read only now, when nobody else can swap the alias: when the run was ordered, another one may have been about
        # to.
        return "snapshot", {
            "previous_target": self._engine.aliases().get(run.alias),
            "journal": last_number(self._store, run.alias),
        }

    def _vectors_of(self, run: ReindexRun) -> RowVectors:
        """The source of the run's vectors: the live collection, if the same student built it, and the student."""
        if self._vectors is None or self._vectors[0] != run.id:
            student = partial(self.student_of, run)
            donor = run.previous_target if self._of(run).reuse_vectors else None
            row_vectors = RowVectors(self._engine, donor, student, run.student_version, run.dimension, rows=run.rows)
            self._vectors = run.id, row_vectors
        return self._vectors[1]

    def _write(self, run: ReindexRun, rows: pa.Table, vectors: Vectors, lease: Lease) -> None:
        ids: list[str] = rows.column("point_id").to_pylist()
        fields = payloads(rows)
        step = self._throttle.batch(self._settings.upsert_batch)
        for start in range(0, len(ids), step):
            batch = slice(start, start + step)
            self._throttle.wait_for(len(ids[batch]))
            # A process that slept through the end of its lease must not write over what came after.
            lease.check()
            self._engine.upsert(run.collection, PointBatch(ids[batch], vectors[batch], fields[batch]))

    def _take_snapshot(self, run: ReindexRun, lease: Lease) -> tuple[State, Changes]:
        folder = self._store.folder(run.id) / "snapshot"
        snapshot = Snapshot.open(folder) if folder.exists() else self._built(run, folder)
        self._sources.publish_snapshot(run.id)
        spec = collection_spec(run.dimension, self._of(run))
        if self._settings.engine == "embedded":
            check_space(self._settings.home, snapshot.summary.rows, spec)
        metadata = CollectionMetadata(
            run=run.id,
            student=run.student,
            student_version=run.student_version,
            snapshot=snapshot.summary.digest,
            snapshot_run=run.id,
            journal=run.journal,
            rows=snapshot.summary.rows,
            payload_indexes=tuple(sorted(spec.payload_indexes)),
            index=index_settings(spec),
            created_at=now(),
            installation=self._store.installation(),
        )
        changes = changes_of_storage(spec, self._engine, run.previous_target)
        report = {"storage_changes": changes} if changes else {}
        summary = snapshot.summary
        size = {
            "rows": summary.rows,
            "rejected": summary.rows_rejected,
            "parts": len(snapshot.parts),
            "report": report,
        }
        lease.check()
        twin = self._twin(run, metadata)
        try:
            if twin is None or run.previous_target is None:
                self._engine.create(run.collection, spec, metadata.as_dict())
            else:
                self._engine.duplicate(run.previous_target, run.collection, twin.as_dict())
        except CollectionExistsError:
            # This run made it before it was killed; a collection of anybody else has another name and another run.
            if CollectionMetadata.parse(self._engine.info(run.collection)).run != run.id:
                raise
        if not self._engine.changes_in_place and self._engine.info(run.collection).state == "ready":
            every_part = tuple(range(len(snapshot.parts)))
            return "building", {**size, "parts_done": every_part, "report": {**report, **self._origin(run, twin)}}
        self._engine.check_room(run.collection, snapshot.summary.rows, payload_bytes(snapshot))
        return "building", size

    def _built(self, run: ReindexRun, folder: Path) -> Snapshot:
        settings = SnapshotSettings.of(self._of(run))
        live_snapshot = self._snapshot_of_live(run)
        if live_snapshot is not None and would_be_the_same(live_snapshot, run.files, run.categories, settings):
            return linked(live_snapshot, folder)
        with self._sources.student_beside(run) if live_snapshot is None else nullcontext():
            return build_snapshot(
                [Path(file) for file in run.files],
                folder,
                settings,
                self._sources.files_of(run).count_tokens,
                categories=None if run.categories is None else Path(run.categories),
                progress=self._progress,
            )

    def _snapshot_of_live(self, run: ReindexRun) -> Snapshot | None:
        """The snapshot of the live collection, if the same student built it, so that its tokens are counted alike."""
        live = self._taken_over(run)
        try:
            return None if live is None else self._sources.snapshot(str(live.snapshot_run))
        except (InputError, StorageError):
            return None  # pruned meanwhile, or on another machine: it was a help, nothing more

    def _twin(self, run: ReindexRun, metadata: CollectionMetadata) -> CollectionMetadata | None:
        """Metadata of a copy of the live collection, if this run would build the same, so that a copy is enough."""
        live = None if self._engine.changes_in_place else self._taken_over(run)
        if live is None or (live.snapshot, live.index) != (metadata.snapshot, metadata.index):
            return None
        # The points and the index are the same, so that the tuned settings hold for the copy.
        return metadata.model_copy(update={"search": live.search})

    def _origin(self, run: ReindexRun, twin: CollectionMetadata | None) -> dict[str, Any]:
        """What verification is told of a duplicate: the collection that its rows are known to be those of."""
        if twin is None or run.previous_target is None:
            return {}
        original = CollectionMetadata.parse(self._engine.info(run.previous_target))
        # Of what a sync changed only the number of points was compared: there every row is looked up.
        is_verified = original.run is not None and original.run == original.snapshot_run
        return {"copy_of": run.previous_target} if is_verified else {}

    def _taken_over(self, run: ReindexRun) -> CollectionMetadata | None:
        """Metadata of the live collection, if the run may take over what the same student has built in it."""
        if run.previous_target is None or not self._of(run).reuse_vectors:
            return None
        try:
            live = CollectionMetadata.parse(self._engine.info(run.previous_target))
        except (CollectionNotFoundError, CollectionLostError):
            return None
        is_reusable = live.student_version == run.student_version and not live.applying
        return live if is_reusable else None

    def _optimise(self, run: ReindexRun, lease: Lease) -> tuple[State, Changes]:
        if run.missing_parts:
            raise ValueError(f"run {run.id} lacks parts {run.missing_parts[:5]}...")
        self._progress.start("optimise", None, "")
        self._engine.finish(run.collection)
        return "verifying", {}

    def _verify(self, run: ReindexRun, lease: Lease) -> tuple[State, Changes]:
        self._progress.start("verify", None, "")
        student = self.student_of(run, SAMPLE_ROWS)
        report = verify(run, self._sources.snapshot(run.id), self._engine, student)
        return "gating", {"report": {**run.report, **report, "runtime": f"{student.runtime}: {student.runtime_reason}"}}

    def _gate(self, run: ReindexRun, lease: Lease) -> tuple[State, Changes]:
        run, _ = self._changes.bring_up(run)
        if run.gate.get("verdict") == "passed":
            # The run was sent back from its swap for a sync, whose changes are not gated in the live collection either.
            # Gating it again would take longer than the next sync, and the run would never go live where syncs follow
            # each other closely.
            return "ready", {}
        report = Gate(self._settings, self._engine, self._store, self._sources, self._progress).report(run)
        gate_report = report.as_dict()
        if report.refused:
            # Recorded apart from the move to the next state, which a refused run does not make.
            change_record(self._store, run, lambda now: now.changed(gate=gate_report), lease)
            raise GateRefusedError(report.refusal(run.id))
        return "ready", {"gate": gate_report}

    def _swap(self, run: ReindexRun, lease: Lease) -> tuple[State, Changes]:
        lease.check()
        # The run goes back to the gate where a sync was accepted meanwhile: its changes are applied there.
        return ("live" if self._changes.swap_as_planned(run, lease) else "gating"), {}

    def _of(self, run: ReindexRun) -> Settings:
        return self._settings.model_copy(update=dict(run.settings))
