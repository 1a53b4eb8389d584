"""Deaths of a process, as far as one process can have them: at a call that changes something, nothing goes on.

And full disks, which such a call finds, and of which the process lives on.
"""

import errno
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import wraps

import pytest

from keydistill.runs.file_store import FileRunStore
from keydistill.runs.redis_store import RedisRunStore
from keydistill.vectorstore.edge.engine import EmbeddedEngine
from keydistill.vectorstore.server.connection import Connection
from keydistill.vectorstore.server.engine import ServerEngine

_ENGINE = ("create", "copy", "duplicate", "set_metadata", "upsert", "delete", "finish", "swap_alias", "drop")
# A death at a call that only reads is one at the next that writes.
_CALLS = (
    (EmbeddedEngine, _ENGINE),
    (ServerEngine, _ENGINE),
    # Within `create` and `finish` of the server's engine.
    (Connection, ("update", "make_indexes")),
    (FileRunStore, ("add", "update", "note")),
    (RedisRunStore, ("add", "update", "note")),
)


# At the how many-th call, whether after it was done, and whether by a full disk.
Kill = tuple[int, bool, bool]


class Killed(BaseException):
    """As the death of the process would, it is caught nowhere."""


class Kills:
    """Counts calls that change something, and kills at one of them.

    Attributes:
        where: The call at which it killed last.
        was_full: Whether the last `at` ended at a full disk.
    """

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.where: str | None = None
        self._left: int | None = None
        self._after = self._full = self.was_full = False
        for kind, names in _CALLS:
            for name in names:
                monkeypatch.setattr(kind, name, self._watched(kind, name))

    @contextmanager
    def at(self, call: int, after: bool, full: bool) -> Iterator[None]:
        """Kill at the `call`-th of the calls in the block, before it is done or after; if there are as many."""
        self._left, self._after, self._full, self.where, self.was_full = call, after, full, None, False
        try:
            yield
        finally:
            self._left = None

    def _watched(self, kind: type, name: str) -> Callable[..., object]:
        original = getattr(kind, name)

        @wraps(original)
        def watched(*args: object, **kwargs: object) -> object:
            if self._left is None:
                return original(*args, **kwargs)
            self._left -= 1
            due = self._left == 0
            if due and not self._after:
                self._kill(kind, name)
            result = original(*args, **kwargs)
            if due:
                self._kill(kind, name)
            return result

        return watched

    def _kill(self, kind: type, name: str) -> None:
        self._left, self.where = None, f"{'after' if self._after else 'before'} {kind.__name__}.{name}"
        if self._full:
            self.was_full = True
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), self.where)
        raise Killed(self.where)
