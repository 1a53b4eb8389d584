"""The log of an alias while syncs move it too, and after processes that were killed before they could write it."""

import json
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from keydistill.encoders import Student
from keydistill.execution import Reindexer, Syncer
from keydistill.ingest.aliases import AliasChanges, Pruning
from keydistill.ingest.aliases.history import AliasHistory
from keydistill.runs import open_store, reindex_of
from keydistill.runs.file_store import FileRunStore
from keydistill.settings import Settings, load_settings
from keydistill.vectorstore.edge.engine import EmbeddedEngine

OpenHistory = Callable[[], AliasHistory]
WriteInventory = Callable[[int], list[Path]]


class Killed(BaseException):
    """As the death of the process would, it is caught nowhere."""


@pytest.fixture
def settings(tmp_path: Path, tiny_folder: Path) -> Settings:
    return load_settings(home=tmp_path / "home", student=str(tiny_folder))


@pytest.fixture
def engine(settings: Settings) -> Iterator[EmbeddedEngine]:
    with EmbeddedEngine(settings.home) as engine:
        yield engine


@pytest.fixture(autouse=True)
def one_student(tiny_student: Student, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Student, "load", lambda *_, **__: tiny_student)


@pytest.fixture
def history(settings: Settings, engine: EmbeddedEngine) -> OpenHistory:
    return lambda: AliasHistory(engine, open_store(settings), settings.alias)


@pytest.fixture
def inventory(tmp_path: Path) -> WriteInventory:
    def write(first: int) -> list[Path]:
        path = tmp_path / f"from-{first}.jsonl"
        rows = [{"keyphrase": f"phrase {number}"} for number in range(first, first + 30)]
        path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
        return [path]

    return write


class Syncing:
    """Progress during which a sync goes through, while a collection is verified."""

    def __init__(self, settings: Settings, engine: EmbeddedEngine, files: list[Path]) -> None:
        self.sync = Syncer(settings, engine)
        self.files = files

    def start(self, step: str, total: int | None, unit: str) -> None:
        if step == "verify" and self.sync.run is None:
            self.sync.start(self.files)

    def advance(self, count: int) -> None:
        pass


def moves(history: OpenHistory) -> list[tuple[str, str | None, str | None]]:
    """Oldest first."""
    return [(change.action, change.before, change.after) for change in reversed(history().changes())]


def test_a_swap_names_what_a_sync_had_put_live_meanwhile(
    settings: Settings, engine: EmbeddedEngine, inventory: WriteInventory, history: OpenHistory
) -> None:
    first = Reindexer(settings, engine).start(inventory(0))
    second = Reindexer(settings, engine, Syncing(settings, engine, inventory(1))).start(inventory(0))
    store = open_store(settings)
    synced = reindex_of(store.load(first.id)).collection
    assert synced != first.collection
    now = reindex_of(store.load(second.id)).collection
    assert moves(history) == [
        ("swap", None, first.collection),
        ("sync", first.collection, synced),
        ("swap", synced, now),
    ]
    # Readers may hold it, and it is what is rolled back to.
    assert history().candidates() == [synced]
    assert "used until" in Pruning(settings, engine, store).plan(keep=0).keep[synced]
    assert AliasChanges(settings, engine, store).rollback().collection == synced


def test_killed_right_after_the_swap_it_resumes_to_the_same_line(
    settings: Settings,
    engine: EmbeddedEngine,
    inventory: WriteInventory,
    history: OpenHistory,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    first = Reindexer(settings, engine).start(inventory(0))
    reindexer = Reindexer(settings, engine, Syncing(settings, engine, inventory(1)))
    killed = _killed_after(monkeypatch, "note", 2)
    with pytest.raises(Killed):
        reindexer.start(inventory(0))
    killed()
    synced = reindex_of(open_store(settings).load(first.id)).collection
    live = engine.aliases()[settings.alias]
    assert moves(history)[-1] == ("swap", synced, live)
    assert history().candidates() == [synced]
    assert reindexer.run is not None
    Reindexer(settings, engine).resume(reindexer.run.id)
    last = history().written()[0]
    assert (last.before, last.after) == (synced, live)
    assert len(history().written()) == 3


def test_a_rollback_killed_before_its_line_can_be_rolled_back(
    settings: Settings,
    engine: EmbeddedEngine,
    inventory: WriteInventory,
    history: OpenHistory,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    first = Reindexer(settings, engine).start(inventory(0))
    second = Reindexer(settings, engine).start(inventory(0))
    store = open_store(settings)
    killed = _killed_after(monkeypatch, "note", 1)
    with pytest.raises(Killed):
        AliasChanges(settings, engine, store).rollback()
    killed()
    assert engine.aliases()[settings.alias] == first.collection
    assert moves(history)[-1] == ("rollback", second.collection, first.collection)
    assert second.collection in Pruning(settings, engine, store).plan(keep=0).keep
    assert AliasChanges(settings, engine, store).rollback(second.collection, force=True).id == second.id
    assert [(change.action, change.after) for change in history().written()[:2]] == [
        ("rollback", second.collection),
        ("rollback", first.collection),
    ]
    assert {run.id: run.state for run in store.all()} == {first.id: "retired", second.id: "live"}


def test_a_rollback_killed_once_it_has_caught_up_can_be_repeated(
    settings: Settings,
    engine: EmbeddedEngine,
    inventory: WriteInventory,
    history: OpenHistory,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    first = Reindexer(settings, engine).start(inventory(0))
    Reindexer(settings, engine).start(inventory(0))
    Syncer(settings, engine).start(inventory(1))
    store = open_store(settings)
    original = EmbeddedEngine.swap_alias

    def killing(self: EmbeddedEngine, *_: object) -> None:
        raise Killed

    monkeypatch.setattr(EmbeddedEngine, "swap_alias", killing)
    with pytest.raises(Killed):
        AliasChanges(settings, engine, store).rollback()
    monkeypatch.setattr(EmbeddedEngine, "swap_alias", original)
    copy = reindex_of(store.load(first.id)).collection
    assert copy != first.collection
    assert history().candidates() == [copy]
    assert Pruning(settings, engine, store).plan().keep[copy] == "kept for a rollback"
    assert AliasChanges(settings, engine, store).rollback().collection == copy


def test_a_sync_killed_before_its_line_leaves_readers_their_grace_time(
    settings: Settings,
    engine: EmbeddedEngine,
    inventory: WriteInventory,
    history: OpenHistory,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    first = Reindexer(settings, engine).start(inventory(0))
    killed = _killed_after(monkeypatch, "note", 1)
    syncer = Syncer(settings, engine)
    with pytest.raises(Killed):
        syncer.start(inventory(1))
    killed()
    store = open_store(settings)
    live = engine.aliases()[settings.alias]
    assert moves(history)[-1] == ("sync", first.collection, live)
    assert "used until" in Pruning(settings, engine, store).plan(keep=0).keep[first.collection]
    assert syncer.run is not None
    Syncer(settings, engine).resume(syncer.run.id)
    assert history().candidates() == []
    third = Reindexer(settings, engine).start(inventory(1))
    assert moves(history)[1:] == [("sync", first.collection, live), ("swap", live, third.collection)]
    assert len(history().written()) == 3


def _killed_after(monkeypatch: pytest.MonkeyPatch, method: str, calls: int) -> Callable[[], None]:
    """Kill the process before the store does `method` for so manieth time; returns what ends that."""
    original = getattr(FileRunStore, method)
    left = [calls]

    def killing(self: FileRunStore, *args: object) -> object:
        left[0] -= 1
        if not left[0]:
            raise Killed
        return original(self, *args)

    monkeypatch.setattr(FileRunStore, method, killing)
    return lambda: monkeypatch.setattr(FileRunStore, method, original)
