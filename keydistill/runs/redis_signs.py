"""Signs of life of workers and beats, and troubles of runs that are tried again, in Redis: what operators are told.

keydistill:signs           name of a worker or beat -> its last sign, JSON, a hash
keydistill:trouble:RUN     why the last try of a run's work came to nothing; gone when no try followed for minutes
"""

import json
from contextlib import suppress
from dataclasses import asdict
from typing import Any

from redis import Redis

from keydistill.runs.redis_connection import call
from keydistill.runs.redis_lease import PREFIX
from keydistill.runs.signs import Sign
from keydistill.runs.stored_json import read_json

_KEY = f"{PREFIX}signs"
_FORGOTTEN_SECONDS = 86_400.0
# Longer than the longest pause between two tries.
_TROUBLE_SECONDS = 300


class Signs:
    """The signs and troubles in Redis. A Redis that is away is an error at once: no work waits for a sign."""

    def __init__(self, redis: Redis) -> None:
        self._redis = redis

    def give(self, sign: Sign) -> None:
        """Record a sign in place of the one before."""
        call(self._redis, lambda redis: redis.hset(_KEY, sign.name, json.dumps(asdict(sign))))

    def take_back(self, name: str) -> None:
        """Forget who has ended as told."""
        call(self._redis, lambda redis: redis.hdel(_KEY, name))

    def all(self) -> list[Sign]:
        """The last sign of everybody who was not told to end, of a day at the most, by name."""
        texts: Any = call(self._redis, lambda redis: redis.hgetall(_KEY))
        signs: list[Sign] = []
        for text in texts.values():
            with suppress(ValueError):
                signs.append(read_json(Sign, text))
        for sign in signs:
            if sign.age_seconds > _FORGOTTEN_SECONDS:
                self.take_back(sign.name)
        return sorted((sign for sign in signs if sign.age_seconds <= _FORGOTTEN_SECONDS), key=lambda sign: sign.name)

    def note_trouble(self, run_id: str, reason: str) -> None:
        """Note why work of a run came to nothing and will be tried again."""
        call(self._redis, lambda redis: redis.set(f"{PREFIX}trouble:{run_id}", reason, ex=_TROUBLE_SECONDS))

    def trouble(self, run_id: str) -> str | None:
        """Why work of a run is tried again, if it is."""
        text: Any = call(self._redis, lambda redis: redis.get(f"{PREFIX}trouble:{run_id}"))
        return None if text is None else str(text)

    def close(self) -> None:
        """Close the connection."""
        self._redis.close()
