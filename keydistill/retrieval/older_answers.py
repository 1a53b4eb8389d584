"""Answers of a node that is late: an alias that still names what another collection has replaced."""

import logging
import time

from keydistill.errors import CollectionNotFoundError
from keydistill.vectorstore import Engine

_log = logging.getLogger(__name__)

# No node is late for so long; what the alias names throughout is what it names, whatever the numbers say.
_LATE_SECONDS = 60.0


class OlderAnswers:
    """Tells a swap from the answer of a node that has not heard of the last one, by the numbers of the swaps."""

    def __init__(self, late_seconds: float = _LATE_SECONDS) -> None:
        self._late_seconds = late_seconds
        self._since: tuple[str, float] | None = None

    def forget(self) -> None:
        """Note that the alias names what answers now."""
        self._since = None

    def is_late(self, engine: Engine, target: str, present: str) -> bool:
        """Whether the alias was said to name `target` by a node that has not heard of `present` yet.

        A collection that was put live before the present one is no step forward, unless the alias names it for longer
        than a node can be late: then it was moved by other means than a swap of ours.
        """
        try:
            number, present_number = engine.went_live(target), engine.went_live(present)
        except CollectionNotFoundError:
            return False
        if number is None or present_number is None or number > present_number:
            self._since = None
            return False
        now = time.monotonic()
        if self._since is None or self._since[0] != target:
            self._since = target, now
        is_late = now - self._since[1] < self._late_seconds
        if not is_late:
            _log.warning("the alias names %s for %.0f s, though %s came later", target, self._late_seconds, present)
        return is_late
