"""The shadow: a share of requests is asked of a candidate, too, behind the callers' backs and never in their way.

It has one thread of low priority, and an engine and a student of its own, so that there is no lock that a caller could
wait for. What does not fit into its short queue is dropped.
"""

import logging
import os
import queue
import random
import sys
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial

from keydistill.encoders import ItemFields
from keydistill.errors import KeydistillError
from keydistill.ingest.gate import SHADOW_DEPTH, ShadowSummary
from keydistill.retrieval import Generation, Recommendation, Reranker, reranker_of, student_loader
from keydistill.runs import ReindexRun, Run, RunStore, open_store, reindex_of
from keydistill.serve import metrics
from keydistill.serve.batches import Job, Outcome, Search
from keydistill.settings import Settings
from keydistill.vectorstore import CollectionMetadata, Engine, open_engine, search_params_of

_log = logging.getLogger(__name__)

_QUEUED_REQUESTS = 64
# Items of one request that are compared; with the queue's length this bounds what is in memory.
_ITEMS = 10
_LOOK_SECONDS = 5.0
_WAIT_SECONDS = 0.2
_CLOSE_SECONDS = 2.0
_NICE = 19
# Probability from which on the assistant says yes, as in `keydistill evaluate`.
_RELEVANT = 0.5


@dataclass(frozen=True, slots=True)
class Heard:
    """A request that was answered, and its answer.

    Attributes:
        titles, categories, fields, search: The request, for the first of its items.
        collection: Live collection that answered.
        lists: Keyphrases and scores of each item, the first of each list.
        seconds: Time of embedding and search per item of the request.
    """

    titles: Sequence[str]
    categories: Sequence[str | None]
    fields: Sequence[ItemFields]
    search: Search
    collection: str
    lists: Sequence[Sequence[tuple[str, float]]]
    seconds: float


@dataclass(slots=True)
class _Candidate:
    """What is asked beside the live collection, and what was found that is not yet in its run's record."""

    run_id: str
    generation: Generation
    found: ShadowSummary | None = None


class Shadow:
    """Takes answered requests, and asks the candidate, if there is one."""

    def __init__(self, settings: Settings) -> None:
        """Start the thread, if the settings want a share of the requests."""
        self._settings = settings
        self._share = settings.shadow_share
        self._queue: queue.Queue[Heard] = queue.Queue(_QUEUED_REQUESTS)
        self._closing = threading.Event()
        self._present: _Candidate | None = None
        self._engine: Engine | None = None
        self._store: RunStore | None = None
        self._reranker: Reranker | None = None
        self._logged: set[str] = set()
        self._thread: threading.Thread | None = None
        if self._share:
            self._thread = threading.Thread(target=self._work, name="keydistill-shadow", daemon=True)
            self._thread.start()

    def offer(self, job: Job, outcome: Outcome) -> None:
        """Let chance decide whether an answered request is taken; never waits."""
        # Without a candidate nothing is kept: reading the attribute is atomic.
        if self._present is None or job.search is None or random.random() >= self._share:
            return
        search = job.search
        heard = Heard(
            job.titles[:_ITEMS],
            job.categories[:_ITEMS],
            job.fields[:_ITEMS],
            Search(search.limit, search.filters[:_ITEMS], search.options, search.excluded[:_ITEMS]),
            outcome.collection,
            [_pairs(own) for own in outcome.lists[:_ITEMS]],
            (outcome.embedded + outcome.searched) / len(job.titles),
        )
        try:
            self._queue.put_nowait(heard)
        except queue.Full:
            metrics.SHADOWED.labels("dropped").inc()

    def close(self) -> None:
        """End the thread, unless it hangs: then it ends with the process."""
        self._closing.set()
        if self._thread is not None:
            self._thread.join(_CLOSE_SECONDS)

    def _work(self) -> None:
        _be_modest()
        looked = -_LOOK_SECONDS
        while not self._closing.is_set():
            if time.monotonic() - looked >= _LOOK_SECONDS:
                self._noting(self._record)
                self._noting(self._look)
                looked = time.monotonic()
            self._take_next()
        self._noting(self._record)
        self._let_go()
        if self._engine is not None:
            self._engine.close()

    def _take_next(self) -> None:
        # A method of its own: in a loop the last candidate would stay in memory while the next request is awaited.
        try:
            heard = self._queue.get(timeout=_WAIT_SECONDS)
        except queue.Empty:
            return
        present = self._present
        if present is not None and heard.collection != present.generation.collection:
            answered = self._noting(partial(self._ask, present, heard))
            metrics.SHADOWED.labels("answered" if answered else "failed").inc()

    def _noting(self, step: Callable[[], None]) -> bool:
        """Whether a step succeeded; a failure is logged once, and the service goes on."""
        try:
            step()
        except Exception as error:
            reason = f"{type(error).__name__}: {error}"
            if reason not in self._logged:
                # Bounded, should every failure have words of its own.
                self._logged = {reason} if len(self._logged) >= 16 else self._logged | {reason}
                expected = isinstance(error, KeydistillError)
                _log.warning("the shadow: %s", reason, exc_info=None if expected else error)
            metrics.SHADOW_FAILURES.inc()
            return False
        return True

    def _look(self) -> None:
        """Take up the candidate that there is now, and let go of one that is live by now, or gone."""
        if self._engine is None:
            self._engine = open_engine(self._settings, left_in_files=True)
        if self._store is None:
            self._store = open_store(self._settings)
        run, collection = self._choice(self._engine, self._store)
        present = self._present
        if present is not None and collection != present.generation.collection:
            self._let_go()
            present = None
        if present is None and run is not None and collection is not None:
            generation = Generation.load(
                self._engine, collection, student_loader(self._settings), untuned=search_params_of(self._settings)
            )
            self._present = _Candidate(run.id, generation)
            _log.info("the shadow asks %s of run %s", collection, run.id)

    def _choice(self, engine: Engine, store: RunStore) -> tuple[ReindexRun | None, str | None]:
        """The run to ask beside the live one, and its collection; None where there is none."""
        live = engine.aliases().get(self._settings.alias)
        existing = set(engine.collections())
        named = self._settings.shadow_collection
        if named is not None:
            if named == live or named not in existing:
                return None, None
            return reindex_of(store.load(str(CollectionMetadata.parse(engine.info(named)).run))), named
        for run in store.all():
            if (
                isinstance(run, ReindexRun)
                and (run.state, run.alias) == ("ready", self._settings.alias)
                and run.collection in existing - {live}
            ):
                return run, run.collection
        return None, None

    def _ask(self, present: _Candidate, heard: Heard) -> None:
        if self._reranker is None and self._settings.assistant is not None:
            self._reranker = reranker_of(self._settings)
        began = time.monotonic()
        recommended = heard.search.by(present.generation, heard.titles, heard.categories, heard.fields, self._reranker)
        seconds = (time.monotonic() - began) / len(heard.titles)
        lists = [_pairs(own) for own in recommended]
        for place, (live, own) in enumerate(zip(heard.lists, lists, strict=True)):
            summary = compared(heard.collection, live, own, heard.seconds, seconds)
            if self._reranker is not None:
                title, category = heard.titles[place], heard.categories[place]
                summary = summary.plus(_judged(self._reranker, heard.collection, title, category, live, own))
            present.found = summary if present.found is None else present.found.plus(summary)

    def _record(self) -> None:
        """Add what was found to the run's record, where all processes' findings come together."""
        present = self._present
        if present is None or present.found is None or self._store is None:
            return
        found = present.found

        def with_shadow(run: Run) -> Run:
            run = reindex_of(run)
            both = ShadowSummary.from_dict(run.shadow).plus(found) if run.shadow else found
            return replace(run, shadow=both.as_dict())

        self._store.update(present.run_id, with_shadow)
        present.found = None

    def _let_go(self) -> None:
        """Release the candidate's student and the files of its collection."""
        present, self._present = self._present, None
        self._reranker = None
        if present is not None and self._engine is not None:
            self._engine.release(present.generation.collection)


def compared(
    live_collection: str,
    live: Sequence[tuple[str, float]],
    own: Sequence[tuple[str, float]],
    live_seconds: float,
    seconds: float,
) -> ShadowSummary:
    """The comparison of an item's two lists of keyphrases and scores.

    >>> compared("a", [("x", 0.9), ("y", 0.8)], [("y", 0.7), ("z", 0.6)], 0.1, 0.2).overlap
    0.5
    """
    longest = max(len(live), len(own))
    common = len({keyphrase for keyphrase, _ in live} & {keyphrase for keyphrase, _ in own})
    scored = bool(live and own)
    return ShadowSummary(
        live=live_collection,
        items=1,
        compared=int(longest > 0),
        overlap=common / longest if longest else 0.0,
        scored=int(scored),
        live_score=live[0][1] if scored else 0.0,
        score=own[0][1] if scored else 0.0,
        live_seconds=live_seconds,
        seconds=seconds,
    )


def _judged(
    assistant: Reranker,
    collection: str,
    title: str,
    category: str | None,
    live: Sequence[tuple[str, float]],
    own: Sequence[tuple[str, float]],
) -> ShadowSummary:
    """What the assistant says of both lists; a pair of both is judged once."""
    pairs = list(dict.fromkeys(keyphrase for keyphrase, _ in (*live, *own)))
    if not pairs:
        return ShadowSummary(live=collection)
    scores = assistant.score([title] * len(pairs), pairs, [category] * len(pairs))
    relevant = {keyphrase for keyphrase, score in zip(pairs, scores.tolist(), strict=True) if score >= _RELEVANT}
    return ShadowSummary(
        live=collection,
        live_judged=len(live),
        judged=len(own),
        live_relevant=sum(keyphrase in relevant for keyphrase, _ in live),
        relevant=sum(keyphrase in relevant for keyphrase, _ in own),
    )


def _pairs(recommended: Sequence[Recommendation]) -> list[tuple[str, float]]:
    return [(hit.keyphrase, hit.score) for hit in recommended[:SHADOW_DEPTH]]


def _be_modest() -> None:
    """Give this thread, and those that it starts, what the callers leave of the cores."""
    if sys.platform == "linux":
        os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), _NICE)
