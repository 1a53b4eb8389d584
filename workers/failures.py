"""What `celery call`, `result` and the other commands of Celery print when Redis is away: one line, no traceback."""

import sys
from types import TracebackType

from celery.exceptions import CeleryError
from kombu.exceptions import KombuError
from redis.exceptions import RedisError

from keydistill.errors import KeydistillError, one_line
from keydistill.runs import redis_advice
from keydistill.settings import load_settings, redis_address

_OURS = (KeydistillError, CeleryError, KombuError, RedisError, ConnectionError, TimeoutError)


def one_line_at_the_end() -> None:
    """Let the command of Celery that this process is end with one line where it fails for a reason that we know."""
    before = sys.excepthook

    def print_line(kind: type[BaseException], error: BaseException, traceback: TracebackType | None) -> None:
        if isinstance(error, _OURS) or _lost_redis(error):
            sys.stderr.write(f"error: {_line(error)}\n")
        else:
            before(kind, error, traceback)

    sys.excepthook = print_line


def _lost_redis(error: BaseException) -> bool:
    """Whether it is what the result backend raises when it gives up."""
    return isinstance(error, RuntimeError) and isinstance(error.__cause__ or error.__context__, _OURS)


def _line(error: BaseException) -> str:
    """One line without the address, which may hold a password."""
    if isinstance(error, KeydistillError):
        return one_line(str(error))
    cause = error.__cause__ or error.__context__ or error
    place = redis_address(load_settings()).place
    return one_line(f"Redis at {place} cannot be used ({type(cause).__name__}: {cause}); {redis_advice(cause)}")
