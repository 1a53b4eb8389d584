"""Old runs are forgotten, and nothing that is still needed with them."""

from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from keydistill.ingest.aliases import Retention
from keydistill.runs import Run, RunStore, open_store
from keydistill.settings import load_settings
from keydistill.vectorstore import CollectionSpec
from keydistill.vectorstore.edge.engine import EmbeddedEngine
from tests.runs.records import reindex_run, retrain_run, sync_run

Add = Callable[..., Run]


@pytest.fixture
def store(tmp_path: Path) -> RunStore:
    return open_store(load_settings(home=tmp_path))


@pytest.fixture
def add(store: RunStore) -> Add:
    """Puts a run of so many days ago into the store."""
    ids = iter(range(1_000))

    def added(run: Run, days: float, **changes: Any) -> Run:
        at = (datetime.now(UTC) - timedelta(days=days)).isoformat(timespec="seconds")
        number = f"{datetime.fromisoformat(at):%Y%m%d-%H%M%S}-{next(ids):06x}"
        return store.add(replace(run, id=number, created_at=at, updated_at=at, **changes))

    return added


@pytest.fixture
def engine(tmp_path: Path) -> Iterator[EmbeddedEngine]:
    with EmbeddedEngine(tmp_path) as engine:
        yield engine


@pytest.fixture
def forget(tmp_path: Path, store: RunStore, engine: EmbeddedEngine) -> Callable[..., set[str]]:
    """Forgets what is older than so many days, and returns the ids of it."""

    def forgotten(days: float = 90) -> set[str]:
        settings = load_settings(home=tmp_path, run_retention_days=days)
        return {run.id for run in Retention(settings, engine, store).forget()}

    return forgotten


def ids(store: RunStore) -> set[str]:
    return {run.id for run in store.all()}


def test_the_last_of_each_state_stays(store: RunStore, add: Add, forget: Callable[..., set[str]]) -> None:
    kept, old = [], []
    for run in (reindex_run(), reindex_run("other"), sync_run(), retrain_run()):
        success = "retired" if run.kind == "reindex" else "done"
        old += [add(run, 200, state=success), add(run, 199, state="cancelled"), add(run, 198, state="failed")]
        kept += [add(run, 120, state="failed"), add(run, 110, state="cancelled"), add(run, 100, state=success)]
    old.append(kept.pop())
    kept += [add(retrain_run(), 89, state="done"), add(retrain_run(), 88, state="done")]
    assert forget(0) == set()
    assert forget() == {run.id for run in old}
    assert ids(store) == {run.id for run in kept}
    assert all(not store.folder(run.id).exists() for run in old)
    assert forget() == set()


def test_what_is_unfinished_stays(store: RunStore, add: Add, forget: Callable[..., set[str]]) -> None:
    at_work = add(reindex_run(), 200, state="building")
    # No later run succeeded.
    failed = [add(retrain_run(), 300 - number, state="failed") for number in range(3)]
    assert forget() == set()
    assert ids(store) == {at_work.id, *(run.id for run in failed)}


def test_what_a_collection_needs_stays(
    store: RunStore, engine: EmbeddedEngine, add: Add, forget: Callable[..., set[str]]
) -> None:
    old = [add(reindex_run(), 300 - number, state="retired") for number in range(4)]
    sync = add(sync_run(), 250, state="done", journal=1)
    add(sync_run(), 100, state="done", journal=2)
    owner, snapshot, applied = old[0], old[1], sync
    name = f"keyphrases-{owner.id}-1"
    metadata = {"run": owner.id, "snapshot_run": snapshot.id, "applying": [applied.id]}
    engine.create(name, CollectionSpec(4, quantization="none"), metadata)
    engine.finish(name)
    # The last retired one stays, too.
    assert forget() == {old[2].id}
    engine.drop(name)
    assert forget() == {owner.id, snapshot.id, applied.id}


def test_the_last_accepted_sync_numbers_the_next(store: RunStore, add: Add, forget: Callable[..., set[str]]) -> None:
    accepted = add(sync_run(), 300, state="failed", journal=7)
    add(sync_run(), 200, state="failed")
    add(sync_run(), 100, state="done")
    assert forget() == set()
    assert accepted.id in ids(store)
