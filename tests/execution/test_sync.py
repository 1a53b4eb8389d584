"""Syncs on both engines: what is live, what is being built and what is rolled back to hold what was accepted."""

import json
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from keydistill.encoders import Student
from keydistill.errors import CollectionNotFoundError, RunBusyError, RunError, RunStateError
from keydistill.execution import Reindexer, Syncer
from keydistill.ingest.aliases import AliasChanges, Pruning
from keydistill.ingest.aliases.journal import accepted_syncs
from keydistill.ingest.gate.gate import Gate
from keydistill.runs import Lease, ReindexRun, open_store, reindex_of
from keydistill.settings import Settings, load_settings
from keydistill.vectorstore import Engine
from keydistill.vectorstore.factory import open_engine
from tests.execution.at_hand import at_hand
from tests.support.front_process import FrontProcess


@pytest.fixture(scope="module")
def front(tmp_path_factory: pytest.TempPathFactory) -> Iterator[FrontProcess]:
    with FrontProcess(tmp_path_factory.mktemp("front")) as process:
        yield process


@pytest.fixture(params=["embedded", "server"])
def settings(request: pytest.FixtureRequest, tmp_path: Path, tiny_folder: Path) -> Settings:
    options = {"home": tmp_path / "home", "student": str(tiny_folder), "part_rows": 25, "upsert_batch": 10}
    if request.param == "server":
        # Each test its own alias: the front is shared.
        options |= {"engine": "server", "qdrant_url": request.getfixturevalue("front").url, "alias": tmp_path.name}
    return load_settings(**options, grace_seconds=0, gate_sample=20)


@pytest.fixture
def engine(settings: Settings) -> Iterator[Engine]:
    engine = open_engine(settings)
    yield engine
    engine.close()


@pytest.fixture(autouse=True)
def embedded(tiny_student: Student, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The texts that were embedded, in order."""
    texts: list[str] = []
    original = tiny_student.embed_keyphrases
    monkeypatch.setattr(Student, "load", lambda *_, **__: tiny_student)

    def noted(some: Sequence[str], *rest: Any) -> Any:
        texts.extend(some)
        return original(some, *rest)

    monkeypatch.setattr(tiny_student, "embed_keyphrases", noted)
    return texts


def write(path: Path, numbers: Iterable[int], **fields: object) -> Path:
    rows = [
        {
            "keyphrase": f"phrase {number}",
            "category_path": f"Root > Leaf {number % 3}",
            "search_volume": number,
            **fields,
        }
        for number in numbers
    ]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return path


def content(engine: Engine, name: str) -> dict[str, tuple[int, str]]:
    """Keyphrase to volume and vector (rounded, as text)."""
    return {
        record.payload["keyphrase"]: (
            record.payload["search_volume"],
            str(np.round(np.asarray(record.vector), 4).tolist()),
        )
        for record in engine.scroll(name, with_vectors=True)
    }


def expected(student: Student, numbers: Iterable[int], volume: int | None = None) -> dict[str, tuple[int, str]]:
    texts = [f"phrase {number}" for number in numbers]
    vectors = student.embed_keyphrases(texts)
    return {
        text: (number if volume is None else volume, str(np.round(vector, 4).tolist()))
        for text, number, vector in zip(texts, numbers, vectors, strict=True)
    }


def live(engine: Engine, settings: Settings) -> str:
    return engine.aliases()[settings.alias]


def test_a_sync_brings_what_is_live_to_the_new_inventory(
    settings: Settings, engine: Engine, tmp_path: Path, tiny_student: Student, embedded: list[str]
) -> None:
    first = Reindexer(settings, engine).start([write(tmp_path / "a.jsonl", range(60))])
    embedded.clear()
    changed = write(tmp_path / "b.jsonl", [*range(5, 60), 100, 101])
    run = Syncer(settings, engine).start([changed])
    assert run.state == "done"
    assert run.journal == 1
    assert sorted(embedded) == ["phrase 100", "phrase 101"]
    assert content(engine, settings.alias) == expected(tiny_student, [*range(5, 60), 100, 101])
    now = live(engine, settings)
    assert (now == first.collection) == engine.changes_in_place
    assert reindex_of(open_store(settings).load(first.id)).collection == now
    assert run.changes == {now: {"added": 2, "changed": 0, "removed": 5, "unchanged": 55, "embedded": 2}}
    metadata = engine.info(now).metadata
    assert (metadata["run"], metadata["snapshot_run"], metadata["journal"], metadata["rows"]) == (
        first.id,
        run.id,
        1,
        57,
    )
    assert "applying" not in metadata


def test_fields_that_changed_are_set_without_embedding(
    settings: Settings, engine: Engine, tmp_path: Path, embedded: list[str]
) -> None:
    Reindexer(settings, engine).start([write(tmp_path / "a.jsonl", range(30), brand="x")])
    embedded.clear()
    Syncer(settings, engine).start([write(tmp_path / "b.jsonl", range(30), search_volume=7)])
    assert embedded == []
    records = list(engine.scroll(settings.alias))
    assert {record.payload["search_volume"] for record in records} == {7}
    # A field that is gone from the inventory is gone from the point.
    assert not any("brand" in record.payload for record in records)


def test_nothing_changed_is_seen_from_the_files_alone(settings: Settings, engine: Engine, tmp_path: Path) -> None:
    inventory = write(tmp_path / "a.jsonl", range(30))
    Reindexer(settings, engine).start([inventory])
    run = Syncer(settings, engine).start([inventory])
    assert (run.state, run.rows, run.journal, run.changes) == ("done", 30, 0, {})
    assert not (open_store(settings).folder(run.id) / "snapshot").exists()
    # The same rows in another file: seen by the comparison.
    moved = write(tmp_path / "b.jsonl", reversed(range(30)))
    run = Syncer(settings, engine).start([moved])
    assert (run.state, run.journal) == ("done", 0)
    assert accepted_syncs(open_store(settings), settings.alias) == []


def test_a_plan_changes_nothing(settings: Settings, engine: Engine, tmp_path: Path) -> None:
    Reindexer(settings, engine).start([write(tmp_path / "a.jsonl", range(30))])
    before = content(engine, settings.alias), live(engine, settings)
    plan = Syncer(settings, engine).plan([write(tmp_path / "b.jsonl", range(3, 31))])
    assert (plan.rows, plan.changes.added, plan.changes.removed, plan.refused) == (28, 1, 3, None)
    plan = Syncer(settings, engine).plan([write(tmp_path / "c.jsonl", range(3))])
    assert "lacks 27 of 30 live keyphrases (90%)" in str(plan.refused)
    assert (content(engine, settings.alias), live(engine, settings)) == before
    assert list((settings.home / "tmp").iterdir()) == []
    assert len(open_store(settings).all()) == 1


def test_a_file_that_is_not_whole_is_refused(settings: Settings, engine: Engine, tmp_path: Path) -> None:
    Reindexer(settings, engine).start([write(tmp_path / "a.jsonl", range(30))])
    syncer = Syncer(settings, engine)
    with pytest.raises(RunError, match=r"lacks 20 of 30 live keyphrases \(67%\), more than max_removed_share 20%"):
        syncer.start([write(tmp_path / "b.jsonl", range(10))])
    assert engine.count(settings.alias) == 30
    assert accepted_syncs(open_store(settings), settings.alias) == []
    generous = settings.model_copy(update={"max_removed_share": 0.9})
    assert Syncer(generous, engine).start([tmp_path / "b.jsonl"]).state == "done"
    assert engine.count(settings.alias) == 10


def test_without_anything_live_there_is_nothing_to_sync(settings: Settings, engine: Engine, tmp_path: Path) -> None:
    with pytest.raises(CollectionNotFoundError, match="nothing to sync; build one with `keydistill reindex INVENTORY`"):
        Syncer(settings, engine).start([write(tmp_path / "a.jsonl", range(3))])
    assert open_store(settings).all() == []


class Killed(BaseException):
    """As the death of the process would, it is caught nowhere."""


@pytest.mark.parametrize("when", ["upsert", "delete", "set_metadata", "finish", "swap_alias"])
def test_killed_anywhere_it_resumes_to_the_same(
    settings: Settings,
    engine: Engine,
    tmp_path: Path,
    tiny_student: Student,
    monkeypatch: pytest.MonkeyPatch,
    when: str,
) -> None:
    Reindexer(settings, engine).start([write(tmp_path / "a.jsonl", range(40))])
    if when == "swap_alias" and engine.changes_in_place:
        pytest.skip("nothing is swapped where collections change in place")
    original = getattr(type(engine), when)
    calls = 0

    def killing(self: Engine, *args: Any, **kwargs: Any) -> Any:
        nonlocal calls
        calls += 1
        result = original(self, *args, **kwargs)
        # The second upsert; of the others the first.
        if calls == (2 if when == "upsert" else 1):
            raise Killed
        return result

    monkeypatch.setattr(type(engine), when, killing)
    syncer = Syncer(settings, engine)
    with pytest.raises(Killed):
        syncer.start([write(tmp_path / "b.jsonl", [*range(4, 40), *range(100, 125)])])
    monkeypatch.setattr(type(engine), when, original)
    assert open_store(settings).load(at_hand(syncer).id).state == "applying"
    run = Syncer(settings, engine).resume(at_hand(syncer).id)
    assert run.state == "done"
    assert content(engine, settings.alias) == expected(tiny_student, [*range(4, 40), *range(100, 125)])
    Pruning(settings, engine, open_store(settings)).prune(keep=0)
    assert [name for name in engine.collections() if name.startswith(settings.alias)] == [live(engine, settings)]


def test_killed_after_the_copy_went_live_it_resumes_although_the_old_one_was_pruned(
    settings: Settings, engine: Engine, tmp_path: Path, tiny_student: Student, monkeypatch: pytest.MonkeyPatch
) -> None:
    if engine.changes_in_place:
        pytest.skip("nothing is swapped where collections change in place")
    first = Reindexer(settings, engine).start([write(tmp_path / "a.jsonl", range(40))])
    original = type(engine).swap_alias

    def killing(self: Engine, *args: Any) -> None:
        original(self, *args)
        raise Killed

    monkeypatch.setattr(type(engine), "swap_alias", killing)
    syncer = Syncer(settings, engine)
    with pytest.raises(Killed):
        syncer.start([write(tmp_path / "b.jsonl", range(3, 45))])
    monkeypatch.setattr(type(engine), "swap_alias", original)
    store = open_store(settings)
    Pruning(settings, engine, store).prune(keep=0)
    assert engine.collections() == [live(engine, settings)]
    assert reindex_of(store.load(first.id)).collection == live(engine, settings)
    assert Syncer(settings, engine).resume(at_hand(syncer).id).state == "done"
    assert content(engine, settings.alias) == expected(tiny_student, range(3, 45))
    assert [(line.action, line.before, line.after) for line in store.history() if line.after] == [
        ("swap", None, first.collection),
        ("sync", first.collection, live(engine, settings)),
    ]


def test_a_later_sync_makes_good_what_a_killed_one_left(
    settings: Settings, engine: Engine, tmp_path: Path, tiny_student: Student, monkeypatch: pytest.MonkeyPatch
) -> None:
    Reindexer(settings, engine).start([write(tmp_path / "a.jsonl", range(40))])
    original = type(engine).delete

    def killing(self: Engine, *args: Any) -> None:
        raise Killed

    monkeypatch.setattr(type(engine), "delete", killing)
    with pytest.raises(Killed):
        Syncer(settings, engine).start([write(tmp_path / "b.jsonl", [*range(4, 40), *range(100, 125)])])
    monkeypatch.setattr(type(engine), "delete", original)
    run = Syncer(settings, engine).start([write(tmp_path / "c.jsonl", [*range(2, 40), 200])])
    assert run.journal == 2
    assert content(engine, settings.alias) == expected(tiny_student, [*range(2, 40), 200])


def test_what_is_being_built_gets_it_before_it_is_put_live(
    settings: Settings, engine: Engine, tmp_path: Path, tiny_student: Student
) -> None:
    old = write(tmp_path / "a.jsonl", range(40))
    Reindexer(settings, engine).start([old])
    reindexer = Reindexer(settings, engine)

    class Syncing:
        """Progress during which a sync goes through."""

        done = False

        def start(self, step: str, total: int | None, unit: str) -> None:
            if step == "verify" and not self.done:
                self.done = True
                Syncer(settings, engine).start([write(tmp_path / "b.jsonl", range(3, 45))])

        def advance(self, count: int) -> None:
            pass

    reindexer._steps._progress = reindexer._progress = Syncing()
    run = reindexer.start([old])
    assert run.state == "live"
    assert reindex_of(open_store(settings).load(run.id)).collection == live(engine, settings)
    assert content(engine, settings.alias) == expected(tiny_student, range(3, 45))


def test_syncs_right_before_the_swap_send_the_run_back(
    settings: Settings, engine: Engine, tmp_path: Path, tiny_student: Student, monkeypatch: pytest.MonkeyPatch
) -> None:
    old = write(tmp_path / "a.jsonl", range(40))
    Reindexer(settings, engine).start([old])
    swap, report = AliasChanges.swap_as_planned, Gate.report
    answers: list[bool] = []
    gates: list[str] = []

    def swap_after_a_sync(self: AliasChanges, run: ReindexRun, build: Lease) -> bool:
        if len(answers) < 3:
            Syncer(settings, engine).start([write(tmp_path / "b.jsonl", range(3, 45 + len(answers)))])
        answers.append(swap(self, run, build))
        return answers[-1]

    def counted(self: Gate, run: ReindexRun) -> Any:
        gates.append(run.id)
        return report(self, run)

    monkeypatch.setattr(AliasChanges, "swap_as_planned", swap_after_a_sync)
    monkeypatch.setattr(Gate, "report", counted)
    assert Reindexer(settings, engine).start([old]).state == "live"
    assert answers == [False, False, False, True]
    # Asked once: a run that is sent back for a sync must come to its swap before the next one.
    assert len(gates) == 1
    assert content(engine, settings.alias) == expected(tiny_student, range(3, 47))


def test_nothing_is_lost_across_a_rollback(
    settings: Settings, engine: Engine, tmp_path: Path, tiny_student: Student
) -> None:
    old = write(tmp_path / "a.jsonl", range(40))
    first = Reindexer(settings, engine).start([old])
    Reindexer(settings, engine).start([old])
    sync = Syncer(settings, engine).start([write(tmp_path / "b.jsonl", range(3, 45))])
    if engine.changes_in_place:
        assert set(sync.changes) == {live(engine, settings), first.collection}
    left = live(engine, settings)
    back = AliasChanges(settings, engine, open_store(settings)).rollback()
    assert back.id == first.id
    assert live(engine, settings) == back.collection
    assert content(engine, settings.alias) == expected(tiny_student, range(3, 45))
    again = AliasChanges(settings, engine, open_store(settings)).rollback(left, force=True)
    assert again.id != first.id
    assert content(engine, settings.alias) == expected(tiny_student, range(3, 45))


def test_a_rollback_from_a_bad_reindex_restores_the_inventory_too(
    settings: Settings, engine: Engine, tmp_path: Path, tiny_student: Student
) -> None:
    Reindexer(settings, engine).start([write(tmp_path / "a.jsonl", range(40))])
    Reindexer(settings, engine).start([write(tmp_path / "bad.jsonl", range(100, 140))])
    AliasChanges(settings, engine, open_store(settings)).rollback()
    assert content(engine, settings.alias) == expected(tiny_student, range(40))


def test_a_run_that_waits_for_its_swap_gets_what_was_accepted_meanwhile(
    settings: Settings, engine: Engine, tmp_path: Path, tiny_student: Student
) -> None:
    old = write(tmp_path / "a.jsonl", range(40))
    Reindexer(settings, engine).start([old])
    ready = Reindexer(settings, engine).start([old], swap=False)
    Syncer(settings, engine).start([write(tmp_path / "b.jsonl", range(3, 45))])
    AliasChanges(settings, engine, open_store(settings)).swap(ready.id)
    assert content(engine, settings.alias) == expected(tiny_student, range(3, 45))


def test_one_sync_at_a_time(settings: Settings, engine: Engine, tmp_path: Path) -> None:
    Reindexer(settings, engine).start([write(tmp_path / "a.jsonl", range(30))])
    with (
        open_store(settings).lease(f"sync:{settings.alias}", "20261129-000000-0a1b2c"),
        pytest.raises(RunBusyError, match=r"run 20261129-000000-0a1b2c .*keydistill runs watch 20261129-000000-0a1b2c"),
    ):
        Syncer(settings, engine).start([write(tmp_path / "b.jsonl", range(31))])
    reindex = open_store(settings).all()[0]
    with pytest.raises(RunStateError, match="is a reindex; go on with it by `keydistill reindex --resume"):
        Syncer(settings, engine).resume(reindex.id)


def test_prune_leaves_what_later_syncs_compare_with(
    settings: Settings, engine: Engine, tmp_path: Path, tiny_student: Student
) -> None:
    Reindexer(settings, engine).start([write(tmp_path / "a.jsonl", range(30))])
    for end in (32, 34, 36):
        Syncer(settings, engine).start([write(tmp_path / f"{end}.jsonl", range(end))])
    store = open_store(settings)
    Pruning(settings, engine, store).prune(keep=0)
    kept = [run.id for run in store.all() if (store.folder(run.id) / "snapshot").exists()]
    assert kept == [accepted_syncs(store, settings.alias)[-1].id]
    Syncer(settings, engine).start([write(tmp_path / "40.jsonl", range(40))])
    assert content(engine, settings.alias) == expected(tiny_student, range(40))


def test_a_rebuild_in_which_nothing_changed_embeds_nothing(
    settings: Settings, engine: Engine, tmp_path: Path, tiny_student: Student, embedded: list[str]
) -> None:
    inventory = write(tmp_path / "a.jsonl", range(60))
    first = Reindexer(settings, engine).start([inventory])
    embedded.clear()
    second = Reindexer(settings, engine).start([inventory])
    assert second.state == "live"
    assert len(embedded) == second.report["rows_embedded_again"]
    # Where collections are folders, the whole folder is taken over.
    assert ("embedding" in second.timings) == engine.changes_in_place
    assert engine.info(settings.alias).metadata["run"] == second.id
    assert content(engine, settings.alias) == expected(tiny_student, range(60))
    Syncer(settings, engine).start([write(tmp_path / "b.jsonl", range(1, 61))])
    assert content(engine, settings.alias) == expected(tiny_student, range(1, 61))
    assert engine.count(first.collection) == 60 or engine.changes_in_place


def test_a_rebuild_with_the_same_student_embeds_only_new_texts(
    settings: Settings, engine: Engine, tmp_path: Path, tiny_student: Student, embedded: list[str]
) -> None:
    Reindexer(settings, engine).start([write(tmp_path / "a.jsonl", range(60))])
    embedded.clear()
    # Another index, another payload field.
    other = settings.model_copy(update={"hnsw_m": 8, "payload_indexes": {"brand": "keyword"}})
    run = Reindexer(other, engine).start([write(tmp_path / "b.jsonl", [*range(60), 100], brand="x")])
    again = run.report["rows_embedded_again"]
    assert embedded[0] == "phrase 100"
    assert len(embedded) == 1 + again
    assert content(engine, settings.alias) == expected(tiny_student, [*range(60), 100])
