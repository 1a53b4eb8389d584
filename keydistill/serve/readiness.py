"""Whether the service answers: it asks itself, through the same queue, threads, student and engine as its callers."""

import asyncio
import logging
import time

from keydistill.serve import metrics
from keydistill.serve.batches import Batches, Job, Search
from keydistill.serve.live import Live
from keydistill.vectorstore import Filter

_log = logging.getLogger(__name__)

# A service that has not answered itself for so long is not ready. With the pause it makes less than five seconds.
_FRESH_SECONDS = 4.0
_PAUSE_SECONDS = 0.5
_TITLE = "warm-up"


class Readiness:
    """The last time that the service answered itself, kept up by `watch`."""

    def __init__(self, live: Live, batches: Batches) -> None:
        self._live, self._batches = live, batches
        self._answered: float | None = None
        self._failure, self._logged = "no answer yet", ""
        self._changes = 0
        self._draining = False

    @property
    def is_warm(self) -> bool:
        """Whether there was a first answer."""
        return self._answered is not None

    def reason(self) -> str | None:
        """Why the service is not ready; None where it is."""
        if self._draining:
            return "it is being shut down"
        if (failure := self._live.failure) is not None:
            return failure
        if not self._batches.alive:
            return "a thread that answers batches has ended"
        if self._answered is None or time.monotonic() - self._answered > _FRESH_SECONDS:
            return self._failure
        return None

    def drain(self) -> None:
        """Be ready no more."""
        self._draining = True

    async def watch(self) -> None:
        """Ask, again and again, until cancelled."""
        was_ready = False
        while True:
            if self._live.status() is not None:
                await self._ask()
                self._count_changes()
            reason = self.reason()
            metrics.READY.set(reason is None)
            if was_ready != (reason is None):
                was_ready = reason is None
                _log.log(
                    logging.INFO if was_ready else logging.WARNING, "ready" if was_ready else f"not ready: {reason}"
                )
            await asyncio.sleep(_PAUSE_SECONDS if self.is_warm else _PAUSE_SECONDS / 10)

    async def _ask(self) -> None:
        job = Job([_TITLE], [None], [{}], Search(1, [Filter()], None, [()]), time.monotonic() + _FRESH_SECONDS)
        try:
            await self._batches.outcome(job, first=True)
            self._answered = time.monotonic()
        except Exception as error:
            reason = f"{type(error).__name__}: {error}"
            if reason != self._logged:
                _log.warning("the service does not answer itself: %s", reason)
            self._logged = reason
            # Anybody may ask whether it is ready; what the engine says is for the log.
            self._failure = "it does not answer itself; the log says why"
        else:
            self._logged = ""

    def _count_changes(self) -> None:
        status = self._live.status()
        if status is not None and status.changes > self._changes:
            metrics.SWAPS.inc(status.changes - self._changes)
            self._changes = status.changes
