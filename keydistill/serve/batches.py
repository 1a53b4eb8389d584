"""The queue of requests, bounded, and the threads that answer what comes together as one batch."""

import asyncio
import logging
import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from keydistill.encoders import ItemFields, Vectors
from keydistill.retrieval import Generation, ListOptions, Recommendation, Reranker
from keydistill.serve import metrics
from keydistill.serve.problems import Problem
from keydistill.vectorstore import Filter

_log = logging.getLogger(__name__)

# Threads that answer batches: while one searches, the other embeds, whose arithmetic needs no interpreter lock.
_LANES = 2
# Of a batch's seconds per item, the share that the estimate takes over.
_NEW_SHARE = 0.1


@dataclass(frozen=True, slots=True)
class Search:
    """What is searched.

    Attributes:
        limit: Most keyphrases per item.
        filters: A filter for each item.
        options: What the lists are made of the nearest keyphrases by; None takes them as they are.
        excluded: For each item the keyphrases that its list must not have.
    """

    limit: int
    filters: Sequence[Filter]
    options: ListOptions | None
    excluded: Sequence[Sequence[str]]

    def by(
        self,
        generation: Generation,
        titles: Sequence[str],
        categories: Sequence[str | None],
        fields: Sequence[ItemFields],
        reranker: Reranker | None = None,
    ) -> list[list[Recommendation]]:
        """The lists of a generation that is asked beside the batches, for as many titles as there are filters."""
        return generation.recommend(
            titles,
            self.limit,
            self.filters,
            categories=categories,
            fields=fields,
            options=self.options,
            excluded=self.excluded if any(self.excluded) else None,
            reranker=reranker,
        )


@dataclass(frozen=True, slots=True)
class Outcome:
    """What came of a request, all of it by one generation.

    Attributes:
        collection: Collection that was searched.
        student_version: Student that built it and embedded the items.
        vectors: Vector of each item, shape (dimension,).
        lists: Keyphrases of each item, best first; empty without a search.
        waited: Seconds in the queue.
        embedded: Seconds in which its batch was embedded.
        searched: Seconds in which its batch was searched.
    """

    collection: str
    student_version: str
    vectors: Sequence[Vectors]
    lists: Sequence[Sequence[Recommendation]]
    waited: float
    embedded: float
    searched: float


@dataclass(slots=True, eq=False)
class Job:
    """A request on its way through the queue.

    Attributes:
        titles: Titles of its items.
        categories: Their leaf categories, where they are known.
        fields: Their free fields.
        search: What is searched; None only embeds.
        deadline: Time on the monotonic clock after which nobody waits for it.
        queued: Time on that clock at which it came.
        taken: Time at which its batch was taken up.
    """

    titles: Sequence[str]
    categories: Sequence[str | None]
    fields: Sequence[ItemFields]
    search: Search | None
    deadline: float
    queued: float = field(default_factory=time.monotonic)
    taken: float = 0.0
    result: "asyncio.Future[Outcome] | None" = None


class Batches:
    """Requests in, outcomes out; at any time a bounded number of items waits or is being answered."""

    def __init__(
        self,
        answer: Callable[[Sequence[Job]], Sequence[Outcome | Exception]],
        *,
        most_items: int,
        batch_items: int,
        wait_seconds: float,
    ) -> None:
        """Start the threads.

        Args:
            answer: What answers a batch, request by request.
            most_items: Items, waiting, being answered or to be handed out, from which on requests are refused: whoever
                is accepted waits for all of them, wherever they stand.
            batch_items: Items from which on a batch waits for no more; a single request may have more.
            wait_seconds: Longest time that a request waits for others. With 0 a thread that is free takes what is
                there, and what comes while all are busy makes the next batch.
        """
        self._answer = answer
        self._most_items, self._batch_items, self._wait_seconds = most_items, batch_items, wait_seconds
        self._changed = threading.Condition()
        self._queue: deque[Job] = deque()
        self._items, self._answering = 0, 0
        self._closing = False
        self._seconds_per_item = 0.001
        self._loop = asyncio.get_running_loop()
        self._lanes = [
            threading.Thread(target=self._work, name=f"keydistill-lane-{n}", daemon=True) for n in range(_LANES)
        ]
        for lane in self._lanes:
            lane.start()

    def refuse_if_full(self) -> None:
        """Raise what a request gets that comes now, if it cannot wait.

        Raises:
            Problem: There are too many items already.
        """
        items = self._items + self._answering
        if items >= self._most_items:
            raise Problem(
                "overloaded",
                f"{items} items wait or are being answered already, and at most {self._most_items} may; "
                "come back later",
                retry_after=items * self._seconds_per_item / _LANES,
            )

    async def outcome(self, job: Job, *, first: bool = False) -> Outcome:
        """The outcome of a request.

        Args:
            job: The request.
            first: Let it wait in front of all others, however many these are.

        Raises:
            Problem: There are too many items already, or its time is over.
            Exception: Whatever answering it raised.
        """
        if not first:
            self.refuse_if_full()
        job.result = self._loop.create_future()
        with self._changed:
            (self._queue.appendleft if first else self._queue.append)(job)
            self._count(len(job.titles))
            self._changed.notify()
        timer = self._loop.call_later(max(0.0, job.deadline - time.monotonic()), _give_up, job)
        try:
            return await job.result
        finally:
            timer.cancel()

    @property
    def alive(self) -> bool:
        """Whether all threads live."""
        return all(lane.is_alive() for lane in self._lanes)

    def close(self, wait_seconds: float) -> None:
        """Answer what waits, and end the threads."""
        with self._changed:
            self._closing = True
            self._changed.notify_all()
        until = time.monotonic() + wait_seconds
        for lane in self._lanes:
            lane.join(max(0.0, until - time.monotonic()))

    def _work(self) -> None:
        while jobs := self._next():
            began = time.monotonic()
            items = sum(len(job.titles) for job in jobs)
            metrics.BATCH_ITEMS.observe(items)
            for job in jobs:
                job.taken = began
                metrics.WAIT_SECONDS.observe(began - job.queued)
            outcomes = self._answer(jobs)
            seconds = (time.monotonic() - began) / items
            self._seconds_per_item += _NEW_SHARE * (seconds - self._seconds_per_item)
            try:
                self._loop.call_soon_threadsafe(self._settle, jobs, outcomes)
            except RuntimeError:
                return  # the loop is closed: nobody waits any more

    def _settle(self, jobs: Sequence[Job], outcomes: Sequence[Outcome | Exception]) -> None:
        """Hand out the outcomes, in the loop: until it comes to them they are waited for, and count."""
        with self._changed:
            self._answering -= self._weight(jobs)
        for job, outcome in zip(jobs, outcomes, strict=True):
            if job.result is None or job.result.done():
                continue
            if isinstance(outcome, Exception):
                job.result.set_exception(outcome)
            else:
                job.result.set_result(outcome)

    def _weight(self, jobs: Sequence[Job]) -> int:
        """Items that a batch counts as: one large request is no reason to refuse all others while it is answered."""
        return min(sum(len(job.titles) for job in jobs), self._batch_items)

    def _next(self) -> list[Job]:
        """The next batch, of requests that somebody still waits for; empty when there will be none."""
        with self._changed:
            while True:
                while not self._queue:
                    if self._closing:
                        return []
                    self._changed.wait()
                if not self._closing and self._items < self._batch_items:
                    left = self._queue[0].queued + self._wait_seconds - time.monotonic()
                    if left > 0:
                        self._changed.wait(left)
                        continue
                if jobs := self._taken():
                    self._answering += self._weight(jobs)
                    return jobs

    def _taken(self) -> list[Job]:
        jobs: list[Job] = []
        items = 0
        while self._queue and (not jobs or items + len(self._queue[0].titles) <= self._batch_items):
            job = self._queue.popleft()
            self._count(-len(job.titles))
            if job.result is None or job.result.done():
                continue  # its time is over, or whoever asked is gone
            jobs.append(job)
            items += len(job.titles)
        return jobs

    def _count(self, items: int) -> None:
        self._items += items
        metrics.QUEUE_ITEMS.set(self._items)


def _give_up(job: Job) -> None:
    if job.result is not None and not job.result.done():
        seconds = time.monotonic() - job.queued
        job.result.set_exception(
            Problem("timeout", f"there was no answer within {seconds:.3f} s; allow more time, or ask for fewer items")
        )
