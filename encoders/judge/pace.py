"""The pace of requests, by which an endpoint's limits per minute are kept."""

import asyncio


class Pace:
    """A pace that spaces requests evenly, so that a limit is not used up in a burst, nor exceeded in any minute.

    Args:
        requests_per_minute: Most requests per minute; None sets no limit.
        tokens_per_minute: Most tokens per minute; None sets no limit.
    """

    def __init__(self, requests_per_minute: float | None, tokens_per_minute: float | None) -> None:
        self._per_request = 0.0 if requests_per_minute is None else 60 / requests_per_minute
        self._per_token = 0.0 if tokens_per_minute is None else 60 / tokens_per_minute
        self._free_for_request = 0.0
        self._free_for_tokens = 0.0
        self._held_until = 0.0

    def reserve(self, now: float, tokens: int) -> float:
        """Take the next free place; the time at which it begins, in seconds of the same clock as `now`.

        >>> pace = Pace(requests_per_minute=60, tokens_per_minute=None)
        >>> [pace.reserve(100.0, tokens=500) for _ in range(3)]
        [100.0, 101.0, 102.0]
        """
        start = max(now, self._held_until, self._free_for_request, self._free_for_tokens)
        self._free_for_request = start + self._per_request
        self._free_for_tokens = start + self._per_token * tokens
        return start

    def hold(self, until: float) -> None:
        """Let nothing out before this time: the endpoint asked for a pause."""
        self._held_until = max(self._held_until, until)

    async def turn(self, tokens: int) -> None:
        """Wait for a place."""
        clock = asyncio.get_running_loop().time
        start = self.reserve(clock(), tokens)
        # A pause may be ordered while this one waits.
        while (wait := max(start, self._held_until) - clock()) > 0:
            await asyncio.sleep(wait)
