"""What answers batches: the live generation, opened while the service already says that it is not ready."""

import logging
import threading
import time
from collections.abc import Callable, Sequence
from itertools import accumulate, pairwise

from keydistill.errors import CollectionNotFoundError, EngineUnavailableError, KeydistillError
from keydistill.retrieval import (
    Generation,
    ListOptions,
    LiveRetriever,
    LiveStatus,
    QueryVector,
    Recommendation,
    Reranker,
    reranker_of,
)
from keydistill.serve import metrics
from keydistill.serve.batches import Job, Outcome, Search
from keydistill.settings import Settings
from keydistill.vectorstore import Engine, open_engine

_log = logging.getLogger(__name__)

# Collections that one batch tries: each of them was deleted meanwhile.
_TRIES = 3
_LONGEST_PAUSE = 10.0


class Live:
    """The engine and its live retriever, once there is one."""

    def __init__(self, settings: Settings, open_retriever: Callable[[Settings, Engine], LiveRetriever]) -> None:
        """Begin to open them, in a thread; what fails is tried again.

        Args:
            settings: Settings that say what is live, and where.
            open_retriever: Function that opens the retriever.
        """
        self._settings, self._open_retriever = settings, open_retriever
        self._engine: Engine | None = None
        self._retriever: LiveRetriever | None = None
        self._reranker: Reranker | None = None
        self._closing = threading.Event()
        self._failure = "the live generation is being loaded"
        self._opening = threading.Thread(target=self._open, name="keydistill-opening", daemon=True)
        self._opening.start()

    @property
    def failure(self) -> str | None:
        """Why nothing can be asked, or the alias cannot be watched; None where all is well."""
        if self._retriever is None:
            return self._failure
        return None if self._retriever.status().watching else "the thread that watches the alias has ended"

    @property
    def engine(self) -> Engine | None:
        """The engine, once it is open."""
        return self._engine

    @property
    def retriever(self) -> LiveRetriever | None:
        """The retriever, once there is one."""
        return self._retriever

    def status(self) -> LiveStatus | None:
        """The status of the retriever; None before there is one, and after the end."""
        try:
            return None if self._retriever is None else self._retriever.status()
        except KeydistillError:
            return None

    def answer(self, jobs: Sequence[Job]) -> list[Outcome | Exception]:
        """The outcome of each request; what is wrong with one of them does no harm to the others."""
        try:
            return list(self._together(jobs))
        except EngineUnavailableError as error:
            # What is only embedded needs no engine.
            return [error if job.search else self.answer([job])[0] for job in jobs]
        except Exception as error:
            if len(jobs) == 1:
                return [error]
            return [outcome for job in jobs for outcome in self.answer([job])]

    def close(self, wait_seconds: float) -> None:
        """Close retriever and engine; what is being opened is closed when it is open."""
        self._closing.set()
        self._opening.join(wait_seconds)
        if self._retriever is not None:
            self._retriever.close(wait_seconds)
        if self._engine is not None:
            self._engine.close()

    def _open(self) -> None:
        pause = self._settings.alias_poll_seconds
        logged = ""
        while not self._closing.is_set():
            try:
                if self._engine is None:
                    # Reading in a collection that went live would have every request wait.
                    self._engine = open_engine(self._settings, left_in_files=True)
                if self._reranker is None and self._settings.assistant is not None:
                    self._reranker = reranker_of(self._settings)
                self._retriever = self._open_retriever(self._settings, self._engine)
                return
            except Exception as error:
                expected = isinstance(error, KeydistillError)
                reason = f"{type(error).__name__}: {error}"
                if reason != logged:
                    _log.warning("not ready: %s", reason, exc_info=None if expected else error)
                logged = reason
                # Anybody may ask whether it is ready; paths and machines are for the log.
                is_missing = isinstance(error, CollectionNotFoundError)
                self._failure = str(error) if is_missing else "the live generation cannot be loaded; the log says why"
            self._closing.wait(pause)
            pause = min(2 * pause, _LONGEST_PAUSE)

    def _together(self, jobs: Sequence[Job]) -> list[Outcome]:
        """The outcomes of one batch, all by one generation."""
        retriever = self._retriever
        if retriever is None:
            raise EngineUnavailableError(self._failure)
        for tries_left in reversed(range(_TRIES)):
            try:
                with retriever.generation() as generation:
                    return _outcomes(generation, jobs, self._reranker)
            except CollectionNotFoundError:
                if not tries_left:
                    raise
            retriever.refresh()
        raise AssertionError("the last try returns or raises")


def _outcomes(generation: Generation, jobs: Sequence[Job], reranker: Reranker | None) -> list[Outcome]:
    began = time.monotonic()
    titles = [title for job in jobs for title in job.titles]
    categories = [category for job in jobs for category in job.categories]
    vectors = generation.embed(titles, categories, [fields for job in jobs for fields in job.fields])
    embedded = time.monotonic()
    starts = [0, *accumulate(len(job.titles) for job in jobs)]
    vectors_of = [vectors[start:end] for start, end in pairwise(starts)]
    lists = _lists(generation, jobs, vectors_of, reranker)
    searched = time.monotonic()
    metrics.EMBED_SECONDS.observe(embedded - began)
    if any(job.search for job in jobs):
        metrics.SEARCH_SECONDS.observe(searched - embedded)
    return [
        Outcome(
            generation.collection,
            generation.student_version,
            [query.vector for query in own_vectors],
            own_lists,
            job.taken - job.queued,
            embedded - began,
            searched - embedded if job.search else 0.0,
        )
        for job, own_vectors, own_lists in zip(jobs, vectors_of, lists, strict=True)
    ]


def _lists(
    generation: Generation,
    jobs: Sequence[Job],
    vectors_of: Sequence[Sequence[QueryVector]],
    reranker: Reranker | None,
) -> list[list[list[Recommendation]]]:
    """The keyphrases of each item of each request, those of all requests that are asked alike together."""
    lists: list[list[list[Recommendation]]] = [[] for _ in jobs]
    alike: dict[tuple[int, ListOptions | None], list[tuple[int, Search]]] = {}
    for place, job in enumerate(jobs):
        if job.search is not None:
            alike.setdefault((job.search.limit, job.search.options), []).append((place, job.search))
    for (limit, options), searches in alike.items():
        excludes = any(any(search.excluded) for _, search in searches)
        found = iter(
            generation.lists(
                [vector for place, _ in searches for vector in vectors_of[place]],
                [title for place, _ in searches for title in jobs[place].titles],
                limit,
                [filter for _, search in searches for filter in search.filters],
                categories=[category for place, _ in searches for category in jobs[place].categories],
                options=options,
                excluded=[own for _, search in searches for own in search.excluded] if excludes else None,
                reranker=reranker,
            )
        )
        for place, _ in searches:
            lists[place] = [next(found) for _ in vectors_of[place]]
    return lists
