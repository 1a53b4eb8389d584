"""The connection to Redis: how long it is tried for, and the error when it fails."""

from collections.abc import Callable
from typing import TypeVar

from redis import Redis
from redis.backoff import ExponentialWithJitterBackoff
from redis.exceptions import AuthenticationError, AuthorizationError, NoPermissionError, RedisError
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import TimeoutError as RedisTimeoutError
from redis.retry import Retry

from keydistill.errors import KeydistillError, RedisRefusedError, RedisUnavailableError
from keydistill.runs.advice import redis_advice
from keydistill.settings import RedisAddress

_Result = TypeVar("_Result")


def connect(address: RedisAddress, *, repeats: int = 6) -> Redis:
    """A client that connects when it is first used, and repeats what failed for a lack of connection."""
    redis: Redis = Redis.from_url(
        address.url,
        decode_responses=True,
        socket_timeout=10 if repeats else 2,
        socket_connect_timeout=5 if repeats else 2,
        # A restart of Redis takes a second or two.
        retry=Retry(ExponentialWithJitterBackoff(base=0.1, cap=1), repeats),
        retry_on_error=[RedisConnectionError, RedisTimeoutError],
        **address.tls,
    )
    return redis


def call(redis: Redis, work: Callable[[Redis], _Result]) -> _Result:
    """What `work` gives when it is done with Redis.

    Raises:
        RedisUnavailableError: Redis cannot be reached, or refuses.
    """
    try:
        return work(redis)
    except KeydistillError:
        raise
    except (RedisError, UnicodeError) as error:  # the latter for a host name that cannot be one
        # Not the URL, which may hold a password.
        where = redis.connection_pool.connection_kwargs
        place = where.get("path") or f"{where.get('host', 'localhost')}:{where.get('port', 6379)}"
        kind = (
            RedisRefusedError
            if isinstance(error, (AuthenticationError, AuthorizationError, NoPermissionError))
            else RedisUnavailableError
        )
        raise kind(
            f"Redis at {place} cannot be used ({type(error).__name__}: {error}); {redis_advice(error)}"
        ) from None
