"""The product under the property test: one home, one alias, a process that dies now and then, and a reader."""

import contextlib
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast
from uuid import uuid4

import numpy as np
import redis

from keydistill.encoders import Student
from keydistill.errors import KeydistillError
from keydistill.execution import Reindexer, Syncer
from keydistill.ingest.aliases import AliasChanges, Pruning
from keydistill.retrieval import LiveRetriever
from keydistill.runs import ReindexRun, Run, SyncRun, open_store
from keydistill.settings import Settings, load_settings
from keydistill.vectorstore import CollectionInfo, Record, SearchParams
from keydistill.vectorstore.factory import open_engine
from keydistill.vectorstore.server.engine import ServerEngine
from tests.support.kills import Kill, Killed, Kills
from tests.support.live_model import MAX_REMOVED_SHARE, points
from tests.support.redis_server import RedisServer
from tests.support.stub_students import StubStudent

TITLE, LIMIT = "what a seller offers", 5
_EXACT = SearchParams(exact=True)


@dataclass(frozen=True)
class World:
    """What examples share: files of the inventories, the kills, and where the server is."""

    folder: Path
    files: dict[str, Path]
    kills: Kills
    url: str | None
    redis: RedisServer | None = None

    def options(self, home: Path) -> dict[str, Any]:
        server = {} if self.url is None else {"engine": "server", "qdrant_url": self.url}
        if self.redis is not None:
            server["redis_url"] = self.redis.url
        return {
            "home": home,
            "alias": f"live-{home.name}",
            "part_rows": 16,
            "upsert_batch": 10,
            "max_removed_share": MAX_REMOVED_SHARE,
            # Coverage is all that the gate shall refuse for: the vectors are chance, and the machine is busy.
            "gate_sample": 4,
            "gate_max_short": 1.0,
            "gate_max_drift": 2.0,
            "gate_latency_floor_ms": 1e6,
            **server,
        }


class Bench:
    """One example's home and alias. A process that died is replaced by a new one, with files opened anew."""

    def __init__(self, world: World) -> None:
        self.world = world
        self.home = world.folder / uuid4().hex[:8]
        self.settings: Settings = load_settings(**world.options(self.home))
        self.redis = world.redis
        if self.redis is not None:
            self.redis.flush()
        self.store = open_store(self.settings)
        self.engine = open_engine(self.settings)
        # Another process, which lives through the deaths of the first.
        self._reading = open_engine(self.settings)
        self._reader: LiveRetriever | None = None

    def attempt(self, work: Callable[[], Any], kill: Kill | None) -> Any:
        """What the work returned, or the error that it ended with; None where it was killed, or the disk was full."""
        self.world.kills.was_full = False
        try:
            if kill is None:
                return work()
            with self.world.kills.at(*kill):
                return work()
        except KeydistillError as error:
            return None if self.world.kills.was_full else error
        except OSError:
            # The command says so in one line (tests/cli/test_nothing_lost.py).
            assert self.world.kills.was_full
            return None
        except Killed:
            self.engine.close()
            self.engine = open_engine(self.settings)
            return None

    @contextmanager
    def extra_history(self, line: str) -> Iterator[None]:
        """The audit log with a further line, in all places where it is kept."""
        file = self.home / "history.jsonl"
        before = file.read_text() if file.exists() else None
        file.write_text(f"{before or ''}{line}\n")
        with contextlib.ExitStack() as ended:
            ended.callback(file.unlink) if before is None else ended.callback(file.write_text, before)
            if self.redis is not None:
                client = ended.enter_context(redis.Redis.from_url(self.redis.url))
                client.rpush("keydistill:history", line)
                ended.callback(client.lrem, "keydistill:history", -1, line)
            yield

    def reindexer(self, **options: Any) -> Reindexer:
        return Reindexer(self.settings.model_copy(update=options), self.engine)

    def syncer(self) -> Syncer:
        return Syncer(self.settings, self.engine)

    def changes(self) -> AliasChanges:
        return AliasChanges(self.settings, self.engine, self.store)

    def pruning(self, grace_seconds: float = 0.0) -> Pruning:
        settings = self.settings.model_copy(update={"grace_seconds": grace_seconds})
        return Pruning(settings, self.engine, self.store)

    def target(self) -> str | None:
        """What the alias names."""
        return self.engine.aliases().get(self.settings.alias)

    def live_run(self) -> str | None:
        """The run whose collection it is, by its name alone."""
        target = self.target()
        if target is None:
            return None
        rest = target.removeprefix(f"{self.settings.alias}-")
        return next(run.id for run in self.store.all() if rest == run.id or rest.startswith(f"{run.id}-"))

    def live_info(self) -> CollectionInfo:
        return self.engine.info(self.settings.alias)

    def reindexes(self) -> dict[str, ReindexRun]:
        return {run.id: run for run in reversed(self.store.all()) if isinstance(run, ReindexRun)}

    def syncs(self) -> dict[str, SyncRun]:
        return {run.id: run for run in reversed(self.store.all()) if isinstance(run, SyncRun)}

    def runs(self) -> dict[str, Run]:
        return {run.id: run for run in self.store.all()}

    def collections(self) -> set[str]:
        return {name for name in self.engine.collections() if name.startswith(f"{self.settings.alias}-")}

    def records(self) -> list[Record]:
        return list(self.engine.scroll(self.settings.alias, with_vectors=True))

    def chain(self) -> list[tuple[str | None, str]]:
        """From and to of every change of the alias, as the audit log has them."""
        return [
            (line.before, line.after)
            for line in self.store.history()
            if line.alias == self.settings.alias and line.moves_alias and line.after is not None
        ]

    @property
    def reader(self) -> LiveRetriever:
        """A service that reads; opened when something is live."""
        if self._reader is None:
            self._reader = LiveRetriever(
                self._reading, self.settings.alias, _student, params=_EXACT, poll_seconds=3_600.0
            )
        return self._reader

    def close(self) -> None:
        if self._reader is not None:
            self._reader.close()
        if isinstance(self.engine, ServerEngine):
            # Past the engine, which refuses to delete what is live: the front is shared.
            for name in self.collections():
                self.engine._client.delete_collection(name)
        self._reading.close()
        self.engine.close()
        shutil.rmtree(self.home, ignore_errors=True)


def best_answers(student: str, inventory: str) -> list[str]:
    """The keyphrases that a query for TITLE must find, best first."""
    texts = [keyphrase for keyphrase, _ in points(inventory)]
    stub = StubStudent(student)
    scores = stub.embed_keyphrases(texts) @ stub.embed_items([TITLE])[0]
    return [texts[place] for place in np.argsort(-scores)[:LIMIT]]


def _student(source: str, dimension: int, version: str) -> Student:
    return cast(Student, StubStudent(source, dimension))
