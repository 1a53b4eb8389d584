"""Another generation than the live one, to be compared with it: loaded when it is asked for, one at a time."""

import asyncio
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

from keydistill.errors import (
    CollectionNotFoundError,
    CollectionStateError,
    EngineUnavailableError,
    KeydistillError,
)
from keydistill.retrieval import Generation, Recommendation
from keydistill.serve.batches import Job
from keydistill.serve.live import Live
from keydistill.serve.problems import Problem

# Requests that may wait for the one thread: people compare, services do not.
_MOST_WAITING = 8


@dataclass(frozen=True, slots=True)
class ComparedAnswer:
    """The lists of a request, and the generation that they come from."""

    collection: str
    student_version: str
    lists: list[list[Recommendation]]


class ComparedGeneration:
    """The one generation that is loaded beside the live one, until another is asked for or nobody asks for a while.

    One thread loads it and asks it, so that what it takes of the machine is bounded, and callers of the live generation
    never wait behind it.
    """

    def __init__(self, live: Live, seconds: float) -> None:
        """Load nothing yet.

        Args:
            live: The live generation, whose engine and student loader serve for this one.
            seconds: Time after the last request at which it is let go of.
        """
        self._live, self._seconds = live, seconds
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="keydistill-compared")
        self._places = threading.BoundedSemaphore(_MOST_WAITING)
        self._generation: Generation | None = None
        self._let_go_later: asyncio.TimerHandle | None = None

    @property
    def collection(self) -> str | None:
        """The collection that is loaded."""
        generation = self._generation
        return None if generation is None else generation.collection

    async def answer(self, collection: str, job: Job) -> ComparedAnswer:
        """The lists of a request by the generation of a collection.

        Raises:
            Problem: It cannot be loaded, or there is no answer in time.
        """
        if not self._places.acquire(blocking=False):
            raise Problem("overloaded", f"{_MOST_WAITING} comparisons wait already", retry_after=2)
        loop = asyncio.get_running_loop()
        working = self._thread.submit(self._answer, collection, job)
        # Whoever waits may leave; the thread goes on.
        working.add_done_callback(lambda _: self._places.release())
        try:
            async with asyncio.timeout(job.deadline - time.monotonic()):
                return await asyncio.wrap_future(working)
        except TimeoutError:
            raise Problem("timeout", f"{collection} did not answer in time; if it is being loaded, try again") from None
        except (CollectionNotFoundError, CollectionStateError) as error:
            detail = "there is no such collection that is ready any more; choose another one"
            raise Problem("invalid", detail, places=[("/collection", detail)]) from error
        except EngineUnavailableError as error:
            raise Problem("engine-unavailable", "try again in a moment", retry_after=1) from error
        except KeydistillError as error:
            detail = "this generation cannot be loaded, and the log says why; choose another one"
            raise Problem("invalid", detail, places=[("/collection", detail)]) from error
        finally:
            if self._let_go_later is not None:
                self._let_go_later.cancel()
            self._let_go_later = loop.call_later(self._seconds, self._thread.submit, self._let_go)

    def close(self) -> None:
        """Take no more requests, end the one under way, let go of the generation."""
        if self._let_go_later is not None:
            self._let_go_later.cancel()
        self._thread.shutdown(wait=True, cancel_futures=True)
        self._let_go()

    def _answer(self, collection: str, job: Job) -> ComparedAnswer:
        generation, search = self._loaded(collection), job.search
        assert search is not None
        lists = search.by(generation, job.titles, job.categories, job.fields)
        return ComparedAnswer(generation.collection, generation.student_version, lists)

    def _loaded(self, collection: str) -> Generation:
        if self._generation is not None and self._generation.collection != collection:
            self._let_go()
        if self._generation is None:
            retriever = self._live.retriever
            if retriever is None:
                raise EngineUnavailableError("nothing is live yet")
            self._generation = retriever.beside(collection)
        return self._generation

    def _let_go(self) -> None:
        generation, self._generation = self._generation, None
        if generation is not None and self._live.retriever is not None:
            self._live.retriever.let_go(generation)
