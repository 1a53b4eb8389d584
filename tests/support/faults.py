"""Faults that tests order from the REST front, and its record of what it was asked."""

import asyncio
import re
import threading
import time
from dataclasses import dataclass, field
from typing import Any


@dataclass
class Fault:
    """Every `every`-th request whose "METHOD /path" matches `match` goes wrong, `times` times at the most.

    Attributes:
        status: Answer with this status; None only delays.
        when: "before" the request is carried out, or "after", so that the work is done and its answer lost.
        delay: Seconds to wait first.
        delay_after: Seconds to wait before the answer, when the work is done.
        retry_after: Seconds for the header of that name.
        message: Text of the error.
    """

    status: int | None = 503
    match: str = ""
    every: int = 1
    times: int | None = None
    when: str = "before"
    delay: float = 0.0
    delay_after: float = 0.0
    retry_after: int | None = None
    message: str = "Service unavailable: a fault that the test ordered"
    seen: int = 0
    done: int = 0


@dataclass
class Ledger:
    """The faults that are ordered and the requests that came."""

    faults: list[Fault] = field(default_factory=list)
    requests: list[dict[str, Any]] = field(default_factory=list)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def due(self, request: str) -> Fault | None:
        """The fault that this request meets, if any; counts it."""
        with self._lock:
            for fault in self.faults:
                if not re.search(fault.match, request):
                    continue
                fault.seen += 1
                if fault.seen % fault.every == 0 and (fault.times is None or fault.done < fault.times):
                    fault.done += 1
                    return fault
        return None

    async def wait(self, fault: Fault, seconds: float) -> None:
        """Return after that many seconds, or once the fault is no longer ordered."""
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline and any(ordered is fault for ordered in self.faults):
            await asyncio.sleep(0.02)
