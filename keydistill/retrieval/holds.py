"""The generation that answers, and the earlier ones, which are let go of when their last query has ended."""

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from keydistill.errors import VectorStoreError
from keydistill.retrieval.generation import Generation


@dataclass(slots=True, eq=False)
class _Hold:
    generation: Generation
    users: int = 0


class Holds:
    """A generation that answers and is replaced under load; every query ends on the one that it began with."""

    def __init__(self, first: Generation, on_idle: Callable[[], None]) -> None:
        """Begin with the generation `first`.

        Args:
            first: Generation that answers until `put`.
            on_idle: Called when a replaced generation has no query left; somebody then calls `let_go`. It is not done
                right away, because the query would pay for it.
        """
        self._changed = threading.Condition()
        self._current: _Hold | None = _Hold(first)
        self._replaced: list[_Hold] = []
        self._on_idle = on_idle

    @contextmanager
    def using(self) -> Iterator[Generation]:
        """The generation that answers, kept until the block ends.

        Raises:
            VectorStoreError: `close` was called.
        """
        with self._changed:
            hold = self._present()
            hold.users += 1
        try:
            yield hold.generation
        finally:
            with self._changed:
                hold.users -= 1
                idle = not hold.users and hold is not self._current
                if idle:
                    self._changed.notify_all()
            if idle:
                self._on_idle()

    @property
    def current(self) -> Generation:
        """The generation that answers; nothing keeps it from being replaced, see `using`."""
        with self._changed:
            return self._present().generation

    def all(self) -> list[Generation]:
        """The generation that answers, and then those that still have queries in flight.

        Raises:
            VectorStoreError: `close` was called.
        """
        with self._changed:
            self._present()
            return [hold.generation for hold in self._all()]

    def in_flight(self) -> int:
        """The number of queries under way, on all generations."""
        with self._changed:
            return sum(hold.users for hold in self._all())

    def put(self, generation: Generation) -> None:
        """Let `generation` answer all queries that begin from now on. After `close` this does nothing."""
        with self._changed:
            if self._current is None:
                generation.engine.release(generation.collection)
                return
            if self._current.generation is generation:
                return
            # After a swap and back the former generation may still be at work: it goes on.
            back = next((hold for hold in self._replaced if hold.generation is generation), None)
            if back is not None:
                self._replaced.remove(back)
            self._replaced.append(self._current)
            self._current = back or _Hold(generation)
        self._on_idle()

    def let_go(self) -> None:
        """Let go of replaced generations that have no query left: of their students, and of what is open of them."""
        with self._changed:
            ended = [hold.generation for hold in self._replaced if not hold.users]
            self._replaced = [hold for hold in self._replaced if hold.users]
            kept = {hold.generation.collection for hold in self._all()}
        for generation in ended:
            if generation.collection not in kept:
                generation.engine.release(generation.collection)

    def close(self, wait_seconds: float) -> bool:
        """Answer no more, wait for what is in flight, let go of everything.

        Returns:
            Whether everything ended within `wait_seconds`.
        """
        deadline = time.monotonic() + wait_seconds
        with self._changed:
            if self._current is not None:
                self._replaced.append(self._current)
                self._current = None
            ended = self._changed.wait_for(
                lambda: not any(hold.users for hold in self._replaced), max(0.0, deadline - time.monotonic())
            )
        self.let_go()
        return ended

    def _present(self) -> _Hold:
        if self._current is None:
            raise VectorStoreError("the retriever is closed; open another one")
        return self._current

    def _all(self) -> list[_Hold]:
        return self._replaced if self._current is None else [self._current, *self._replaced]
