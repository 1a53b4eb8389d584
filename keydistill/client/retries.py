"""When a request is sent again, and when it is given up."""

import random
from dataclasses import dataclass

import httpx

from keydistill.errors import ServiceError, ServiceUnavailableError, one_line

# Passing states of the service, and of what may stand before it. Asking twice does no harm: nothing is changed.
_PASSING = frozenset({429, 502, 503, 504})


@dataclass(frozen=True, slots=True)
class Retries:
    """How often and how long a client tries.

    Attributes:
        most: Tries after the first.
        pause_seconds: Mean pause before the first of them, where the service names none; it doubles with each.
        longest_pause_seconds: Longest pause, also where the service names a longer one: then the error is raised.
    """

    most: int = 4
    pause_seconds: float = 0.1
    longest_pause_seconds: float = 30.0

    def pause(self, tries: int, response: httpx.Response | None) -> float | None:
        """Seconds until the next try; None where there is none.

        Args:
            tries: Tries so far.
            response: What the service answered; None where it could not be reached.
        """
        if tries > self.most or (response is not None and response.status_code not in _PASSING):
            return None
        named = "" if response is None else response.headers.get("Retry-After", "")
        if named.isascii() and named.isdigit():
            # Not earlier than it says; a little later, or all that were refused come back at once.
            return int(named) * random.uniform(1.0, 1.1) if int(named) <= self.longest_pause_seconds else None
        pause = self.pause_seconds * 2.0 ** (tries - 1) * random.uniform(0.5, 1.5)
        return min(self.longest_pause_seconds, pause)


def failure(url: str, outcome: httpx.Response | httpx.HTTPError) -> ServiceError:
    """The error of a request that is given up, in one line."""
    if isinstance(outcome, httpx.HTTPError):
        reason = str(outcome) or type(outcome).__name__
        return ServiceUnavailableError(
            one_line(f"{url} does not answer: {reason}; is `keydistill serve` running there?")
        )
    try:
        problem = outcome.json()
        text = f"{problem['title']}: {problem['detail']} (request {problem['request_id']})"
    except (ValueError, KeyError, TypeError):
        text = "the answer is not the service's; is this its address?"
    kind = ServiceUnavailableError if outcome.status_code in _PASSING else ServiceError
    return kind(one_line(f"{url} answered {outcome.status_code}: {text}"))
