import dataclasses
import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from keydistill.errors import RunStateError
from keydistill.runs import MOVES, Kind, Run, State, StepProgress, open_states, working_states
from keydistill.runs.record import read_run
from tests.runs.records import NEW_RUNS, reindex_run, retrain_run, sync_run

KINDS = sorted(MOVES)


@given(st.sampled_from(KINDS), st.lists(st.sampled_from(sorted({*MOVES["reindex"], *MOVES["retrain"]})), max_size=12))
def test_no_run_ever_leaves_the_table_of_its_kind(kind: Kind, states: list[State]) -> None:
    run = NEW_RUNS[kind]()
    for state in states:
        if state in MOVES[kind][run.state]:
            run = run.moved(state)
            assert run.state == state
        else:
            with pytest.raises(RunStateError, match=f"is {run.state} and cannot become {state}"):
                run.moved(state)


@pytest.mark.parametrize("kind", KINDS)
def test_a_table_leads_from_the_plan_to_every_state_and_nowhere_else(kind: Kind) -> None:
    moves = MOVES[kind]
    reached: set[State] = {"planned"}
    while more := {state for each in reached for state in moves[each]} - reached:
        reached |= more
    assert reached == set(moves)


def test_a_kind_does_not_take_the_way_of_another() -> None:
    with pytest.raises(RunStateError, match="is planned and cannot become training"):
        reindex_run().moved("training")
    with pytest.raises(RunStateError, match="is planned and cannot become snapshot"):
        retrain_run().moved("snapshot")
    with pytest.raises(RunStateError, match="is snapshot and cannot become building"):
        sync_run().moved("snapshot").moved("building")


@pytest.mark.parametrize("kind", KINDS)
def test_every_state_with_work_in_it_can_fail_and_be_taken_up_again(kind: Kind) -> None:
    assert open_states(kind) == working_states(kind) | {"failed"}
    for state in working_states(kind):
        run = dataclasses.replace(NEW_RUNS[kind](), state=state)
        assert not run.is_over
        assert not run.is_at_rest
        assert run.reopened() == run
        failed = run.failed("two\nlines")
        assert (failed.error, failed.failed_in, failed.is_over, failed.is_at_rest) == ("two lines", state, False, True)
        assert failed.reopened().state == state
        # What was accepted is applied, whoever regrets it.
        assert ("cancelled" in MOVES[kind][state]) is (state != "applying")


def test_an_accepted_sync_cannot_be_cancelled() -> None:
    applying = dataclasses.replace(sync_run(), state="applying", journal=1)
    with pytest.raises(RunStateError, match="is applying and cannot become cancelled"):
        applying.moved("cancelled")
    assert applying.failed("x").reopened().state == "applying"


@pytest.mark.parametrize("kind", KINDS)
def test_a_run_that_is_over_is_not_taken_up(kind: Kind) -> None:
    over = set(MOVES[kind]) - open_states(kind)
    assert over == ({"live", "retired", "cancelled"} if kind == "reindex" else {"done", "cancelled"})
    for state in over:
        run = dataclasses.replace(NEW_RUNS[kind](), state=state)
        assert run.is_over
        with pytest.raises(RunStateError, match=f"is {state}: there is nothing to resume"):
            run.reopened()


def test_a_reindex_that_is_not_to_be_swapped_is_over_when_it_is_ready() -> None:
    assert dataclasses.replace(reindex_run(), state="ready", swap=False).is_over
    assert not dataclasses.replace(reindex_run(), state="ready").is_over


@pytest.mark.parametrize("run", [reindex_run(), retrain_run(), sync_run()], ids=["reindex", "retrain", "sync"])
def test_a_record_survives_json(run: Run) -> None:
    full = run.attempted("building").timed("x", 1.5).changed(progress=StepProgress("s", None, "rows", 3, "now"))
    assert read_run(json.dumps(full.as_dict())) == full


def test_a_record_keeps_what_json_has_no_word_for() -> None:
    run = reindex_run().changed(report={"worst": float("inf"), "rows": 2**40, "of": [1, {"none": None}]})
    assert read_run(json.dumps(run.changed(parts=3).with_part(1).as_dict())) == run.changed(parts=3).with_part(1)


def test_parts_are_a_set() -> None:
    run = reindex_run().changed(parts=4)
    run = run.with_part_begun(2).with_part_begun(2).with_part(2).with_part(0).with_part(2)
    assert run.parts_done == (0, 2)
    assert run.missing_parts == [1, 3]
    assert run.parts_redone == 1
    assert not run.attempts


# As the first version wrote them: fields that came later are not there.
FIRST_REINDEX = {
    "id": "20260901-120000-abcdef",
    "kind": "reindex",
    "state": "retired",
    "created_at": "2026-09-01T12:00:00+00:00",
    "updated_at": "2026-09-01T12:10:00+00:00",
    "executor": "local",
    "failed_in": None,
    "error": None,
    "timings": {"snapshot": 3, "embedding": 41.25},
    "progress": None,
    "attempts": {},
    "files": ["/inventory.csv"],
    "categories": None,
    "student": "tiny",
    "student_version": "tiny-32d-0123456789ab",
    "dimension": 32,
    "alias": "keyphrases",
    "collection": "keyphrases-20260901-120000-abcdef",
    "previous_target": None,
    "swap": True,
    "rows": 10,
    "parts": 1,
    "parts_done": [0],
    "report": {"points": 10},
}


def test_a_record_of_the_first_version_is_read() -> None:
    run = read_run(json.dumps(FIRST_REINDEX))
    assert (run.state, run.timings["snapshot"], run.started_by) == ("retired", 3, None)
    assert run.lease_name == "build:keyphrases"


@pytest.mark.parametrize(
    ("kind", "change", "problem"),
    [
        ("reindex", {"state": "nonsense"}, r"state: Input should be 'planned', .*, not 'nonsense'"),
        ("reindex", {"state": "training"}, "state 'training' of a reindex; expected one of planned, snapshot"),
        ("sync", {"state": "live"}, "state 'live' of a sync; expected one of planned, snapshot, applying"),
        ("retrain", {"state": "gating"}, "state 'gating' of a retrain; expected one of planned, training"),
        ("reindex", {"dimension": "three"}, "dimension: Input should be a valid integer, not 'three'"),
        ("reindex", {"dimension": "3"}, "dimension: Input should be a valid integer, not '3'"),
        ("reindex", {"swap": "yes"}, "swap: Input should be a valid boolean, not 'yes'"),
        ("reindex", {"files": "a.csv"}, "files: Input should be a valid array, not 'a.csv'"),
        ("reindex", {"executor": "cron"}, "executor: Input should be 'local' or 'celery', not 'cron'"),
        ("reindex", {"progress": {"step": 1}}, "progress.step: Input should be a valid string, not 1"),
        ("sync", {"parts": 3}, "parts: Unexpected keyword argument, not 3"),
        ("retrain", {"kind": "dance"}, "Input tag 'dance' found using 'kind' does not match any of the expected tags"),
    ],
)
def test_what_is_no_record_is_refused_in_one_line(kind: Kind, change: dict[str, Any], problem: str) -> None:
    with pytest.raises(ValueError, match=problem) as caught:
        read_run(json.dumps({**NEW_RUNS[kind]().as_dict(), **change}))
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("text", ["{", "[]", "{}", "3", '{"kind": ["reindex"]}'])
def test_what_is_not_even_like_a_record_is_refused_in_one_line(text: str) -> None:
    with pytest.raises(ValueError, match=r".") as caught:
        read_run(text)
    assert "\n" not in str(caught.value)
