"""The gate: is a verified collection at least as good as the live one? Asked before the alias may name it.

Both are asked the same, each with the student that built it. Nothing here is chance, but for the latencies: the same
collections, items and settings make the same report.
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
    """Compares candidates with what is live."""

    def __init__(
        self, settings: Settings, engine: Engine, store: RunStore, sources: RunSources, progress: Progress
    ) -> None:
        """Say where things are; the thresholds are those of the settings in force here, not those of the run."""
        self._settings = settings
        self._engine = engine
        self._store = store
        self._sources = sources
        self._progress = progress

    def report(self, run: ReindexRun) -> GateReport:
        """Measure and compare.

        Args:
            run: Verified; its `collection` is the candidate.

        Raises:
            InputError: The file of items cannot be read.
            AssistantError: The assistant that is to judge cannot be loaded.
            StudentError: The run's student cannot.
        """
        began = time.monotonic()
        self._progress.start("gate: load", None, "")
        items = gate_items(self._settings, self._sources.snapshot(run.id))
        side = Side(run.collection, self._sources.student_of(run))
        live, against = self._live(run, side)
        sides = [side] if live is None else [side, live]
        params = search_params_of(self._settings)
        self._progress.start("gate: ask", steps(len(sides), len(items.queries)), "queries")
        measured = measure(self._engine, sides, items, params, self._progress)
        evidence = Evidence(
            settings=self._settings,
            items=items,
            side=side,
            candidate=measured[0],
            live_side=live,
            live=None if live is None else measured[1],
            judged=self._judged(items, measured),
            dimensions=self._dimensions(run, side, items, measured[0]),
        )
        return GateReport(
            collection=side.collection,
            student=side.student.version,
            live=self._engine.aliases().get(run.alias),
            live_student=None if live is None else live.student.version,
            against=against,
            items=items.about,
            queries=len(items.queries),
            referee=evidence.judged.referee if isinstance(evidence.judged, Judged) else None,
            seconds=round(time.monotonic() - began, 3),
            rows=tuple(row for check in CHECKS for row in check.rows(evidence)),
        )

    def _live(self, run: ReindexRun, candidate: Side) -> tuple[Side | None, str]:
        """The live collection with its student, and a sentence on it; None where there is nothing to compare with."""
        name = self._engine.aliases().get(run.alias)
        if name is None:
            return None, "nothing is live: thresholds of a first build"
        try:
            student = self._live_student(self._engine.info(name), candidate.student)
        except (EngineUnavailableError, RedisUnavailableError):
            raise  # they pass; what they hide might be a better collection than ours
        except KeydistillError as error:
            return None, f"{name} is live but cannot be asked ({error}): thresholds of a first build"
        return Side(name, student), f"compared with {name}, which is live"

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
            # Another way to the same files, for collections whose run is known elsewhere.
            source = str(metadata.student)
        student = student_of(self._settings, source, dimension=info.dimension)
        if student.version != expected:
            raise StudentMismatchError(f"it was built by student {expected}, {source} is {student.version} now")
        return student

    def _judged(self, items: GateItems, measured: Sequence[Measured]) -> Judged | str:
        """What the assistant says of every list; a pair that both sides have is asked once. Or why it was not asked."""
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
        asked = [items.queries[place] for place, _ in pairs]
        yes = (
            assistant.score(
                [query.text for query in asked],
                [keyphrase for _, keyphrase in pairs],
                [query.leaf for query in asked],
                self._progress,
            )
            >= _RELEVANT
        )
        counts = []
        for side in measured:
            relevant = [
                float(sum(yes[pairs[place, str(hit.payload["keyphrase"])]] for hit in hits))
                for place, hits in enumerate(side.lists)
            ]
            counts.append((np.array(relevant), np.array([float(len(hits)) for hits in side.lists])))
        return Judged(assistant.version, counts[0], counts[1] if len(counts) > 1 else None)

    def _dimensions(self, run: ReindexRun, side: Side, items: GateItems, answered: Measured) -> Dimensions:
        """What the full vectors find in a pool of keyphrases, and how much of it the cut ones find there too.

        Not against the live collection, whose student may be another: what a cut costs shows against the same student.
        """
        source = self._sources.files_of(run).source
        full = StudentFiles.find(source).dimension
        if side.dimension >= full or not items.queries:
            return Dimensions(full, None, 0)
        self._progress.start("gate: dimension", None, "")
        whole = student_of(self._settings, source, dimension=full)
        step = max(1, len(items.queries) // _DIMENSION_QUERIES)
        queries = items.queries[::step][:_DIMENSION_QUERIES]
        near = {str(hit.payload["keyphrase"]) for hits in answered.lists[::step] for hit in hits}
        pool = list(dict.fromkeys([*items.pool, *sorted(near)]))
        inventory, asked = whole.embed_keyphrases(pool), embedded(whole, queries)
        kept = []
        own = [set() if items.from_file else {query.text} for query in queries]
        for vectors, size in ((inventory, full), (inventory, side.dimension)):
            places, _ = nearest(_cut(asked, size), _cut(vectors, size), K + 1)
            kept.append(
                [
                    [place for place in row if place >= 0 and pool[place] not in left_out][:K]
                    for row, left_out in zip(places.tolist(), own, strict=True)
                ]
            )
        shares = [len(set(a) & set(b)) / len(a) for a, b in zip(*kept, strict=True) if a]
        return Dimensions(full, float(np.mean(shares)) if shares else None, len(pool))


def _cut(vectors: Vectors, size: int) -> Vectors:
    """As `Student` cuts: the first so many, normalised again."""
    cut = vectors[:, :size]
    return np.asarray(cut / np.linalg.norm(cut, axis=1, keepdims=True).clip(min=1e-12))
