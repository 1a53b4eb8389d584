"""Syncs that follow close upon each other, and a rebuild that is to go live between them."""

import json
import threading

import pytest

from encoders import Student
from ingest import Reindexer, Syncer, sync_steps
from runs import open_store
from settings import load_settings
from vectorstore.edge import EmbeddedEngine


@pytest.fixture
def world(tmp_path, tiny_folder, tiny_student, monkeypatch):
    monkeypatch.setattr(Student, "load", lambda *_, **__: tiny_student)
    settings = load_settings(home=tmp_path / "home", student=str(tiny_folder))
    with EmbeddedEngine(settings.home) as engine:
        yield settings, engine, tmp_path


def inventory(folder, first: int):
    path = folder / f"from-{first}.jsonl"
    rows = [{"keyphrase": f"phrase {number}"} for number in range(first, first + 20)]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return [path]


class BusyMarketplace:
    """Progress of a rebuild; while the gate asks, a sync comes in, every time."""

    def __init__(self, settings, engine, folder) -> None:
        self.settings, self.engine, self.folder = settings, engine, folder
        self.gates = 0
        self.syncs: list[threading.Thread] = []

    def start(self, step, total, unit):
        if step == "gate: ask":
            self.gates += 1
            syncer = Syncer(self.settings, self.engine)
            files = inventory(self.folder, self.gates)
            self.syncs.append(threading.Thread(target=syncer.start, args=(files,)))
            self.syncs[-1].start()
            # Accepted by then, unless it gives way.
            self.syncs[-1].join(1.0 if self.gates > 1 else 60.0)

    def advance(self, count):
        pass


def test_a_rebuild_is_sent_back_once_and_not_for_ever(world):
    settings, engine, folder = world
    Reindexer(settings, engine).start(inventory(folder, 0))
    busy = BusyMarketplace(settings, engine, folder)
    run = Reindexer(settings, engine, busy).start(inventory(folder, 0))
    assert run.state == "live"
    assert busy.gates == 2
    for sync in busy.syncs:
        sync.join(60)
    store = open_store(settings)
    assert [one.state for one in store.all() if one.kind == "sync"] == ["done", "done"]
    found = {record.payload["keyphrase"] for record in engine.scroll(settings.alias)}
    assert found == {f"phrase {number}" for number in range(2, 22)}


def test_nobody_waits_for_a_rebuild_that_nobody_carries_on(world, monkeypatch):
    settings, engine, folder = world
    monkeypatch.setattr(sync_steps, "_GIVE_WAY_SECONDS", 3_600.0)
    Reindexer(settings, engine).start(inventory(folder, 0))
    run = Reindexer(settings, engine).start(inventory(folder, 0), swap=False)
    store = open_store(settings)
    # As a killed one was that had been sent back.
    store.update(run.id, lambda now: now.timed("ready", 0.1).changed(state="gating", swap=True))
    assert Syncer(settings, engine).start(inventory(folder, 1)).state == "done"
