"""Several nodes behind one balancer, of which each learns a moment late what the others changed.

On a real cluster that is so of what consensus keeps: collections, their settings, metadata and indexes, and aliases.
Points are the same at every node here.
"""

import itertools
import threading
import time
from copy import deepcopy
from dataclasses import dataclass
from typing import Any

from tests.support.shelf import Collection, Shelf
from tests.support.wire import not_found

Json = Any


@dataclass(frozen=True)
class _View:
    """What consensus keeps, from `at` on."""

    at: float
    aliases: dict[str, str]
    collections: dict[str, Collection]
    shown: dict[str, Json]


class Balancer:
    """Deals requests to nodes in turn. The first knows everything at once, the last `lag` seconds later."""

    def __init__(self, shelf: Shelf, nodes: int, lag: float) -> None:
        self.shelf = shelf
        self._lock = threading.Lock()
        self._views = [self._present()]
        self._nodes = [Node(self, lag * number / max(1, nodes - 1)) for number in range(nodes)]
        self._turns = itertools.cycle(self._nodes)

    @property
    def nodes(self) -> int:
        return len(self._nodes)

    def next(self) -> "Node":
        with self._lock:
            return next(self._turns)

    def view(self, until: float) -> _View:
        """What was known at a time."""
        with self._lock:
            return next((view for view in reversed(self._views) if view.at <= until), self._views[0])

    def changed(self) -> None:
        with self._lock:
            self._views = [*self._views[-200:], self._present()]

    def lag(self, seconds: float) -> None:
        """From now on the last node learns of changes so much later; what was changed before, all know at once."""
        with self._lock:
            self._views = [self._present()]
            for number, node in enumerate(self._nodes):
                node.lag = seconds * number / max(1, len(self._nodes) - 1)

    def _present(self) -> _View:
        shown = {name: _settings(collection.info()) for name, collection in list(self.shelf.collections.items())}
        return _View(time.monotonic(), dict(self.shelf.aliases), dict(self.shelf.collections), shown)


class Node:
    """A shelf as one node sees it; what it changed itself it sees at once."""

    def __init__(self, balancer: Balancer, lag: float) -> None:
        self._balancer = balancer
        self.lag = lag
        self._changed_at = 0.0

    @property
    def _view(self) -> _View:
        return self._balancer.view(max(time.monotonic() - self.lag, self._changed_at))

    @property
    def aliases(self) -> dict[str, str]:
        return self._view.aliases

    @property
    def collections(self) -> dict[str, Collection]:
        return self._view.collections

    def get(self, name: str) -> "_LateCollection":
        view = self._view
        own_name = view.aliases.get(name, name)
        collection = view.collections.get(own_name)
        if collection is None or self._balancer.shelf.collections.get(own_name) is not collection:
            raise not_found(name)
        return _LateCollection(collection, view.shown[own_name], self)

    def create(self, name: str, body: Json) -> bool:
        self.changing(self._balancer.shelf.create, name, body)
        return True

    def drop(self, name: str) -> bool:
        dropped: bool = self.changing(self._balancer.shelf.drop, name)
        return dropped

    def change_aliases(self, actions: list[Json]) -> bool:
        self.changing(self._balancer.shelf.change_aliases, actions)
        return True

    def changing(self, function: Any, *arguments: Any) -> Any:
        result = function(*arguments)
        self._balancer.changed()
        self._changed_at = time.monotonic()
        return result


class _LateCollection:
    """A collection whose settings and indexes are shown as a node knows them."""

    def __init__(self, collection: Collection, shown: Json, node: Node) -> None:
        self._collection = collection
        self._shown = shown
        self._node = node

    def __getattr__(self, name: str) -> Any:
        return getattr(self._collection, name)

    def info(self) -> Json:
        return self._collection.info() | self._shown

    def change(self, body: Json) -> bool:
        changed: bool = self._node.changing(self._collection.change, body)
        return changed

    def create_index(self, body: Json) -> Json:
        return self._node.changing(self._collection.create_index, body)


def _settings(info: Json) -> Json:
    return {key: deepcopy(info[key]) for key in ("config", "payload_schema")}
