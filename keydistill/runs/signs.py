"""The sign of life of a worker or beat."""

import time
from dataclasses import dataclass
from importlib.metadata import version
from typing import Self

# How often a sign is given; and after how long without one nobody counts on who gave it.
SIGN_SECONDS = 5.0
SILENT_SECONDS = 30.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Sign:
    """The last sign of life of a worker or beat.

    Attributes:
        name: Name of the worker (QUEUE@HOST, as it was started) or beat.
        queues: Queues that the worker takes messages from; none for a beat.
        at: Time of the sign, in seconds since 1970.
        stopped: Processes of the pool that are stopped, and so end nothing that they have begun.
        version: Version of keydistill that the process runs; None of one that does not say it yet.
    """

    name: str
    queues: list[str]
    at: float
    stopped: list[int]
    version: str | None = None

    @classmethod
    def of(cls, name: str, queues: list[str] | None = None, stopped: list[int] | None = None) -> Self:
        """A sign that is given now."""
        return cls(name=name, queues=queues or [], at=time.time(), stopped=stopped or [], version=version("keydistill"))

    @property
    def age_seconds(self) -> float:
        """Seconds since the sign was given."""
        return max(0.0, time.time() - self.at)

    @property
    def is_fresh(self) -> bool:
        """Whether who gave the sign counts as alive."""
        return self.age_seconds <= SILENT_SECONDS
