"""How a failure is put on record, and what is said of it."""

import dataclasses
import errno
from pathlib import Path

import pytest

from keydistill.errors import GateRefusedError, RunError, RunStateError, TrainingError
from keydistill.execution.failures import record_failure, with_next_step
from keydistill.runs import RunStore, State, open_store
from keydistill.settings import load_settings
from tests.runs.records import reindex_run, retrain_run


@pytest.fixture
def store(tmp_path: Path) -> RunStore:
    return open_store(load_settings(home=tmp_path))


def test_a_failure_is_one_line_and_says_where(store: RunStore) -> None:
    run = store.add(dataclasses.replace(reindex_run(), state="building"))
    with store.lease(run.lease_name, run.id) as lease:
        record_failure(store, run.id, ValueError("two\nlines"), lease)
    failed = store.load(run.id)
    assert (failed.state, failed.failed_in, failed.error) == ("failed", "building", "two lines")


def test_a_failure_without_a_text_is_known_by_its_name(store: RunStore) -> None:
    run = store.add(reindex_run())
    record_failure(store, run.id, MemoryError())
    assert store.load(run.id).error == "MemoryError"


@pytest.mark.parametrize(("state", "swap"), [("cancelled", True), ("live", True), ("ready", False)])
def test_what_is_over_cannot_fail(store: RunStore, state: State, swap: bool) -> None:
    run = store.add(dataclasses.replace(reindex_run(), state=state, swap=swap))
    with pytest.raises(RunStateError, match=f"is {state}: it cannot fail any more"):
        record_failure(store, run.id, "too late")
    assert store.load(run.id) == run


def test_the_first_failure_counts(store: RunStore) -> None:
    run = store.add(reindex_run())
    record_failure(store, run.id, "first")
    with pytest.raises(RunStateError, match="is failed and cannot become failed"):
        record_failure(store, run.id, "second")
    assert store.load(run.id).error == "first"


def test_an_error_says_how_to_go_on() -> None:
    run = dataclasses.replace(retrain_run(), state="training")
    error = with_next_step(TrainingError("no\ngradient"), run)
    assert type(error) is TrainingError
    assert str(error) == (
        f"run {run.id} failed while training: no gradient; mend it, then `keydistill retrain --resume {run.id}`"
    )


def test_an_error_that_says_it_itself_is_left_to_it() -> None:
    run = dataclasses.replace(reindex_run(), state="gating")
    error = with_next_step(GateRefusedError("worse; `keydistill gate X` shows why"), run)
    assert str(error) == f"run {run.id} failed while gating: worse; `keydistill gate X` shows why"


def test_a_full_disk_and_a_defect() -> None:
    run = reindex_run()
    full = with_next_step(OSError(errno.ENOSPC, "No space left on device", "/home/x"), run)
    assert isinstance(full, RunError)
    assert f"disk of /home/x; make room, then `keydistill reindex --resume {run.id}`" in str(full)
    defect = ZeroDivisionError("x")
    assert with_next_step(defect, run) is defect


def test_a_step_is_named_in_words() -> None:
    run = dataclasses.replace(reindex_run(), state="ready")
    assert f"run {run.id} failed while moving the alias: no" in str(with_next_step(RunError("no"), run))
