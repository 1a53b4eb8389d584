"""Runs that several machines share: records and leases in Redis (or Valkey).

keydistill:run:ID          the record, JSON, and a mark of who wrote it
keydistill:runs            ids of all runs, a set
keydistill:lease:NAME      who holds a lease, JSON; it expires
keydistill:token           the last token, of all leases
keydistill:history         the audit log, a list; HOME/history.jsonl has what this machine wrote and stands in for it
keydistill:done:WHAT       there for as long as something that is done now and then need not be done again
keydistill:installation    id of all who share this Redis
keydistill:format          of all the above that have no number of their own, and the version that wrote it, JSON

Every change of state is copied to HOME/runs/ID/run.json of the machine that made it. Where Redis has lost a run, its
copy stands in for it until it is resumed.

A command whose answer got lost is sent again, and may have been carried out the first time. So every command here is
one that can be repeated: an update knows its own mark, a lease its own owner.
"""

import hashlib
import json
import os
import shutil
import socket
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, TypeVar
from uuid import uuid4

from redis import Redis
from redis.client import Pipeline
from redis.exceptions import ResponseError, WatchError

from keydistill.errors import RedisUnavailableError, RunError, RunNotFoundError, RunStateError
from keydistill.files import NewerFormatError, file_lock, replace_json, stamped
from keydistill.runs.history import AliasChange
from keydistill.runs.history_file import HistoryFile, changes_of, line_of, warn_once
from keydistill.runs.installation import installation_of, remember_installation
from keydistill.runs.record import Run, read_run, stored_run
from keydistill.runs.redis_connection import call, connect
from keydistill.runs.redis_lease import (
    ACQUIRE,
    GIVE_UP,
    PREFIX,
    RELEASE,
    RENEW,
    SAME_VERSION,
    LeaseRecord,
    RedisLease,
    lease_key,
)
from keydistill.runs.redis_records import check_mark, run_key, run_of, text_of
from keydistill.runs.redis_schedules import RedisScheduleMarks
from keydistill.runs.shared_store import QUEUE_PREFIX, SENT_AT, OldestMessage, ScheduleMarks
from keydistill.runs.store import Change, Lease, busy, check_at_rest, whole_id
from keydistill.settings import RedisAddress

FORMAT = 1
_HISTORY = f"{PREFIX}history"
_Result = TypeVar("_Result")


class RedisRunStore:
    """Run records in Redis."""

    def __init__(self, address: RedisAddress, home: Path, *, lease_seconds: float = 60) -> None:
        """Connect when first needed.

        Args:
            address: Address of Redis, with its options of TLS.
            home: Folder of this machine's files and of the copies of records.
            lease_seconds: Seconds after which a lease that nobody renews runs out.
        """
        self._home = home
        self.lease_seconds = lease_seconds
        self._redis = connect(address)
        self._acquire_script = self._redis.register_script(ACQUIRE)
        self._renew_script = self._redis.register_script(RENEW)
        self._release_script = self._redis.register_script(RELEASE)
        self._give_up_script = self._redis.register_script(GIVE_UP)

    @property
    def schedules(self) -> ScheduleMarks:
        """See `SharedRunStore.schedules`."""
        return RedisScheduleMarks(self._redis, self._home)

    def folder(self, run_id: str) -> Path:
        """See `RunStore.folder`."""
        return self._home / "runs" / run_id

    def installation(self) -> str:
        """See `RunStore.installation`; all who share the Redis are one."""
        key, own = f"{PREFIX}installation", installation_of(self._home)

        def agree(redis: Redis) -> str:
            redis.set(key, own, nx=True)
            return str(redis.get(key))

        installation = self.call(agree)
        remember_installation(self._home, installation)
        return installation

    def add(self, run: Run) -> Run:
        """See `RunStore.add`."""
        self.check_format()
        text = text_of(run)

        def write(redis: Redis) -> bool:
            with redis.pipeline() as pipe:
                pipe.set(run_key(run.id), text, nx=True)
                pipe.sadd(f"{PREFIX}runs", run.id)
                pipe.get(run_key(run.id))
                return bool(pipe.execute()[2] == text)

        if not self.call(write):
            raise RunStateError(f"there is a run {run.id} already; choose another id")
        self._copy(run.id)
        return run

    def load(self, run_id: str) -> Run:
        """See `RunStore.load`."""
        text = self.call(lambda redis: redis.get(run_key(run_id))) if run_id else None
        if text is None:
            full_id = whole_id(run_id, [run.id for run in self.all()])
            text = self.call(lambda redis: redis.get(run_key(full_id)))
            if text is None:
                return self._copied(full_id)
        return run_of(text)

    def all(self) -> list[Run]:
        """See `RunStore.all`; runs that Redis has lost are read from their copies."""

        def read(redis: Any) -> dict[str, str | None]:
            ids = list(redis.smembers(f"{PREFIX}runs"))
            return dict(zip(ids, redis.mget([run_key(run_id) for run_id in ids]), strict=True)) if ids else {}

        runs: dict[str, Run] = {}
        texts = {run_id: text for run_id, text in self.call(read).items() if text}
        copies = {record.parent.name for record in (self._home / "runs").glob("*/run.json")}
        for run_id in sorted(texts.keys() | copies, reverse=True):
            # A record that cannot be read must not hide the others, nor stop the work on them. No copy stands in for
            # it: that is older.
            try:
                runs[run_id] = run_of(texts[run_id]) if run_id in texts else self._copied(run_id)
            except RunNotFoundError:
                continue
            except RunError as error:
                warn_once(str(error))
        return list(runs.values())

    def is_lost(self, run_id: str) -> bool:
        """See `RunStore.is_lost`."""
        return not self.call(lambda redis: redis.exists(run_key(run_id)))

    def restore(self, run_id: str) -> None:
        """See `RunStore.restore`."""
        if self.is_lost(run_id):
            with suppress(RunStateError):  # somebody else was faster
                self.add(self._copied(run_id))

    def update(self, run_id: str, change: Change, lease: Lease | None = None) -> Run:
        """See `RunStore.update`: an optimistic transaction over the record and the lease."""
        key = run_key(run_id)
        # The text that the last try sent, and the records before and after it.
        sent: list[tuple[str, Run, Run]] = []

        def attempt(pipe: "Pipeline") -> None:
            pipe.watch(key, *([lease.key] if isinstance(lease, RedisLease) else []))
            text = pipe.get(key)
            if sent and text == sent[0][0]:
                return  # the text arrived, and only the answer did not
            if text is None:
                raise RunNotFoundError(
                    f"run {run_id!r} is not in Redis; if Redis was emptied, take its copy up with --resume {run_id}"
                )
            if isinstance(lease, RedisLease):
                lease_record = LeaseRecord.of(pipe.get(lease.key))
                if lease_record is None or lease_record.owner != lease.owner:
                    raise lease.lost()
            run = run_of(text)
            changed = change(run)
            sent[:] = [(text_of(changed), run, changed)]
            pipe.multi()
            pipe.set(key, sent[0][0])
            pipe.execute()

        def transaction(redis: Redis) -> None:
            while True:
                with redis.pipeline() as pipe, suppress(WatchError):
                    return attempt(pipe)

        self.call(transaction)
        _, before, after = sent[0]
        if before.state != after.state or _parts(before) != _parts(after):
            self._copy(run_id)
        return after

    def forget(self, run_id: str) -> None:
        """See `RunStore.forget`; on another machine its copy stays until it is forgotten there."""
        run = self.load(run_id)
        check_at_rest(run)

        def remove(redis: Redis) -> None:
            with redis.pipeline() as pipe:
                pipe.delete(run_key(run.id))
                pipe.srem(f"{PREFIX}runs", run.id)
                pipe.execute()

        self.call(remove)
        (self.folder(run.id) / "run.json").unlink(missing_ok=True)
        shutil.rmtree(self.folder(run.id), ignore_errors=True)

    @contextmanager
    def lease(self, name: str, run_id: str) -> Iterator[RedisLease]:
        """See `RunStore.lease`; lost at the latest `lease_seconds` after the process stood still."""
        lease = self.acquire(name, run_id)
        try:
            yield lease
        finally:
            lease.release()

    def acquire(self, name: str, run_id: str) -> RedisLease:
        """See `SharedRunStore.acquire`."""
        owner = f"{socket.gethostname()}:{os.getpid()}:{uuid4().hex[:12]}"
        answer = self._try_to_acquire(name, run_id, owner, self.lease_seconds)
        if isinstance(answer, LeaseRecord):
            raise busy(name, answer.run, run_id)
        return RedisLease(self, name, run_id, owner, answer)

    def reserve(self, name: str, run_id: str, seconds: float) -> None:
        """See `SharedRunStore.reserve`."""
        answer = self._try_to_acquire(name, run_id, "", seconds)
        if isinstance(answer, LeaseRecord) and answer.run != run_id:
            raise busy(name, answer.run, run_id)

    def give_up(self, name: str, run_id: str) -> None:
        """See `RunStore.give_up`."""
        self.call(lambda _: self._give_up_script([lease_key(name)], [run_id]))

    def note(self, change: AliasChange) -> None:
        """See `RunStore.note`."""
        self._restore_history()
        self.call(lambda redis: redis.rpush(_HISTORY, line_of(change)))
        # A full disk must not stop what Redis has recorded.
        with suppress(OSError):
            HistoryFile(self._home).note(change)

    def history(self) -> list[AliasChange]:
        """See `RunStore.history`."""
        lines: Any = self.call(lambda redis: redis.lrange(_HISTORY, 0, -1))
        present = changes_of(lines, "the audit log in Redis")
        return [*self._lost_changes(present), *present]

    def holder(self, name: str) -> str | None:
        """See `RunStore.holder`."""
        lease_record = self._lease_record(name)
        return None if lease_record is None else lease_record.run

    def owner(self, name: str) -> str | None:
        """See `SharedRunStore.owner`."""
        lease_record = self._lease_record(name)
        return None if lease_record is None or not lease_record.owner else lease_record.owner

    def messages_waiting(self, queue: str) -> int:
        """See `SharedRunStore.messages_waiting`."""
        return int(self.call(lambda redis: redis.llen(f"{QUEUE_PREFIX}{queue}")))

    def oldest_message(self, queue: str) -> OldestMessage | None:
        """See `SharedRunStore.oldest_message`."""
        # Kombu puts messages in at the left and takes them out at the right.
        message: Any = self.call(lambda redis: redis.lindex(f"{QUEUE_PREFIX}{queue}", -1))
        if message is None:
            return None
        sent_at = None
        # Anybody who reaches Redis can put anything into a queue.
        with suppress(ValueError, TypeError, KeyError, AttributeError, RecursionError):
            sent_at = float(json.loads(message)["headers"][SENT_AT])
        return OldestMessage(hashlib.sha256(message.encode()).hexdigest(), sent_at)

    def is_first_in(self, seconds: int, what: str) -> bool:
        """See `SharedRunStore.is_first_in`."""
        return bool(self.call(lambda redis: redis.set(f"{PREFIX}done:{what}", 1, nx=True, ex=seconds)))

    def eviction_policy(self) -> str | None:
        """See `SharedRunStore.eviction_policy`."""

        def read(redis: Any) -> str | None:
            # A Redis that is run by somebody else may refuse the question.
            with suppress(ResponseError):
                return str(redis.config_get("maxmemory-policy")["maxmemory-policy"])
            return None

        return self.call(read)

    def renew(self, lease: RedisLease) -> bool:
        """Make a lease last `lease_seconds` from now; false where it is lost."""
        keys, values = [lease.key], [lease.owner, str(int(self.lease_seconds * 1_000))]
        return bool(self.call(lambda _: self._renew_script(keys, values)))

    def release(self, lease: RedisLease, seconds: float) -> None:
        """Give a lease back, or leave it to its run for so long."""
        keys, values = [lease.key], [lease.owner, str(int(seconds * 1_000))]
        self.call(lambda _: self._release_script(keys, values))

    def check_format(self) -> None:
        """See `SharedRunStore.check_format`."""
        mark = json.dumps(stamped(FORMAT, {}))
        present: Any = self.call(lambda redis: redis.set(f"{PREFIX}format", mark, nx=True, get=True))
        if present is None:
            return
        try:
            check_mark(present, FORMAT)
        except NewerFormatError as error:
            raise RedisUnavailableError(f"what this Redis holds {error}") from None
        except ValueError:
            raise RedisUnavailableError(
                f"the runs in this Redis are of format {present}, this keydistill reads format {FORMAT}; {SAME_VERSION}"
            ) from None

    def call(self, work: Callable[[Redis], _Result]) -> _Result:
        """See `keydistill.runs.redis_connection.call`."""
        return call(self._redis, work)

    def close(self) -> None:
        """Let go of the connections."""
        self._redis.close()

    def _try_to_acquire(self, name: str, run_id: str, owner: str, seconds: float) -> int | LeaseRecord:
        """The new token, or the record of who holds the lease."""
        keys = [lease_key(name), f"{PREFIX}token"]
        answer: Any = self.call(lambda _: self._acquire_script(keys, [run_id, owner, int(seconds * 1_000)]))
        return LeaseRecord.parse(answer) if isinstance(answer, str) else int(answer)

    def _lease_record(self, name: str) -> LeaseRecord | None:
        return LeaseRecord.of(self.call(lambda redis: redis.get(lease_key(name))))

    def _copy(self, run_id: str) -> None:
        """Copy what Redis has now, which may be more than we wrote: a process that slept must not bring old copies."""
        # A full disk, or somebody who is stopped while he copies, must not stop what Redis has recorded.
        with (
            suppress(OSError, RedisUnavailableError),
            file_lock(self.folder(run_id) / ".lock", blocking=False, patience=0.2),
        ):
            text = self.call(lambda redis: redis.get(run_key(run_id)))
            if text is not None:
                replace_json(self.folder(run_id) / "run.json", stored_run(run_of(text)))

    def _lost_changes(self, present: list[AliasChange]) -> list[AliasChange]:
        """Lines of this machine's copy that Redis has lost; older than all it has, as each line goes to Redis first."""
        known = Counter(present)
        lost = []
        for change in HistoryFile(self._home).changes():
            if known[change]:
                known[change] -= 1
            else:
                lost.append(change)
        return lost

    def _restore_history(self) -> None:
        """Put the lines that Redis has lost back before those that it has."""

        def transaction(redis: Redis) -> None:
            while True:
                with redis.pipeline() as pipe, suppress(WatchError):
                    pipe.watch(_HISTORY)
                    lines: Any = pipe.lrange(_HISTORY, 0, -1)
                    lost = self._lost_changes(changes_of(lines, "the audit log in Redis"))
                    if lost:
                        pipe.multi()
                        pipe.lpush(_HISTORY, *(line_of(change) for change in reversed(lost)))
                        pipe.execute()
                    return

        self.call(transaction)

    def _copied(self, run_id: str) -> Run:
        try:
            return read_run((self.folder(run_id) / "run.json").read_bytes())
        except NewerFormatError as error:
            raise RunError(f"{self.folder(run_id) / 'run.json'} {error}") from None
        except (OSError, ValueError):
            raise RunNotFoundError(f"run {run_id!r}: there is none; `keydistill runs list` shows them all") from None


def _parts(run: Run) -> object:
    return getattr(run, "parts_done", None), getattr(run, "stages_done", None)
