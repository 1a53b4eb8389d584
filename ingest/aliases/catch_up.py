"""Bringing a collection to an accepted state of the inventory, with the student that built it."""

from contextlib import suppress
from dataclasses import asdict
from functools import partial
from typing import Any

from keydistill.errors import CollectionNotFoundError, VerificationError
from keydistill.ingest.collection import RowVectors, Throttle, payloads
from keydistill.ingest.snapshot import RunSources, Snapshot, SnapshotChanges, compare
from keydistill.progress import Progress
from keydistill.runs import Lease, ReindexRun, SyncRun
from keydistill.settings import Settings
from keydistill.vectorstore import CollectionMetadata, Engine, MetadataChanges, PointBatch


class CatchUp:
    """Applies an accepted sync to a collection; killed at any point, it can begin again and reaches the same result."""

    def __init__(self, settings: Settings, engine: Engine, sources: RunSources, progress: Progress) -> None:
        self._settings = settings
        self._engine = engine
        self._sources = sources
        self._progress = progress
        self._throttle = Throttle(settings.build_rows_per_second)

    def apply(self, run: ReindexRun, sync: SyncRun, lease: Lease) -> tuple[str, dict[str, Any]]:
        """Bring the collection of a run to the snapshot of a sync.

        Where the engine changes collections in place, readers see new and changed keyphrases as they are written, and
        removed ones go last. Where ready collections never change, a copy is changed and the collection stays as it is.

        Args:
            run: Run that built the collection.
            sync: The accepted sync.
            lease: Lease on the content of the collection; nothing is written without it.

        Returns:
            The name of the collection that has the changes, and a summary of the changes.

        Raises:
            StudentMismatchError: The student that built the collection is not there any more.
            VerificationError: The result has another number of points than the snapshot.
            LeaseLostError: Another process has taken over the work.
        """
        metadata = CollectionMetadata.parse(self._engine.info(run.collection))
        new = self._sources.snapshot(sync.id)
        begun_syncs = metadata.applying or ()
        base_run = metadata.snapshot_run or run.id
        old = [self._sources.snapshot(run_id) for run_id in dict.fromkeys([base_run, *begun_syncs])]
        with compare(old, new, self._settings.home / "tmp", self._settings.memory_mb) as changes:
            # Recorded before the first change: a process that takes over must know what may be there in part.
            applying = list(dict.fromkeys([*begun_syncs, sync.id]))
            if self._engine.changes_in_place:
                target = run.collection
                lease.check()
                self._engine.set_metadata(target, MetadataChanges(applying=applying))
            else:
                target = f"{run.alias}-{run.id}-{sync.journal}"
                if self._is_complete(target, sync):
                    # The original may have been tuned since it was copied.
                    self._engine.set_metadata(target, MetadataChanges(search=metadata.search))
                    return target, asdict(changes.counts)
                self._drop(target)
                self._engine.copy(run.collection, target, {**metadata.as_dict(), **MetadataChanges(applying=applying)})
            vectors = RowVectors(
                self._engine,
                run.collection,
                partial(self._sources.student_of, run),
                run.student_version,
                run.dimension,
                rows=changes.counts.added + changes.counts.changed,
            )
            self._write(target, changes, vectors, lease)
            self._engine.finish(target)
            self._expect_count(target, new)
            lease.check()
            self._engine.set_metadata(target, self._caught_up(sync, new))
            return target, {**asdict(changes.counts), "embedded": vectors.embedded}

    def _write(self, target: str, changes: SnapshotChanges, vectors: RowVectors, lease: Lease) -> None:
        counts = changes.counts
        self._progress.start("apply changes", counts.added + counts.changed, "keyphrases")
        step = self._throttle.batch(self._settings.upsert_batch)
        for rows in changes.written():
            row_vectors = vectors.of(rows, self._progress)
            ids: list[str] = rows.column("point_id").to_pylist()
            fields = payloads(rows)
            for start in range(0, len(rows), step):
                window = slice(start, start + step)
                self._throttle.wait_for(len(ids[window]))
                lease.check()
                self._engine.upsert(target, PointBatch(ids[window], row_vectors[window], fields[window]))
        for removed_ids in changes.removed():
            lease.check()
            self._engine.delete(target, removed_ids)

    def _expect_count(self, target: str, snapshot: Snapshot) -> None:
        points = self._engine.count(target)
        if points != snapshot.summary.rows:
            raise VerificationError(
                f"collection {target} has {points:,} points after the sync, its snapshot has {snapshot.summary.rows:,} "
                "rows; build it anew with `keydistill reindex`"
            )

    def _is_complete(self, target: str, sync: SyncRun) -> bool:
        with suppress(CollectionNotFoundError):
            info = self._engine.info(target)
            return info.state == "ready" and CollectionMetadata.parse(info).snapshot_run == sync.id
        return False

    def _drop(self, target: str) -> None:
        """Drop what a killed process left of the copy."""
        with suppress(CollectionNotFoundError):
            self._engine.drop(target)

    def _caught_up(self, sync: SyncRun, snapshot: Snapshot) -> MetadataChanges:
        return MetadataChanges(
            snapshot=snapshot.summary.digest,
            snapshot_run=sync.id,
            journal=sync.journal,
            rows=snapshot.summary.rows,
            applying=None,
        )
