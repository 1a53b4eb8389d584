"""Swap, roll back, prune, and the log of it."""

import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from keydistill.encoders import Student
from keydistill.errors import CollectionNotFoundError, CollectionStateError, RunStateError, StudentMismatchError
from keydistill.execution import Reindexer
from keydistill.ingest.aliases import AliasChanges, Pruning
from keydistill.runs import AliasChange, ReindexRun, RunStore, open_store, reindex_of
from keydistill.settings import Settings, load_settings
from keydistill.vectorstore.edge.engine import EmbeddedEngine
from tests.support.inventories import write_inventory
from tests.support.redis_server import RedisServer

Build = Callable[..., ReindexRun]


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RedisServer]:
    with RedisServer(tmp_path_factory.mktemp("redis")) as running:
        yield running


@pytest.fixture(params=["file", "redis"])
def settings(request: pytest.FixtureRequest, tmp_path: Path, tiny_folder: Path, server: RedisServer) -> Settings:
    here = {"home": tmp_path / "home", "student": str(tiny_folder), "grace_seconds": 0, "gate_sample": 20}
    if request.param == "file":
        return load_settings(**here)
    server.flush()
    return load_settings(**here, redis_url=server.url)


@pytest.fixture
def engine(settings: Settings) -> Iterator[EmbeddedEngine]:
    with EmbeddedEngine(settings.home) as engine:
        yield engine


@pytest.fixture
def build(
    settings: Settings, engine: EmbeddedEngine, tiny_student: Student, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Build:
    monkeypatch.setattr(Student, "load", lambda *_, **__: tiny_student)
    inventory = write_inventory(tmp_path / "inventory.csv", 30)
    return lambda **options: Reindexer(settings, engine).start([inventory], **options)


@pytest.fixture
def changes(settings: Settings, engine: EmbeddedEngine) -> AliasChanges:
    return AliasChanges(settings, engine, open_store(settings))


def states(settings: Settings) -> dict[str, str]:
    return {run.collection: run.state for run in reindexes(settings)}


def reindexes(settings: Settings) -> list[ReindexRun]:
    return [reindex_of(run) for run in open_store(settings).all()]


def test_a_run_that_was_not_to_be_swapped_is_swapped_in(
    build: Build, changes: AliasChanges, engine: EmbeddedEngine, settings: Settings
) -> None:
    first, second = build(), build(swap=False)
    assert changes.swap(second.id, "looks good").state == "live"
    assert engine.aliases() == {"keyphrases": second.collection}
    assert states(settings) == {first.collection: "retired", second.collection: "live"}
    with pytest.raises(RunStateError, match=f"run {second.id} is live; only one that is ready"):
        changes.swap(second.id)
    with pytest.raises(RunStateError, match=r"is retired; .* rollback --to"):
        changes.swap(first.id)


def test_rollback_goes_to_what_was_live_before_and_back(
    build: Build, changes: AliasChanges, engine: EmbeddedEngine, settings: Settings
) -> None:
    first, second, third = build(), build(), build()
    assert changes.rollback(why="worse").collection == second.collection
    assert engine.aliases() == {"keyphrases": second.collection}
    assert changes.rollback().collection == third.collection
    assert changes.rollback(first.collection).collection == first.collection
    assert states(settings) == {first.collection: "live", second.collection: "retired", third.collection: "retired"}


def test_the_history_says_who_when_from_to_and_why(build: Build, changes: AliasChanges, settings: Settings) -> None:
    first, second = build(), build()
    changes.rollback(why="worse")
    history = open_store(settings).history()
    assert [(each.action, each.before, each.after, each.why) for each in history] == [
        ("swap", None, first.collection, None),
        ("swap", first.collection, second.collection, None),
        ("rollback", second.collection, first.collection, "worse"),
    ]
    assert all("@" in each.by and each.at and each.run for each in history)


def test_no_rollback_to_what_cannot_be_read(
    build: Build, changes: AliasChanges, engine: EmbeddedEngine, settings: Settings, tiny_folder: Path, tmp_path: Path
) -> None:
    with pytest.raises(CollectionNotFoundError, match="no earlier collection to go back to"):
        changes.rollback()
    first = build()
    with pytest.raises(CollectionNotFoundError, match="no earlier collection"):
        changes.rollback()
    second = build()
    ready = build(swap=False)
    with pytest.raises(RunStateError, match="is ready and was never live"):
        changes.rollback(ready.collection)
    with pytest.raises(RunStateError, match="is live already"):
        changes.rollback(second.collection)
    with pytest.raises(CollectionNotFoundError, match="'other' is not there"):
        changes.rollback("other")
    copy = tmp_path / "student"
    shutil.copytree(tiny_folder, copy)
    aside = Path(f"{tiny_folder}-aside")
    tiny_folder.rename(aside)
    try:
        with pytest.raises(StudentMismatchError, match=f"{first.collection} cannot be read any more"):
            changes.rollback()
    finally:
        aside.rename(tiny_folder)
    assert engine.aliases() == {"keyphrases": second.collection}


def test_prune_keeps_what_is_needed(
    build: Build, changes: AliasChanges, engine: EmbeddedEngine, settings: Settings
) -> None:
    runs = [build() for _ in range(4)]
    ready = build(swap=False)
    elsewhere = Reindexer(settings.model_copy(update={"alias": "other"}), engine).start(
        [Path(file) for file in runs[0].files]
    )
    pruning = Pruning(settings, engine, open_store(settings))
    planned = pruning.plan()
    assert set(planned.drop) == {run.collection for run in runs[:2]}
    assert planned.keep == {
        runs[2].collection: "kept for a rollback",
        runs[3].collection: "alias keyphrases names it",
        ready.collection: f"run {ready.id} is ready; cancel it to let go of it",
        elsewhere.collection: "alias other names it",
    }
    assert len(engine.collections()) == 6
    assert pruning.prune(why="space") == planned
    assert set(engine.collections()) == set(planned.keep)
    assert not (open_store(settings).folder(runs[0].id) / "snapshot").exists()
    assert (open_store(settings).folder(runs[3].id) / "snapshot").exists()
    assert [each.why for each in open_store(settings).history() if each.action == "prune"] == ["space", "space"]
    assert pruning.prune().drop == ()
    with pytest.raises(CollectionNotFoundError, match="was pruned"):
        changes.rollback(runs[0].collection)


def test_grace_time_protects_from_every_prune(build: Build, engine: EmbeddedEngine, settings: Settings) -> None:
    first, second = build(), build()
    patient = Pruning(settings.model_copy(update={"grace_seconds": 3_600}), engine, open_store(settings))
    plan = patient.prune(keep=0)
    assert plan.drop == ()
    assert plan.keep[first.collection].startswith("used until ")
    with pytest.raises(CollectionStateError):
        engine.drop(second.collection)


def test_killed_between_the_swap_and_its_line_in_the_log(
    build: Build, settings: Settings, engine: EmbeddedEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Killed(BaseException):
        pass

    store_type = type(open_store(settings))

    def killed(self: RunStore, change: AliasChange) -> None:
        raise Killed

    monkeypatch.setattr(store_type, "note", killed)
    with pytest.raises(Killed):
        build()
    monkeypatch.undo()
    (run,) = reindexes(settings)
    assert engine.aliases() == {"keyphrases": run.collection}
    assert open_store(settings).history() == []
    assert Reindexer(settings, engine).resume(run.id).state == "live"
    assert [each.after for each in open_store(settings).history()] == [run.collection]


@pytest.mark.parametrize("when", ["note", "update"])
def test_a_run_killed_right_after_its_swap_is_not_swapped_in_again(
    build: Build,
    changes: AliasChanges,
    engine: EmbeddedEngine,
    settings: Settings,
    monkeypatch: pytest.MonkeyPatch,
    when: str,
) -> None:
    class Killed(BaseException):
        pass

    first = build()
    store_type = type(open_store(settings))
    original = getattr(store_type, when)

    def killing(self: RunStore, *args: object) -> object:
        # From the moment on when the alias has moved.
        if engine.aliases()["keyphrases"] != first.collection:
            raise Killed
        return original(self, *args)

    monkeypatch.setattr(store_type, when, killing)
    with pytest.raises(Killed):
        build()
    monkeypatch.setattr(store_type, when, original)
    second = next(run for run in reindexes(settings) if run.id != first.id)
    assert (second.state, engine.aliases()["keyphrases"]) == ("ready", second.collection)
    # Somebody sees that it is bad before anybody takes the run up again.
    assert changes.rollback(why="worse").id == first.id
    assert states(settings) == {first.collection: "live", second.collection: "retired"}
    with pytest.raises(RunStateError, match="is retired: there is nothing to resume"):
        Reindexer(settings, engine).resume(second.id)
    assert engine.aliases() == {"keyphrases": first.collection}
    assert [each.after for each in open_store(settings).history()] == [
        first.collection,
        second.collection,
        first.collection,
    ]


def test_what_is_gone_does_not_count_among_those_that_prune_keeps(
    build: Build, changes: AliasChanges, engine: EmbeddedEngine, settings: Settings
) -> None:
    first, second, third = build(), build(), build()
    changes.rollback(first.collection)
    engine.drop(third.collection)
    Pruning(settings, engine, open_store(settings)).prune(keep=1)
    assert set(engine.collections()) == {first.collection, second.collection}
    assert changes.rollback().id == second.id


def test_a_rollback_while_a_build_goes_on_is_not_undone_by_it(
    build: Build, changes: AliasChanges, engine: EmbeddedEngine
) -> None:
    first = build()
    build()
    third = build(swap=False)
    changes.rollback()
    assert engine.aliases() == {"keyphrases": first.collection}
    # What it saw when it was made is no longer live; a person who says so may swap it in all the same.
    assert changes.swap(third.id).collection == third.collection
