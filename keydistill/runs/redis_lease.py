"""Leases in Redis: the scripts that take, renew and give them back, and the lease that a process holds."""

import threading
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, Protocol, Self

from keydistill.errors import LeaseLostError, RedisUnavailableError
from keydistill.runs.stored_json import read_json

PREFIX = "keydistill:"
SAME_VERSION = "run the same version of keydistill everywhere"

# KEYS lease, token; ARGV run, owner, milliseconds. Returns the new token, or the holder's record. Without an owner the
# lease is reserved: the run holds it, and a process of that run may take it over at once. Where the owner holds the
# lease already, the answer to its first try got lost.
ACQUIRE = """
local held = redis.call('GET', KEYS[1])
if held then
  local lease = cjson.decode(held)
  if lease.run ~= ARGV[1] or (lease.owner ~= '' and lease.owner ~= ARGV[2]) then return held end
end
local token = redis.call('INCR', KEYS[2])
redis.call('SET', KEYS[1], cjson.encode({run = ARGV[1], owner = ARGV[2], token = token}), 'PX', ARGV[3])
return token
"""
# KEYS lease; ARGV owner, milliseconds. Returns 1 where the owner held it.
RENEW = """
local held = redis.call('GET', KEYS[1])
if not held or cjson.decode(held).owner ~= ARGV[1] then return 0 end
return redis.call('PEXPIRE', KEYS[1], ARGV[2])
"""
# KEYS lease; ARGV owner, milliseconds to leave it to the run for (0: nobody holds it any more).
RELEASE = """
local held = redis.call('GET', KEYS[1])
if not held then return 0 end
local lease = cjson.decode(held)
if lease.owner ~= ARGV[1] then return 0 end
if ARGV[2] == '0' then return redis.call('DEL', KEYS[1]) end
lease.owner = ''
redis.call('SET', KEYS[1], cjson.encode(lease), 'PX', ARGV[2])
return 1
"""
# KEYS lease; ARGV run. Does nothing where a process holds the lease.
GIVE_UP = """
local held = redis.call('GET', KEYS[1])
if not held then return 0 end
local lease = cjson.decode(held)
if lease.run ~= ARGV[1] or lease.owner ~= '' then return 0 end
return redis.call('DEL', KEYS[1])
"""


@dataclass(frozen=True, slots=True)
class LeaseRecord:
    """The holder of a lease, as the scripts write it; `owner` is empty where the lease is kept for a run."""

    run: str
    owner: str
    token: int

    @classmethod
    def parse(cls, text: str) -> Self:
        """Read a stored record, as `read_json` does.

        Raises:
            RedisUnavailableError: Something else stands in its place.
        """
        try:
            return read_json(cls, text)
        except ValueError as error:
            raise RedisUnavailableError(f"a lease in Redis cannot be read ({error}); {SAME_VERSION}") from None

    @classmethod
    def of(cls, answer: Any) -> Self | None:
        """Read what Redis has under the key of a lease; None where nobody holds it."""
        return None if answer is None else cls.parse(answer)


class LeaseStore(Protocol):
    """The part of a store that its leases call."""

    lease_seconds: float

    def owner(self, name: str) -> str | None:
        """The process that holds a lease."""

    def renew(self, lease: "RedisLease") -> bool:
        """Make a lease last `lease_seconds` from now; returns False where it is lost."""

    def release(self, lease: "RedisLease", seconds: float) -> None:
        """Leave a lease to its run for some seconds; 0 gives it back."""


class RedisLease:
    """A lease that expires unless its thread renews it."""

    def __init__(self, store: LeaseStore, name: str, run_id: str, owner: str, token: int) -> None:
        self.name = name
        self.run_id = run_id
        self.token = token
        self.owner = owner
        self.key = lease_key(name)
        self._store = store
        self._end = threading.Event()
        self._thread = threading.Thread(target=self._renew, name=f"lease {name}", daemon=True)
        self._thread.start()

    def check(self) -> None:
        """See `Lease.check`."""
        if self._store.owner(self.name) != self.owner:
            raise self.lost()

    def lost(self) -> LeaseLostError:
        """The error to raise where the lease is no longer held."""
        return LeaseLostError(
            f"this process no longer holds the lease on {self.name!r} (token {self.token}): it stood still for longer "
            f"than the lease lasts; whoever holds it now goes on with run {self.run_id}"
        )

    def leave_to_run(self, seconds: float) -> None:
        """Let go of the lease so that for some seconds only a process of the same run can take it."""
        self._stop()
        self._store.release(self, seconds)

    def release(self) -> None:
        """Let go of the lease; does nothing where it is not held any more."""
        self._stop()
        # It expires by itself where Redis is gone.
        with suppress(RedisUnavailableError):
            self._store.release(self, 0)

    def _stop(self) -> None:
        self._end.set()
        self._thread.join()

    def _renew(self) -> None:
        while not self._end.wait(self._store.lease_seconds / 3):
            try:
                if not self._store.renew(self):
                    return
            except RedisUnavailableError:
                continue  # Redis may be back before the lease ends, and every write checks the lease


def lease_key(name: str) -> str:
    """The key of a lease."""
    return f"{PREFIX}lease:{name}"
