"""Every state in which a run has work to do has its step, its queue, and workers of that queue."""

import dataclasses
from pathlib import Path

import pytest

from keydistill.distillation.retrain import STAGES
from keydistill.execution import STAGE_QUEUES, STATE_QUEUES, message_of, queue_of
from keydistill.ingest.steps import ReindexSteps, SyncSteps
from keydistill.runs import MOVES, Kind, open_store, working_states
from keydistill.settings import load_settings
from keydistill.vectorstore import open_engine
from keydistill.workers.celery_config import QUEUES
from tests.runs.records import NEW_RUNS, retrain_run


def test_every_state_has_its_step(tmp_path: Path) -> None:
    settings = load_settings(home=tmp_path)
    engine, store = open_engine(settings), open_store(settings)
    try:
        assert set(ReindexSteps(settings, engine, store).steps) == working_states("reindex")
        assert set(SyncSteps(settings, engine, store).steps) == working_states("sync")
    finally:
        engine.close()
    # A retrain begins, and then goes through its stages.
    assert working_states("retrain") == {"planned", "training"}


@pytest.mark.parametrize("kind", sorted(MOVES))
def test_every_state_has_its_queue(kind: Kind) -> None:
    for state in working_states(kind):
        run = dataclasses.replace(NEW_RUNS[kind](), state=state)
        message = message_of(run)
        assert message.queue == queue_of(run)
        assert message.queue in QUEUES
        assert message.arguments == (run.id,)
        assert message.task == ("keydistill.retrain_stages" if kind == "retrain" else "keydistill.advance")


def test_no_queue_is_for_a_state_that_there_is_not() -> None:
    assert {kind: set(queues) for kind, queues in STATE_QUEUES.items()} == {
        kind: working_states(kind) for kind in ("reindex", "sync")
    }


def test_every_stage_has_its_queue() -> None:
    assert set(STAGE_QUEUES) == {*STAGES, "register"}
    queues = [queue_of(retrain_run().changed(stages_done=STAGES[:count])) for count in range(len(STAGES) + 1)]
    assert queues == ["train", "judge", "train", "train", "train", "judge", "train", "train"]
