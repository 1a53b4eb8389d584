"""`keydistill tune`: search settings for each shape of filter, measured on a collection and kept in its metadata."""

import time
from pathlib import Path

from keydistill.encoders import Student, Vectors
from keydistill.errors import CollectionStateError, InputError, RunBusyError, RunError, StudentMismatchError
from keydistill.ingest.aliases import AliasHistory, content_lease, patiently
from keydistill.ingest.gate import embedded, gate_items
from keydistill.ingest.snapshot import RunSources
from keydistill.ingest.tuning.choice import choose
from keydistill.ingest.tuning.queries import FilteredQuery, queries_by_shape
from keydistill.ingest.tuning.report import ShapeReport, TuningReport
from keydistill.ingest.tuning.shape_queries import ShapeQueries
from keydistill.progress import NO_PROGRESS, Progress
from keydistill.retrieval import NO_FILTER, live_collection
from keydistill.runs import ReindexRun, RunStore, now, reindex_of
from keydistill.settings import Settings
from keydistill.vectorstore import CollectionInfo, CollectionMetadata, Engine, MetadataChanges, search_params_of

# A shape that fewer items have is not tuned: the mean over their queries says too little.
LEAST_ITEMS = 50
# How long to wait for the lease: a sync of millions of keyphrases holds it for that long.
_PATIENCE_SECONDS = 1_800.0


class Tuner:
    """Measures a collection, and writes the chosen search settings into its metadata."""

    def __init__(
        self,
        settings: Settings,
        engine: Engine,
        store: RunStore,
        *,
        sources: RunSources | None = None,
        progress: Progress = NO_PROGRESS,
    ) -> None:
        """A tuner for the collections behind one alias.

        Args:
            settings: Settings that name the alias; shapes that are not tuned are searched with their `search_ef` and
                `search_oversampling`, which the tuned ones are compared with.
            engine: Engine with the collection.
            store: Store of the runs and leases.
            sources: Where students and snapshots are; None takes what the records say.
            progress: Told about the steps.
        """
        self._settings, self._engine, self._store = settings, engine, store
        self._sources = sources or RunSources(settings, store)
        self._progress = progress

    def measure(
        self,
        collection: str | None = None,
        *,
        items: Path | None = None,
        target: float = 0.98,
        queries: int = 500,
    ) -> TuningReport:
        """Find settings for every filter shape; changes nothing.

        Args:
            collection: Name of the collection, or an alias of it; None takes the live one.
            items: File of items to query for; None takes `gate_items`, and without one keyphrases of the inventory.
            target: Least recall@10 of every shape.
            queries: Most items to query for.

        Raises:
            CollectionNotFoundError: There is no such collection, or nothing is live.
            CollectionStateError: The collection is still building.
            RunError: No run on record built the collection.
            StudentError: The student that built the collection cannot be found any more.
            InputError: The file of items cannot be read, or there are too few queries for any shape.
        """
        began = time.monotonic()
        self._progress.start("tune: load", None, "")
        info = self._info(collection)
        if info.state != "ready":
            raise CollectionStateError(f"collection {info.name} is {info.state}, expected a ready one; resume its run")
        owner = self._owner(info.name)
        student = self._student(owner, info)
        snapshot = self._sources.snapshot(CollectionMetadata.parse(info).snapshot_run or owner.id)
        changed = {"gate_sample": queries, "gate_items": items or self._settings.gate_items}
        sample = gate_items(self._settings.model_copy(update=changed), snapshot, student.item_text.free_fields)
        vectors = embedded(student, sample.queries)
        shapes, too_few = self._shapes(info, vectors, queries_by_shape(sample), target)
        if not shapes:
            raise InputError(
                f"collection {info.name} cannot be tuned: no shape of filter is asked for by {LEAST_ITEMS} of "
                f"{sample.about}; give more items with --items, or leave it to search_ef and search_oversampling"
            )
        return TuningReport(
            collection=info.name,
            student_version=student.version,
            target=target,
            measured_at=now(),
            items=sample.about,
            seconds=round(time.monotonic() - began, 3),
            shapes=tuple(shapes),
            too_few=too_few,
        )

    def write(self, report: TuningReport) -> str:
        """Put the chosen settings into the metadata of the collection that was measured.

        A sync that is under way is waited for. Where it put a changed copy in the collection's place, the copy gets
        the settings: they hold for a few keyphrases more, too.

        Returns:
            The name of the collection that has the settings.

        Raises:
            CollectionNotFoundError: The collection is gone.
            RunBusyError: The sync does not end.
        """
        return self._set(report.collection, report.tuned.as_dict())

    def forget(self, collection: str | None = None) -> str:
        """Remove the tuned settings of a collection, so that the settings decide again; returns as `write` does."""
        return self._set(self._info(collection).name, None)

    def _info(self, collection: str | None) -> CollectionInfo:
        return live_collection(self._settings, self._engine) if collection is None else self._engine.info(collection)

    def _set(self, collection: str, value: dict[str, object] | None) -> str:
        owner = self._owner(collection)
        deadline = time.monotonic() + _PATIENCE_SECONDS
        while True:
            try:
                # Under the lease of syncs: one that copies the collection would lose what is written meanwhile.
                with patiently(self._store, content_lease(owner), owner.id) as lease:
                    target = self._present(owner)
                    lease.check()
                    self._engine.set_metadata(target, MetadataChanges(search=value))
                    return target
            except RunBusyError:
                if time.monotonic() > deadline:
                    raise

    def _present(self, owner: ReindexRun) -> str:
        """The present name of a run's collection. A killed sync may have moved the alias, and not the record."""
        live = self._engine.aliases().get(owner.alias)
        live_run = None if live is None else self._history().owner_of(live)
        if live is not None and live_run is not None and live_run.id == owner.id:
            return live
        return reindex_of(self._store.load(owner.id)).collection

    def _owner(self, collection: str) -> ReindexRun:
        owner = self._history().owner_of(collection)
        if owner is None:
            raise RunError(
                f"collection {collection} was built by no run that is on record here; build one with "
                "`keydistill reindex INVENTORY`, which can be tuned"
            )
        return owner

    def _history(self) -> AliasHistory:
        return AliasHistory(self._engine, self._store, self._settings.alias)

    def _student(self, owner: ReindexRun, info: CollectionInfo) -> Student:
        student = self._sources.student_of(owner, self._settings.gate_sample)
        built_by = CollectionMetadata.parse(info).student_version
        if student.version != built_by:
            raise StudentMismatchError(
                f"collection {info.name} says that student {built_by} built it, its run "
                f"says {student.version}; build it anew with `keydistill reindex INVENTORY`"
            )
        return student

    def _shapes(
        self, info: CollectionInfo, vectors: Vectors, queries_of: dict[str, list[FilteredQuery]], target: float
    ) -> tuple[list[ShapeReport], dict[str, int]]:
        before = search_params_of(self._settings)
        quantized = (CollectionMetadata.parse(info).index or {}).get("quantization") != "none"
        reports: list[ShapeReport] = []
        too_few: dict[str, int] = {}
        self._progress.start("tune: measure", len(queries_of), "shapes")
        for shape, queries in queries_of.items():
            shape_queries = ShapeQueries(self._engine, info.name, vectors, queries)
            if shape_queries.items < LEAST_ITEMS:
                too_few[shape] = shape_queries.items
            else:
                choice = choose(shape_queries, target, before, filtered=shape != NO_FILTER, quantized=quantized)
                reports.append(ShapeReport(shape, len(shape_queries.groups), shape_queries.passing(), choice))
            self._progress.advance(1)
        return reports, too_few
