"""Retrieval that follows the alias: student and collection change as one, under load, and no query notices."""

import logging
import os
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import replace
from datetime import UTC, datetime
from typing import Self, TypeVar, Unpack

from keydistill.encoders import ItemFields
from keydistill.errors import CollectionNotFoundError, KeydistillError, VectorStoreError
from keydistill.retrieval.answers import Answer, LiveStatus, ReadyQuery
from keydistill.retrieval.failures import Failures
from keydistill.retrieval.generation import (
    Generation,
    QueryVector,
    StudentLoader,
    alias_target,
    student_loader,
)
from keydistill.retrieval.holds import Holds
from keydistill.retrieval.lists import ListArguments
from keydistill.retrieval.older_answers import OlderAnswers
from keydistill.retrieval.recommendation import Recommendation
from keydistill.retrieval.tuned_search import tuned_params
from keydistill.settings import Settings
from keydistill.vectorstore import Engine, Filter, Hit, SearchParams, search_params_of

_log = logging.getLogger(__name__)
_Result = TypeVar("_Result")

# Most generations that one query tries: each was deleted during the query, so there is no grace time to speak of.
_TRIES = 10


class LiveRetriever:
    """Finds keyphrases with the generation that the alias names at the time, for services that run for long.

    A thread reads the alias every `poll_seconds`, and a query whose collection was deleted reads it at once. The next
    student is loaded, and its collection queried once, beside the generation that answers; then they change places.
    Queries in flight end on the generation that they began with, and when the last has ended, the memory of its
    student and the open files of its collection are released. While the next generation cannot be loaded, the present
    one goes on and `status` says why.

    Threads may share a retriever, processes may not: open it after a fork, in the process that uses it. The engine
    stays the caller's, who closes it after the retriever.
    """

    def __init__(
        self,
        engine: Engine,
        alias: str,
        load_student: StudentLoader,
        *,
        params: SearchParams | None = None,
        untuned: SearchParams | None = None,
        poll_seconds: float = 1.0,
    ) -> None:
        """Load the generation that the alias names, and begin to watch the alias.

        Args:
            engine: Engine with the collections.
            alias: Alias that names the live collection.
            load_student: Function that loads a student; the thread that watches the alias calls it, too.
            params: Search settings of all queries; None takes the tuned ones, as `Generation.of` does.
            untuned: Search settings of queries whose filter shape was not tuned.
            poll_seconds: Seconds between two readings of the alias.

        Raises:
            CollectionNotFoundError: Nothing is live yet.
            StudentError: The student cannot be found any more, or has another version now.
        """
        self._engine, self._alias, self._load_student = engine, alias, load_student
        self._params, self._untuned = params, untuned
        self._poll_seconds = poll_seconds
        self._pid = os.getpid()
        self._wake = threading.Event()
        self._closing = False
        # Held while the alias is read and a generation is loaded; it guards the attributes below.
        self._looking = threading.Lock()
        self._failures = Failures(alias, poll_seconds)
        self._trying: str | None = None
        self._older = OlderAnswers()
        self._holds = Holds(self._loaded(self._ask_alias(), []), self._wake.set)
        self._since, self._changes = datetime.now(UTC), 0
        self._watcher = threading.Thread(target=self._watch, name=f"keydistill-alias-{alias}", daemon=True)
        self._watcher.start()

    @classmethod
    def open(cls, settings: Settings, engine: Engine) -> Self:
        """The retriever that the settings ask for; raises as the constructor does."""
        return cls(
            engine,
            settings.alias,
            student_loader(settings),
            untuned=search_params_of(settings),
            poll_seconds=settings.alias_poll_seconds,
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def recommend(
        self,
        titles: Sequence[str],
        limit: int = 10,
        filters: Sequence[Filter | None] | None = None,
        *,
        fields: Sequence[ItemFields | None] | None = None,
        **arguments: Unpack[ListArguments],
    ) -> Answer[Recommendation]:
        """At most `limit` keyphrases for each title, all by one generation, as `Generation.recommend` finds them.

        Raises:
            CollectionNotFoundError: The collection is gone, and the one that the alias names now cannot be loaded.
            EngineUnavailableError: The server does not answer.
        """
        return self._asked(lambda generation: generation.recommend(titles, limit, filters, fields=fields, **arguments))

    def embed(
        self,
        titles: Sequence[str],
        categories: Sequence[str | None] | None = None,
        fields: Sequence[ItemFields | None] | None = None,
    ) -> list[QueryVector]:
        """Query vectors by the present student, as `Generation.embed` makes them."""
        with self.generation() as generation:
            return generation.embed(titles, categories, fields)

    def query(
        self, vectors: Sequence[QueryVector], limit: int = 10, filters: Sequence[Filter | None] | None = None
    ) -> Answer[Hit]:
        """The points nearest to each vector, as `Generation.query` finds them.

        Raises:
            StudentMismatchError: The student has changed since the vectors were embedded; embed the items again.
            CollectionNotFoundError: The collection is gone, and the one that the alias names now cannot be loaded.
        """
        return self._asked(lambda generation: generation.query(vectors, limit, filters))

    def ready_query(self, title: str, category: str | None = None, fields: ItemFields | None = None) -> ReadyQuery:
        """Collection, student version and vector for a service that asks Qdrant itself; see docs/serving.md."""
        return self.ready_queries([title], [category], [fields])[0]

    def ready_queries(
        self,
        titles: Sequence[str],
        categories: Sequence[str | None] | None = None,
        fields: Sequence[ItemFields | None] | None = None,
    ) -> list[ReadyQuery]:
        """A `ReadyQuery` for each of n items, all of one generation."""
        with self.generation() as generation:
            return [
                ReadyQuery(generation.collection, query.student_version, query.vector)
                for query in generation.embed(titles, categories, fields)
            ]

    def generation(self) -> AbstractContextManager[Generation]:
        """The present generation, for a block that needs the same one throughout; it is kept until the block ends.

        Raises:
            VectorStoreError: The retriever is closed, or was opened before a fork.
        """
        if os.getpid() != self._pid:
            raise VectorStoreError(
                f"this retriever was opened by process {self._pid}, before a fork; open one in each process that asks"
            )
        return self._holds.using()

    def beside(self, collection: str) -> Generation:
        """The generation of another ready collection, loaded beside the present one, to compare the two.

        Whoever has it gives it to `let_go` at the end.

        Raises:
            CollectionNotFoundError: There is no such collection.
            StudentError: Its student cannot be found any more, or has another version now.
        """
        return self._new(collection, self._holds.all())

    def let_go(self, generation: Generation) -> None:
        """Let go of what is open of a generation that `beside` gave, unless it is the present one by now."""
        if generation.collection not in {each.collection for each in self._holds.all()}:
            self._engine.release(generation.collection)

    def refresh(self) -> None:
        """Read the alias now, and return when its generation answers, with the search settings tuned for it by now.

        Raises:
            KeydistillError: The generation cannot be loaded; the one that answered before goes on.
        """
        with self._looking:
            self._look()
            self._take_tuning()

    def status(self) -> LiveStatus:
        """The status of the retriever; never waits for a load or the server."""
        present, *ending = self._holds.all()
        return LiveStatus(
            alias=self._alias,
            collection=present.collection,
            student_version=present.student_version,
            since=self._since,
            named=self._named,
            changes=self._changes,
            failure=self._failures.text,
            failures=self._failures.count,
            in_flight=self._holds.in_flight(),
            ending=tuple(generation.collection for generation in ending),
            watching=self._watcher.is_alive(),
        )

    def close(self, wait_seconds: float = 60.0) -> None:
        """Refuse new queries, end those in flight, end the thread. Closing twice does nothing.

        Args:
            wait_seconds: Longest wait. What takes longer, such as a request to a server that does not answer, ends by
                itself, and a warning says so.
        """
        self._closing = True
        if os.getpid() != self._pid:
            return
        self._wake.set()
        ended = self._holds.close(wait_seconds)
        self._watcher.join(wait_seconds)
        if not ended or self._watcher.is_alive():
            _log.warning("alias %s: closed, but after %.0f s something is still under way", self._alias, wait_seconds)

    def _asked(self, ask: Callable[[Generation], list[list[_Result]]]) -> Answer[_Result]:
        """Query the present generation; if its collection is deleted, the one that has come after it."""
        tries = 0
        while True:
            with self.generation() as generation:
                collection, student_version = generation.collection, generation.student_version
                try:
                    return Answer(collection, student_version, ask(generation))
                except CollectionNotFoundError:
                    tries += 1
                    if tries == _TRIES or not self._has_left(collection):
                        raise

    def _has_left(self, collection: str) -> bool:
        """Whether another collection answers in place of this one, which is gone."""
        with self._looking:
            try:
                # Another thread may have followed the alias while this one waited.
                if self._holds.current.collection == collection:
                    self._look()
                return self._holds.current.collection != collection
            except KeydistillError as failure:
                raise CollectionNotFoundError(
                    f"collection {collection} is gone, and what came after it does not answer: {failure}"
                ) from failure

    def _watch(self) -> None:
        while not self._closing:
            self._wake.wait(self._poll_seconds)
            self._wake.clear()
            self._holds.let_go()
            with self._looking:
                try:
                    if not self._closing:
                        self._look()
                except Exception:
                    # It is noted and logged. Whatever the error, it is tried again, and the present
                    # generation goes on.
                    continue

    def _look(self) -> None:
        """Read the alias and follow it; called only under `_looking`."""
        generations = self._holds.all()
        present = generations[0].collection
        self._trying = None
        with self._noting_failures():
            target = self._ask_alias()
            if target == present:
                self._older.forget()
            is_next = target != present and not self._older.is_late(self._engine, target, present)
        if is_next:
            # Not noted: it tells of a failure that was.
            self._failures.raise_if_too_soon(target)
            with self._noting_failures():
                self._change_over(generations[0], self._loaded(target, generations))
        self._failures.forget()

    @contextmanager
    def _noting_failures(self) -> Iterator[None]:
        try:
            yield
        except Exception as error:
            self._failures.note(self._trying, error)
            raise

    def _ask_alias(self) -> str:
        self._named = alias_target(self._engine, self._alias)
        return self._named

    def _loaded(self, target: str, present: Sequence[Generation]) -> Generation:
        """The generation of `target`: a present one, or a new one, with the student of a present one if possible."""
        while True:
            self._trying = target
            try:
                same = next((generation for generation in present if generation.collection == target), None)
                return same or self._new(target, present)
            except CollectionNotFoundError:
                # If it was deleted while it was loaded, the alias names another one.
                if (named := self._ask_alias()) == target:
                    raise
                target = named

    def _new(self, target: str, present: Sequence[Generation]) -> Generation:
        """A new generation of `target`, queried once."""
        students = [generation.student for generation in present]
        try:
            generation = Generation.load(
                *(self._engine, target, self._load_student),
                params=self._params,
                untuned=self._untuned,
                loaded=students,
            )
            # The first query pays for opening the collection and the like, so it must not be a caller's.
            generation.query(generation.embed(["warm-up"]), 1)
        except BaseException:
            self._engine.release(target)
            raise
        return generation

    def _take_tuning(self) -> None:
        """Take the search settings of the collection's metadata: it may have been tuned since it was loaded."""
        present = self._holds.current
        if self._params is None and (tuned := tuned_params(self._engine.info(present.collection))) != present.tuned:
            self._holds.put(replace(present, tuned=tuned))

    def _change_over(self, before: Generation, after: Generation) -> None:
        self._holds.put(after)
        if before is not after:
            self._since, self._changes = datetime.now(UTC), self._changes + 1
            _log.info(
                "alias %s: %s by student %s answers now, before it %s by %s",
                *(self._alias, after.collection, after.student_version, before.collection, before.student_version),
            )
