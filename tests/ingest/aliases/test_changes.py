"""Swap, roll back, prune, and the log of it."""

import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from keydistill.encoders import Student
from keydistill.errors import (
    AliasHeldError,
    CollectionNotFoundError,
    CollectionStateError,
    RunStateError,
    StudentMismatchError,
)
from keydistill.execution import Reindexer
from keydistill.ingest.aliases import AliasChanges, AliasHistory, Pruning
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


def test_a_second_rollback_goes_further_back(
    build: Build, changes: AliasChanges, engine: EmbeddedEngine, settings: Settings
) -> None:
    first, second, third = build(), build(), build()
    assert changes.rollback(why="worse").collection == second.collection
    assert engine.aliases() == {"keyphrases": second.collection}
    assert changes.rollback(why="worse, too").collection == first.collection
    # What was rolled back from is not gone back to by itself.
    with pytest.raises(CollectionNotFoundError, match=f"rollback --to {second.collection} --force"):
        changes.rollback()
    with pytest.raises(RunStateError, match="was rolled back from; put it live all the same with --force"):
        changes.rollback(third.collection)
    assert engine.aliases() == {"keyphrases": first.collection}
    assert changes.rollback(third.collection, force=True).collection == third.collection
    assert states(settings) == {first.collection: "retired", second.collection: "retired", third.collection: "live"}
    # Live again, it is as good as any; `second` is not.
    fourth = build()
    assert changes.rollback().collection == third.collection
    assert AliasHistory(engine, open_store(settings), "keyphrases").rolled_back_from() == {second.id, fourth.id}


def test_a_held_alias_stays_where_it_is(
    build: Build, changes: AliasChanges, engine: EmbeddedEngine, settings: Settings
) -> None:
    first, second, ready = build(), build(), build(swap=False)
    with pytest.raises(RunStateError, match="for a reason"):
        changes.hold("  ")
    with pytest.raises(RunStateError, match="is not held"):
        changes.release()
    changes.hold("audit")
    moves: list[Callable[[], object]] = [changes.rollback, lambda: changes.swap(ready.id), build]
    for move in moves:
        with pytest.raises(AliasHeldError, match=r"held since .* \(audit\); .* collections release keyphrases"):
            move()
    assert engine.aliases() == {"keyphrases": second.collection}
    # Nothing was begun for the one that was refused: it failed before anything was embedded.
    (refused,) = (run for run in reindexes(settings) if run.state == "failed")
    assert refused.failed_in == "planned"
    assert set(engine.collections()) == {first.collection, second.collection, ready.collection}
    # What is not swapped may be built.
    build(swap=False)
    changes.release("done")
    assert changes.rollback().collection == first.collection
    assert [each.action for each in open_store(settings).history()] == ["swap", "swap", "hold", "release", "rollback"]


def test_an_alias_that_is_held_while_a_run_builds_is_not_swapped(
    build: Build, changes: AliasChanges, engine: EmbeddedEngine, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = build()
    finish = engine.finish

    def held_then_finished(name: str) -> None:
        changes.hold("stop")
        finish(name)

    monkeypatch.setattr(engine, "finish", held_then_finished)
    with pytest.raises(AliasHeldError, match="stop"):
        build()
    assert engine.aliases() == {"keyphrases": first.collection}
    changes.release()
    (second,) = (run for run in reindexes(settings) if run.state == "failed")
    assert Reindexer(settings, engine).resume(second.id).state == "live"


def test_nothing_is_lost_with_redis(
    build: Build, changes: AliasChanges, engine: EmbeddedEngine, settings: Settings, server: RedisServer
) -> None:
    first, second, third = build(), build(), build()
    changes.hold("audit")
    pruning = Pruning(settings, engine, open_store(settings))
    before, planned = open_store(settings).history(), pruning.plan(5)
    if settings.redis_url is not None:
        server.flush()
    assert open_store(settings).history() == before
    assert pruning.plan(5) == planned
    with pytest.raises(AliasHeldError):
        changes.rollback()
    changes.release()
    assert changes.rollback(first.collection).state == "live"
    # All or nothing: the records that the rollback needs were put back before the alias moved.
    assert states(settings) == {first.collection: "live", second.collection: "retired", third.collection: "retired"}
    assert [each.action for each in open_store(settings).history()][-3:] == ["hold", "release", "rollback"]


def test_a_rollback_that_cannot_be_recorded_does_not_move_the_alias(
    build: Build, changes: AliasChanges, engine: EmbeddedEngine, settings: Settings, server: RedisServer
) -> None:
    first, second = build(), build()
    if settings.redis_url is None:
        pytest.skip("its records are the only ones")
    server.flush()
    # The copy of one record is lost, too: then nobody knows what it was.
    shutil.rmtree(settings.home / "runs" / second.id)
    changes.rollback(first.collection)
    assert engine.aliases() == {"keyphrases": first.collection}
    assert states(settings)[first.collection] == "live"
    pruning = Pruning(settings, engine, open_store(settings))
    # Of unknown origin: it is dropped by its name alone.
    assert pruning.plan().keep[second.collection] == "no run of ours built it; drop it with --collection"
    with pytest.raises(CollectionNotFoundError, match="'nothing' is not there"):
        pruning.plan(named=["nothing"])
    assert pruning.prune(named=[second.collection]).drop == (second.collection,)


def test_prune_keeps_what_the_history_does_not_reach(
    build: Build, changes: AliasChanges, engine: EmbeddedEngine, settings: Settings, server: RedisServer
) -> None:
    runs = [build() for _ in range(3)]
    if settings.redis_url is not None:
        server.flush()
    (settings.home / "history.jsonl").unlink()
    pruning = Pruning(settings, engine, open_store(settings))
    reason = "the history does not reach back to it, so a rollback may need it; drop it with --collection"
    assert [pruning.plan(0).keep[run.collection] for run in runs[:2]] == [reason, reason]
    assert pruning.prune(0, named=[runs[0].collection]).drop == (runs[0].collection,)


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
