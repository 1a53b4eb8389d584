"""Signs of life that workers and the beat give, and the stopped processes among a worker's pool."""

import logging
import platform
import time
from contextlib import suppress
from pathlib import Path
from typing import Any

from celery import bootsteps

from keydistill.errors import RedisUnavailableError
from keydistill.runs import SIGN_SECONDS, Sign, open_signs
from keydistill.settings import load_settings

_log = logging.getLogger(__name__)


class WorkerPresence(bootsteps.StartStopStep):  # type: ignore[misc]
    """The step of a worker's start after which it gives signs of life; while it ends as told, it takes them back."""

    requires = ("celery.worker.consumer.tasks:Tasks",)

    def __init__(self, parent: Any, **options: Any) -> None:
        super().__init__(parent, **options)
        self._timer: Any = None
        self._signs = open_signs(load_settings())

    def start(self, parent: Any) -> None:
        """Give the first sign, and the next ones by the worker's timer."""
        self._give(parent)
        self._timer = parent.timer.call_repeatedly(SIGN_SECONDS, self._give, (parent,))

    def stop(self, parent: Any) -> None:
        """Give no more signs."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def shutdown(self, parent: Any) -> None:
        """The worker ends as told: nobody need miss it."""
        self.stop(parent)
        with suppress(RedisUnavailableError):
            self._signs.take_back(parent.hostname)

    def _give(self, parent: Any) -> None:
        processes = parent.pool.info.get("processes", []) if parent.pool is not None else []
        stopped = [pid for pid in processes if _is_stopped(pid)]
        # Redis may be away just now; whoever looks sees how old the last sign is.
        with suppress(RedisUnavailableError):
            self._signs.give(Sign.of(parent.hostname, sorted(parent.app.amqp.queues.consume_from), stopped))


class BeatPresence:
    """The signs of life of the beat that has the lock."""

    def __init__(self) -> None:
        self._signs = open_signs(load_settings())
        self._name = f"beat@{platform.node()}"
        self._next = 0.0

    def show(self) -> None:
        """Give a sign, if it is time for one."""
        if time.monotonic() < self._next:
            return
        self._next = time.monotonic() + SIGN_SECONDS
        with suppress(RedisUnavailableError):
            self._signs.give(Sign.of(self._name))

    def take_back(self) -> None:
        """The beat ends as told: nobody need miss it."""
        with suppress(RedisUnavailableError):
            self._signs.take_back(self._name)


def _is_stopped(pid: int) -> bool:
    """Whether a process was stopped by a signal; only Linux tells."""
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except (OSError, IndexError):
        return False
    return state in ("T", "t")
