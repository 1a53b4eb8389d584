"""The connection to Redis: how long it is tried for, and the error when it fails."""

from collections.abc import Callable
from typing import TypeVar

from pydantic import SecretStr
from redis import Redis
from redis.backoff import ExponentialWithJitterBackoff
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import RedisError
from redis.exceptions import TimeoutError as RedisTimeoutError
from redis.retry import Retry

from keydistill.errors import KeydistillError, RedisUnavailableError

_Result = TypeVar("_Result")


def connect(url: SecretStr) -> Redis:
    """A client that connects when it is first used.

    Raises:
        RedisUnavailableError: The address cannot be one; the message has no piece of it, nor of its password.
    """
    try:
        redis: Redis = Redis.from_url(
            url.get_secret_value(),
            decode_responses=True,
            socket_timeout=10,
            socket_connect_timeout=5,
            # A restart of Redis takes a second or two.
            retry=Retry(ExponentialWithJitterBackoff(base=0.1, cap=1), 6),
            retry_on_error=[RedisConnectionError, RedisTimeoutError],
        )
    except ValueError:
        # Not the reason: of a password with a slash in it, it has a piece.
        raise RedisUnavailableError(
            "redis_url is no address of a Redis; expected one like redis://:PASSWORD@HOST:6379/0, with / # ? @ in "
            "a password as %2F %23 %3F %40"
        ) from None
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
        raise RedisUnavailableError(
            f"Redis at {place} cannot be used ({type(error).__name__}: {error}); see that it runs, then go on"
        ) from None
