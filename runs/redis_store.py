"""Runs that several machines share: records and leases in Redis (or Valkey).

keydistill:run:ID          the record, JSON
keydistill:runs            ids of all runs, a set
keydistill:lease:NAME      who holds a lease, JSON; it expires
keydistill:token           the last token, of all leases
keydistill:history         the audit log, a list
keydistill:format          of all the above

Every change of state is copied to HOME/runs/ID/run.json of the machine that made it. Where Redis has lost a run, its
copy stands in for it until it is resumed.
"""

import json
import os
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, TypeVar
from uuid import uuid4

from pydantic import SecretStr
from redis import Redis
from redis.backoff import ExponentialWithJitterBackoff
from redis.client import Pipeline
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import RedisError, WatchError
from redis.exceptions import TimeoutError as RedisTimeoutError
from redis.retry import Retry

from errors import KeydistillError, LeaseLostError, RedisUnavailableError, RunBusyError, RunNotFoundError, RunStateError
from files import replace_json
from runs.history import AliasChange
from runs.record import Run, run_from_dict
from runs.store import Change, Lease, busy, whole_id

FORMAT = 1
_PREFIX = "keydistill:"
_Result = TypeVar("_Result")

# KEYS lease, token; ARGV run, owner, milliseconds. Gives the new token, or the holder's record. Without an owner the
# lease is reserved: the run holds it, and a process of that run may take it over at once.
_ACQUIRE = """
local held = redis.call('GET', KEYS[1])
if held then
  local lease = cjson.decode(held)
  if lease.run ~= ARGV[1] or lease.owner ~= '' then return held end
end
local token = redis.call('INCR', KEYS[2])
redis.call('SET', KEYS[1], cjson.encode({run = ARGV[1], owner = ARGV[2], token = token}), 'PX', ARGV[3])
return token
"""
# KEYS lease; ARGV owner, milliseconds. Gives 1 where it was ours.
_RENEW = """
local held = redis.call('GET', KEYS[1])
if not held or cjson.decode(held).owner ~= ARGV[1] then return 0 end
return redis.call('PEXPIRE', KEYS[1], ARGV[2])
"""
# KEYS lease; ARGV owner, milliseconds to leave it to the run for (0: nobody holds it any more).
_RELEASE = """
local held = redis.call('GET', KEYS[1])
if not held then return 0 end
local lease = cjson.decode(held)
if lease.owner ~= ARGV[1] then return 0 end
if ARGV[2] == '0' then return redis.call('DEL', KEYS[1]) end
lease.owner = ''
redis.call('SET', KEYS[1], cjson.encode(lease), 'PX', ARGV[2])
return 1
"""


# KEYS lease; ARGV run. Only where no process holds it.
_GIVE_UP = """
local held = redis.call('GET', KEYS[1])
if not held then return 0 end
local lease = cjson.decode(held)
if lease.run ~= ARGV[1] or lease.owner ~= '' then return 0 end
return redis.call('DEL', KEYS[1])
"""


class RedisLease:
    """A lease that expires unless its thread renews it."""

    def __init__(self, store: "RedisRunStore", name: str, run_id: str, owner: str, token: int) -> None:
        self.name = name
        self.run_id = run_id
        self.token = token
        self.owner = owner
        self.key = f"{_PREFIX}lease:{name}"
        self._store = store
        self._end = threading.Event()
        self._thread = threading.Thread(target=self._renew, name=f"lease {name}", daemon=True)
        self._thread.start()

    def check(self) -> None:
        """See `Lease.check`."""
        held = self._store.call(lambda redis: redis.get(self.key))
        if held is None or json.loads(held)["owner"] != self.owner:
            raise self.lost()

    def lost(self) -> LeaseLostError:
        """What to raise where it is no longer held."""
        return LeaseLostError(
            f"this process no longer holds the lease on {self.name!r} (token {self.token}): it stood still for longer "
            f"than the lease lasts; whoever holds it now goes on with run {self.run_id}"
        )

    def leave_to_run(self, seconds: float) -> None:
        """Let go of it so that only a process of the same run can take it, for so long."""
        self._stop()
        self._store.release(self, seconds)

    def release(self) -> None:
        """Let go of it; does nothing where it is not held any more."""
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
                continue  # it may be back before the lease ends; whoever writes checks


class RedisRunStore:
    """Run records in Redis."""

    def __init__(self, url: SecretStr, home: Path, *, lease_seconds: float = 60) -> None:
        """Connect when first needed.

        Args:
            url: As in redis://:PASSWORD@HOST:6379/0; rediss turns TLS on.
            home: Folder of this machine's files and of the copies of records.
            lease_seconds: How long a lease lasts that nobody renews.
        """
        self._home = home
        self.lease_seconds = lease_seconds
        try:
            self._redis: Redis = Redis.from_url(
                url.get_secret_value(),
                decode_responses=True,
                socket_timeout=10,
                socket_connect_timeout=5,
                # A restart of Redis takes a second or two.
                retry=Retry(ExponentialWithJitterBackoff(base=0.1, cap=1), 6),
                retry_on_error=[RedisConnectionError, RedisTimeoutError],
            )
        except ValueError as error:
            raise RedisUnavailableError(
                f"redis_url is no address of a Redis ({error}); expected one like redis://HOST:6379/0"
            ) from None
        self._acquire_script = self._redis.register_script(_ACQUIRE)
        self._renew_script = self._redis.register_script(_RENEW)
        self._release_script = self._redis.register_script(_RELEASE)
        self._give_up_script = self._redis.register_script(_GIVE_UP)

    def folder(self, run_id: str) -> Path:
        """See `RunStore.folder`."""
        return self._home / "runs" / run_id

    def add(self, run: Run) -> Run:
        """See `RunStore.add`."""

        def write(redis: Redis) -> bool:
            with redis.pipeline() as pipe:
                pipe.set(_run_key(run.id), json.dumps(run.as_dict()), nx=True)
                pipe.sadd(f"{_PREFIX}runs", run.id)
                return bool(pipe.execute()[0])

        if not self.call(write):
            raise RunStateError(f"there is a run {run.id} already; choose another id")
        self._copy(run)
        return run

    def load(self, run_id: str) -> Run:
        """See `RunStore.load`."""
        text = self.call(lambda redis: redis.get(_run_key(run_id))) if run_id else None
        if text is None:
            found = whole_id(run_id, [run.id for run in self.all()])
            text = self.call(lambda redis: redis.get(_run_key(found)))
            if text is None:
                return self._copied(found)
        return run_from_dict(json.loads(text))

    def all(self) -> list[Run]:
        """See `RunStore.all`; with the copies of those that Redis has lost."""

        def read(redis: Any) -> list[str | None]:
            ids = list(redis.smembers(f"{_PREFIX}runs"))
            return list(redis.mget([_run_key(run_id) for run_id in ids])) if ids else []

        known = {run.id: run for run in (run_from_dict(json.loads(text)) for text in self.call(read) if text)}
        for record in (self._home / "runs").glob("*/run.json"):
            if record.parent.name not in known:
                with suppress(RunNotFoundError):
                    known[record.parent.name] = self._copied(record.parent.name)
        return [known[run_id] for run_id in sorted(known, reverse=True)]

    def is_lost(self, run_id: str) -> bool:
        """Whether only a copy of the run is left."""
        return not self.call(lambda redis: redis.exists(_run_key(run_id)))

    def restore(self, run_id: str) -> None:
        """Put the copy of a run that Redis has lost back into it; does nothing for one that is there."""
        if self.is_lost(run_id):
            with suppress(RunStateError):  # somebody else was faster
                self.add(self._copied(run_id))

    def update(self, run_id: str, change: Change, lease: Lease | None = None) -> Run:
        """See `RunStore.update`: an optimistic transaction over the record and the lease."""
        key = _run_key(run_id)
        before: list[Run] = []

        def attempt(pipe: "Pipeline") -> Run:
            pipe.watch(key, *([lease.key] if isinstance(lease, RedisLease) else []))
            text = pipe.get(key)
            if text is None:
                raise RunNotFoundError(
                    f"run {run_id!r} is not in Redis; if Redis was emptied, take its copy up with --resume {run_id}"
                )
            if isinstance(lease, RedisLease):
                held = pipe.get(lease.key)
                if held is None or json.loads(held)["owner"] != lease.owner:
                    raise lease.lost()
            run = run_from_dict(json.loads(text))
            changed = change(run)
            pipe.multi()
            pipe.set(key, json.dumps(changed.as_dict()))
            pipe.execute()
            before[:] = [run]
            return changed

        def transaction(redis: Redis) -> Run:
            while True:
                with redis.pipeline() as pipe, suppress(WatchError):
                    return attempt(pipe)

        changed = self.call(transaction)
        if before[0].state != changed.state or _parts(before[0]) != _parts(changed):
            self._copy(changed)
        return changed

    @contextmanager
    def lease(self, name: str, run_id: str) -> Iterator[RedisLease]:
        """See `RunStore.lease`; lost at the latest `lease_seconds` after the process stood still."""
        lease = self.acquire(name, run_id)
        try:
            yield lease
        finally:
            lease.release()

    def acquire(self, name: str, run_id: str) -> RedisLease:
        """A lease that the caller gives back.

        Raises:
            RunBusyError: See `RunStore.lease`.
        """
        owner = f"{socket.gethostname()}:{os.getpid()}:{uuid4().hex[:12]}"
        return RedisLease(self, name, run_id, owner, self._acquired(name, run_id, owner, self.lease_seconds))

    def reserve(self, name: str, run_id: str, seconds: float) -> None:
        """Keep a lease for a run that no process is working on just now. Of one that a process holds it does nothing.

        Raises:
            RunBusyError: Another run holds it.
        """
        try:
            self._acquired(name, run_id, "", seconds)
        except RunBusyError:
            if self.holder(name) not in (run_id, None):
                raise

    def give_up(self, name: str, run_id: str) -> None:
        """See `RunStore.give_up`."""
        self.call(lambda _: self._give_up_script([f"{_PREFIX}lease:{name}"], [run_id]))

    def note(self, change: AliasChange) -> None:
        """See `RunStore.note`."""
        self.call(lambda redis: redis.rpush(f"{_PREFIX}history", json.dumps(change.as_dict())))

    def history(self) -> list[AliasChange]:
        """See `RunStore.history`."""

        def read(redis: Any) -> list[str]:
            return list(redis.lrange(f"{_PREFIX}history", 0, -1))

        return [AliasChange.from_dict(json.loads(line)) for line in self.call(read)]

    def holder(self, name: str) -> str | None:
        """See `RunStore.holder`."""
        held = self._held(name)
        return None if held is None else str(held["run"])

    def owner(self, name: str) -> str | None:
        """The process that holds a lease, as HOST:PID:CHANCE; None where there is none, or it is only reserved."""
        held = self._held(name)
        return (held and held["owner"]) or None

    def renew(self, lease: RedisLease) -> bool:
        """Make a lease last `lease_seconds` from now; false where it is lost."""
        keys, values = [lease.key], [lease.owner, _milliseconds(self.lease_seconds)]
        return bool(self.call(lambda _: self._renew_script(keys, values)))

    def release(self, lease: RedisLease, seconds: float) -> None:
        """Give a lease back, or leave it to its run for so long."""
        keys, values = [lease.key], [lease.owner, _milliseconds(seconds)]
        self.call(lambda _: self._release_script(keys, values))

    def check_format(self) -> None:
        """See that whoever else uses this Redis keeps runs as we do.

        Raises:
            RedisUnavailableError: Redis cannot be reached, or keydistill of another version uses it.
        """
        found: Any = self.call(lambda redis: redis.set(f"{_PREFIX}format", FORMAT, nx=True, get=True))
        if found is not None and int(found) != FORMAT:
            raise RedisUnavailableError(
                f"the runs in this Redis are of format {found}, this keydistill reads format {FORMAT}; "
                "run the same version of keydistill everywhere"
            )

    def call(self, work: Callable[[Redis], _Result]) -> _Result:
        """Do something with Redis.

        Raises:
            RedisUnavailableError: It cannot be reached, or refuses.
        """
        try:
            return work(self._redis)
        except KeydistillError:
            raise
        except RedisError as error:
            # Not the URL, which may hold a password.
            where = self._redis.connection_pool.connection_kwargs
            place = where.get("path") or f"{where.get('host', 'localhost')}:{where.get('port', 6379)}"
            raise RedisUnavailableError(
                f"Redis at {place} cannot be used ({type(error).__name__}: {error}); see that it runs, then go on"
            ) from None

    def close(self) -> None:
        """Let go of the connections."""
        self._redis.close()

    def _acquired(self, name: str, run_id: str, owner: str, seconds: float) -> int:
        keys = [f"{_PREFIX}lease:{name}", f"{_PREFIX}token"]
        answer: Any = self.call(lambda _: self._acquire_script(keys, [run_id, owner, _milliseconds(seconds)]))
        if isinstance(answer, str):
            raise busy(name, json.loads(answer)["run"], run_id)
        return int(answer)

    def _held(self, name: str) -> dict[str, Any] | None:
        held = self.call(lambda redis: redis.get(f"{_PREFIX}lease:{name}"))
        return None if held is None else dict(json.loads(held))

    def _copy(self, run: Run) -> None:
        # A full disk must not stop what Redis has recorded.
        with suppress(OSError):
            replace_json(self.folder(run.id) / "run.json", run.as_dict())

    def _copied(self, run_id: str) -> Run:
        try:
            return run_from_dict(json.loads((self.folder(run_id) / "run.json").read_text(encoding="utf-8")))
        except (OSError, ValueError, TypeError, KeyError):
            raise RunNotFoundError(f"run {run_id!r}: there is none; `keydistill runs list` shows them all") from None


def _run_key(run_id: str) -> str:
    return f"{_PREFIX}run:{run_id}"


def _parts(run: Run) -> object:
    return getattr(run, "parts_done", None), getattr(run, "stages_done", None)


def _milliseconds(seconds: float) -> str:
    return str(int(seconds * 1_000))
