"""Failures of something that is tried again and again: logged once per cause, shown, tried ever more rarely."""

import logging
import time

from keydistill.errors import KeydistillError

_log = logging.getLogger(__name__)

# The longest pause between two tries, in pauses.
_LONGEST_PAUSE = 10


class Failures:
    """Failures to follow an alias since it was last followed; used under its owner's lock."""

    def __init__(self, alias: str, pause_seconds: float) -> None:
        self._alias = alias
        self._pause_seconds = pause_seconds
        self.forget()

    def forget(self) -> None:
        """Forget all failures, after a success."""
        self.count = 0
        self.text: str | None = None
        # Not the error itself: its traceback would keep a student in memory.
        self._last: tuple[str | None, type[KeydistillError], float] | None = None
        self._logged: set[str] = set()

    def note(self, target: str | None, error: Exception) -> None:
        """Remember that loading `target` failed (None: not even asking what the alias names worked)."""
        expected = isinstance(error, KeydistillError)
        text = str(error) if expected else f"{type(error).__name__}: {error}"
        self.count += 1
        self.text = text
        pause = self._pause_seconds * min(2.0 ** (self.count - 1), _LONGEST_PAUSE)
        kind = type(error) if isinstance(error, KeydistillError) else KeydistillError
        self._last = (target, kind, time.monotonic() + pause)
        if text not in self._logged:
            self._logged.add(text)
            goes_on = "what answered before goes on"
            # A traceback is logged where the failure is a defect.
            _log.warning("alias %s: %s; %s", self._alias, text, goes_on, exc_info=None if expected else error)

    def raise_if_too_soon(self, target: str) -> None:
        """Refuse another try of `target` right after a failure, or many queries would try one after the other.

        Raises:
            KeydistillError: The last try failed a moment ago; this one has its words.
        """
        if self._last is None or self.text is None:
            return
        failed, kind, again = self._last
        if failed == target and time.monotonic() < again:
            raise kind(self.text)
