"""What the nodes of a cluster agree on: collections, their settings, metadata and indexes, and aliases.

A change is answered when one node has it; the others have it a moment later, and a balancer spreads requests over all
(https://qdrant.tech/documentation/guides/distributed_deployment/#raft). So a change counts as made once several reads
in a row show it, and a decision is made on what several reads in a row say.
"""

import time
from collections.abc import Callable
from typing import TypeVar

from keydistill.errors import CollectionNotFoundError, EngineUnavailableError, VectorStoreError
from keydistill.vectorstore.server.calls import duration

_Value = TypeVar("_Value")

# With a balancer that takes turns each node answers so many of the reads.
_LOOKS_PER_NODE = 3
# Where the number of nodes is not told: as for three, the smallest cluster that survives the loss of one.
_LOOKS_UNTOLD = 9
_FRESH_SECONDS = 60.0
_PAUSE_SECONDS = 0.05


class Consensus:
    """Waits for the nodes of a cluster to say the same; of a server that is alone every read is believed."""

    def __init__(self, count_nodes: Callable[[], int | None], *, limit_seconds: float = 60.0) -> None:
        """Nothing is asked yet.

        Args:
            count_nodes: Function that asks how many nodes there are; None: the server does not tell.
            limit_seconds: Longest wait for the nodes to agree.
        """
        self._count_nodes = count_nodes
        self._limit_seconds = limit_seconds
        self._looks: int | None = None
        self._asked_at = 0.0

    @property
    def is_shared(self) -> bool:
        """Whether there may be several nodes."""
        return self.looks > 1

    @property
    def looks(self) -> int:
        """Number of reads in a row that must say the same."""
        if self._looks is None or time.monotonic() - self._asked_at > _FRESH_SECONDS:
            nodes = self._count_nodes()
            self._looks = _LOOKS_UNTOLD if nodes is None else 1 if nodes < 2 else nodes * _LOOKS_PER_NODE
            self._asked_at = time.monotonic()
        return self._looks

    def settle(self, doing: str, is_seen: Callable[[], bool]) -> None:
        """Return once a change that was made is what several reads in a row show.

        Args:
            doing: Description of the change for the error's text.
            is_seen: Function that reads and compares. CollectionNotFoundError counts as not seen.

        Raises:
            EngineUnavailableError: The nodes do not agree within the time limit.
        """
        if not self.is_shared:
            return

        def look() -> bool:
            try:
                return is_seen()
            except CollectionNotFoundError:
                return False

        if self._agreed(doing, look, lambda seen: seen) is None:
            raise self._disagreement(doing)

    def steady(self, doing: str, read: Callable[[], _Value]) -> _Value:
        """What several reads in a row say.

        Raises:
            EngineUnavailableError: The nodes do not agree within the time limit.
        """
        if not self.is_shared:
            return read()
        values = self._agreed(doing, read, lambda value: True)
        if values is None:
            raise self._disagreement(doing)
        return values[0]

    def first(self, read: Callable[[], _Value]) -> _Value:
        """What the first node says that knows the collection: it is missing only where no node knows it."""
        for _ in range(self.looks - 1 if self.is_shared else 0):
            try:
                return read()
            except CollectionNotFoundError:
                time.sleep(_PAUSE_SECONDS / 5)
        return read()

    def _agreed(self, doing: str, read: Callable[[], _Value], counts: Callable[[_Value], bool]) -> tuple[_Value] | None:
        """The value that enough reads in a row had; None where time ran out before."""
        deadline = time.monotonic() + self._limit_seconds
        last, in_a_row = read(), 1
        while True:
            if not counts(last):
                in_a_row = 0
            if in_a_row >= self.looks:
                return (last,)
            if in_a_row < 2:
                if time.monotonic() > deadline:
                    return None
                time.sleep(_PAUSE_SECONDS)
            value = read()
            in_a_row, last = (in_a_row + 1 if value == last else 1), value

    def _disagreement(self, doing: str) -> EngineUnavailableError:
        return EngineUnavailableError(
            f"{doing}: the nodes of the cluster do not say the same after {duration(self._limit_seconds)}; look at "
            "GET /cluster of each, then resume the run"
        )


def nodes_of(status: object) -> int | None:
    """The number of nodes in the answer to `GET /cluster`; None where it says none."""
    if getattr(status, "status", None) == "disabled":
        return 1
    peers = getattr(status, "peers", None)
    return len(peers) if peers else None


def told(ask: Callable[[], object]) -> int | None:
    """The number of nodes, where the key may ask for it."""
    try:
        return nodes_of(ask())
    except NotImplementedError:  # the client's local mode
        return 1
    except VectorStoreError:
        return None
