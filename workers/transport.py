"""The transport of messages: kombu's for Redis, which throws away what is no message.

Anybody who reaches Redis can put anything into a queue. kombu's own transport raises where that is no JSON or has no
envelope, and the worker ends.
"""

import binascii
import logging
from base64 import b64decode
from json import JSONDecodeError
from queue import Empty
from typing import Any

from kombu.transport import redis

_log = logging.getLogger(__name__)


class Channel(redis.Channel):
    """A channel that reads on after something that is no JSON."""

    def _brpop_read(self, **options: Any) -> Any:
        try:
            return super()._brpop_read(**options)  # type: ignore[no-untyped-call]
        except (JSONDecodeError, UnicodeDecodeError, RecursionError) as error:
            _log.error("thrown away: a message that is no JSON (%s)", type(error).__name__)
            return True

    def _get(self, queue: str, timeout: Any = None) -> Any:
        try:
            return super()._get(queue)  # type: ignore[no-untyped-call]
        except (JSONDecodeError, UnicodeDecodeError, RecursionError) as error:
            _log.error("thrown away: a message in queue %s that is no JSON (%s)", queue, type(error).__name__)
            raise Empty from None


class Transport(redis.Transport):
    """A transport that hands on messages with an envelope alone."""

    Channel = Channel

    def _deliver(self, message: Any, queue: str) -> None:
        if is_message(message):
            super()._deliver(message, queue)  # type: ignore[no-untyped-call]
        else:
            _log.error("thrown away: something in queue %s that is no message of Celery", queue)


def is_message(message: Any) -> bool:
    """Whether something has all of the envelope that kombu and Celery read without a check.

    >>> is_message([1])
    False
    """
    if not isinstance(message, dict):
        return False
    properties, body = message.get("properties"), message.get("body")
    if not isinstance(properties, dict) or not isinstance(body, str) or not isinstance(message.get("headers"), dict):
        return False
    if not isinstance(properties.get("delivery_tag"), str) or not isinstance(properties.get("delivery_info"), dict):
        return False
    try:
        b64decode(body) if properties.get("body_encoding") == "base64" else None
    except (binascii.Error, ValueError):
        return False
    return properties.get("body_encoding") in (None, "base64")
