"""The gate: the check that a verified collection is at least as good as the live one, before the alias may name it.

Both answer the same queries, each with the student that built it. Nothing here is chance, but for the latencies: the
same collections, items and settings make the same report.
"""

import time
from collections.abc import Sequence

import numpy as np

from keydistill.encoders import Assistant, Student, StudentFiles, Vectors, nearest, student_of
from keydistill.errors import EngineUnavailableError, KeydistillError, RedisUnavailableError, StudentMismatchError
from keydistill.ingest.filters import K
from keydistill.ingest.gate.checks import CHECKS, Dimensions, Evidence, Judged
from keydistill.ingest.gate.items import GateItems, gate_items
from keydistill.ingest.gate.measures import Measured, Side, embedded, measure, steps
from keydistill.ingest.gate.report import GateReport
from keydistill.ingest.snapshot import RunSources
from keydistill.progress import Progress
from keydistill.runs import ReindexRun, RunStore
from keydistill.settings import Settings
from keydistill.vectorstore import CollectionInfo, CollectionMetadata, Engine, search_params_of

# Probability from which on the assistant says yes, as in `keydistill evaluate`.
_RELEVANT = 0.5
_DIMENSION_QUERIES = 200


class Gate:
    """Compares candidates with the live collection."""

    def __init__(
        self, settings: Settings, engine: Engine, store: RunStore, sources: RunSources, progress: Progress
    ) -> None:
        """A gate whose thresholds are those of the settings in force here, not those of the run."""
        self._settings = settings
        self._engine = engine
        self._store = store
        self._sources = sources
        self._progress = progress

    def report(self, run: ReindexRun) -> GateReport:
        """Measure the candidate and the live collection, and compare them.

        Args:
            run: A run whose collection, the candidate, is verified.

        Raises:
            InputError: The file of items cannot be read.
            AssistantError: The assistant that is to judge cannot be loaded.
            StudentError: The run's student cannot be loaded.
        """
        began = time.monotonic()
        self._progress.start("gate: load", None, "")
        side = Side(run.collection, self._sources.student_of(run, self._settings.gate_sample))
        live, against = self._live(run, side)
        fields = [name for each in (side, live) if each is not None for name in each.student.item_text.free_fields]
        items = gate_items(self._settings, self._sources.snapshot(run.id), fields)
        # A duplicate answers as its original does, to the bit: asking one of them is enough.
        is_duplicate = live is not None and self._is_duplicate(run, live)
        sides = [side] if live is None or is_duplicate else [side, live]
        params = search_params_of(self._settings)
        self._progress.start("gate: ask", steps(len(sides), len(items.queries)), "queries")
        measured = measure(self._engine, sides, items, params, self._progress)
        evidence = Evidence(
            settings=self._settings,
            items=items,
            side=side,
            candidate=measured[0],
            live_side=live,
            live=None if live is None else measured[-1],
            judged=self._judged(items, measured if live is None else [measured[0], measured[-1]]),
            dimensions=self._dimensions(run, side, items, measured[0]),
        )
        return GateReport(
            collection=side.collection,
            student=side.student.version,
            live=self._engine.aliases().get(run.alias),
            live_student=None if live is None else live.student.version,
            against=f"{against}, and asked for both: this is a copy of it" if is_duplicate else against,
            items=items.about,
            queries=len(items.queries),
            referee=evidence.judged.referee if isinstance(evidence.judged, Judged) else None,
            seconds=round(time.monotonic() - began, 3),
            rows=tuple(row for check in CHECKS for row in check.rows(evidence)),
        )

    def _live(self, run: ReindexRun, candidate: Side) -> tuple[Side | None, str]:
        """The live collection with its student, or None where there is none to compare with; and a sentence on it."""
        name = self._engine.aliases().get(run.alias)
        if name is None:
            return None, "nothing is live: thresholds of a first build"
        try:
            student = self._live_student(self._engine.info(name), candidate.student)
        except (EngineUnavailableError, RedisUnavailableError):
            raise  # such errors pass, and the collection that they hide might be better than the candidate
        except KeydistillError as error:
            return None, f"{name} is live but cannot be asked ({error}): thresholds of a first build"
        return Side(name, student), f"compared with {name}, which is live"

    def _is_duplicate(self, run: ReindexRun, live: Side) -> bool:
        """Whether a run's collection is the live one under another name; not where a sync changed it meanwhile."""
        metadata = CollectionMetadata.parse(self._engine.info(run.collection))
        return run.report.get("copy_of") == live.collection and metadata.snapshot_run == run.id

    def _live_student(self, info: CollectionInfo, present: Student) -> Student:
        metadata = CollectionMetadata.parse(info)
        expected = metadata.student_version
        if expected == present.version:
            return present
        run_id = str(metadata.run)
        try:
            run = self._store.load(run_id)
            if not isinstance(run, ReindexRun):
                raise StudentMismatchError(f"run {run_id} built no collection")
            source = self._sources.files_of(run).source
        except RedisUnavailableError:
            raise
        except KeydistillError:
            # Another way to the same files, for collections whose run is on record elsewhere.
            source = str(metadata.student)
        student = student_of(self._settings, source, dimension=info.dimension, texts=self._settings.gate_sample)
        if student.version != expected:
            raise StudentMismatchError(f"it was built by student {expected}, {source} is {student.version} now")
        return student

    def _judged(self, items: GateItems, measured: Sequence[Measured]) -> Judged | str:
        """The assistant's judgment of every list, or the reason why it does not judge; shared pairs are judged once."""
        from keydistill.distillation.registry import resolve_assistant

        folder = resolve_assistant(self._settings)
        lacking = [
            name
            for name, value in (("no gate_items", items.from_file), ("no assistant", folder is not None))
            if not value
        ]
        if folder is None or lacking:
            return f"{' and '.join(lacking)} in the settings"
        pairs: dict[tuple[int, str], int] = {}
        for side in measured:
            for place, hits in enumerate(side.lists):
                for hit in hits:
                    pairs.setdefault((place, str(hit.payload["keyphrase"])), len(pairs))
        assistant = Assistant.load(folder, threads=self._settings.threads)
        self._progress.start("gate: judge", len(pairs), "pairs")
        pair_queries = [items.queries[place] for place, _ in pairs]
        scores = assistant.score(
            [query.text for query in pair_queries],
            [keyphrase for _, keyphrase in pairs],
            [query.leaf for query in pair_queries],
            self._progress,
        )
        is_relevant = scores >= _RELEVANT
        counts = []
        for side in measured:
            relevant = [
                float(sum(is_relevant[pairs[place, str(hit.payload["keyphrase"])]] for hit in hits))
                for place, hits in enumerate(side.lists)
            ]
            counts.append((np.array(relevant), np.array([float(len(hits)) for hits in side.lists])))
        return Judged(assistant.version, counts[0], counts[1] if len(counts) > 1 else None)

    def _dimensions(self, run: ReindexRun, side: Side, items: GateItems, answered: Measured) -> Dimensions:
        """The share of what the full vectors find in a pool of keyphrases that the cut ones find there too.

        The live collection does not serve for this, as its student may be another: what a cut costs shows against the
        same student.
        """
        source = self._sources.files_of(run).source
        full = StudentFiles.find(source).dimension
        if side.dimension >= full or not items.queries:
            return Dimensions(full, None, 0)
        self._progress.start("gate: dimension", None, "")
        full_student = student_of(self._settings, source, dimension=full, texts=len(items.pool))
        step = max(1, len(items.queries) // _DIMENSION_QUERIES)
        queries = items.queries[::step][:_DIMENSION_QUERIES]
        near = {str(hit.payload["keyphrase"]) for hits in answered.lists[::step] for hit in hits}
        pool = list(dict.fromkeys([*items.pool, *sorted(near)]))
        pool_vectors, query_vectors = full_student.embed_keyphrases(pool), embedded(full_student, queries)
        own_texts = [set() if items.from_file else {query.text} for query in queries]
        neighbours = []
        for size in (full, side.dimension):
            places, _ = nearest(_cut(query_vectors, size), _cut(pool_vectors, size), K + 1)
            neighbours.append(
                [
                    [place for place in row if place >= 0 and pool[place] not in own][:K]
                    for row, own in zip(places.tolist(), own_texts, strict=True)
                ]
            )
        shares = [len(set(a) & set(b)) / len(a) for a, b in zip(*neighbours, strict=True) if a]
        return Dimensions(full, float(np.mean(shares)) if shares else None, len(pool))


def _cut(vectors: Vectors, size: int) -> Vectors:
    """The vectors cut as `Student` cuts them: their first `size` numbers, normalised again."""
    cut = vectors[:, :size]
    return np.asarray(cut / np.linalg.norm(cut, axis=1, keepdims=True).clip(min=1e-12))
