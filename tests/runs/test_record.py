import dataclasses
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from keydistill.errors import RunStateError
from keydistill.runs import ALLOWED_MOVES, Run, StepProgress
from keydistill.runs.record import run_from_dict
from tests.runs.records import reindex_run, retrain_run, sync_run

STATES = st.sampled_from(sorted(ALLOWED_MOVES))


@given(st.lists(STATES, max_size=12))
def test_no_run_ever_leaves_the_table(moves):
    run = reindex_run()
    for state in moves:
        if state in ALLOWED_MOVES[run.state]:
            run = run.moved(state)
            assert run.state == state
        else:
            with pytest.raises(RunStateError, match=f"is {run.state} and cannot become {state}"):
                run.moved(state)


def test_every_open_state_can_fail_be_cancelled_and_taken_up_again():
    for state, moves in ALLOWED_MOVES.items():
        if state in ("planned", "snapshot", "building", "verifying", "gating", "ready", "training"):
            run = dataclasses.replace(reindex_run(), state=state)
            assert {"failed", "cancelled"} <= moves
            assert run.failed("two\nlines").error == "two lines"
            assert run.failed("x").reopened().state == state


def test_an_accepted_sync_cannot_be_cancelled():
    applying = dataclasses.replace(sync_run(), state="applying", journal=1)
    with pytest.raises(RunStateError, match="is applying and cannot become cancelled"):
        applying.moved("cancelled")
    assert applying.failed("x").reopened().state == "applying"


def test_a_run_that_is_over_is_not_taken_up():
    for state in ("live", "retired", "cancelled"):
        with pytest.raises(RunStateError, match=f"is {state}: there is nothing to resume"):
            dataclasses.replace(reindex_run(), state=state).reopened()
    assert dataclasses.replace(reindex_run(), state="ready", swap=False).is_over
    assert not dataclasses.replace(reindex_run(), state="ready").is_over


@pytest.mark.parametrize("run", [reindex_run(), retrain_run(), sync_run()], ids=["reindex", "retrain", "sync"])
def test_a_record_survives_json(run: Run):
    full = run.attempted("building").timed("x", 1.5).changed(progress=StepProgress("s", None, "rows", 3, "now"))
    assert run_from_dict(json.loads(json.dumps(full.as_dict()))) == full


def test_parts_are_a_set():
    run = reindex_run().changed(parts=4)
    run = run.with_part_begun(2).with_part_begun(2).with_part(2).with_part(0).with_part(2)
    assert run.parts_done == (0, 2)
    assert run.missing_parts == [1, 3]
    assert run.parts_redone == 1
    assert not run.attempts


def test_what_is_no_record_is_refused():
    with pytest.raises(ValueError, match="kind 'x'"):
        run_from_dict({"kind": "x"})
