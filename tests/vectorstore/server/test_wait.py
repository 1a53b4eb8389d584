"""Waiting for the optimisers, against scripted answers."""

import time
from collections.abc import Callable

import pytest

from keydistill.errors import EngineUnavailableError, VectorStoreError
from keydistill.vectorstore.server.wait import Progress, wait_until_optimized

GREEN = Progress("green")


class Script:
    """Answers in turn, the last one for ever; counts nudges."""

    def __init__(self, *answers: Progress) -> None:
        self.answers = list(answers)
        self.looks = 0
        self.nudges = 0

    def look(self) -> Progress:
        self.looks += 1
        return self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]

    def nudge(self) -> None:
        self.nudges += 1


@pytest.fixture(autouse=True)
def clock(monkeypatch: pytest.MonkeyPatch) -> Callable[[], float]:
    """Time that passes only in pauses."""
    now = [0.0]

    def sleep(seconds: float) -> None:
        now[0] += seconds

    monkeypatch.setattr(time, "sleep", sleep)
    monkeypatch.setattr(time, "monotonic", lambda: now[0])
    return lambda: now[0]


def wait(script: Script, stall_seconds: float = 60) -> None:
    wait_until_optimized("c", script.look, script.nudge, stall_seconds=stall_seconds)


def test_green_has_to_last() -> None:
    script = Script(GREEN, Progress("yellow"), Progress("green", pending=1), GREEN, GREEN)
    wait(script)
    assert (script.looks, script.nudges) == (5, 0)


def test_takes_as_long_as_something_moves(clock: Callable[[], float]) -> None:
    wait(Script(*(Progress("yellow", marks=number) for number in range(5_000)), GREEN))
    assert clock() > 9_000


def test_stalled() -> None:
    with pytest.raises(EngineUnavailableError, match="'c' stands still: status yellow, 2 pending, no change for 60 s"):
        wait(Script(Progress("yellow", pending=2, marks=7)))


def test_grey_is_nudged_and_not_in_a_hail() -> None:
    script = Script(*[Progress("grey", marks=number) for number in range(30)], GREEN)
    wait(script)
    assert 2 <= script.nudges <= 4


@pytest.mark.parametrize("answer", [Progress("red"), Progress("yellow", error="out of disk")])
def test_failed(answer: Progress) -> None:
    with pytest.raises(VectorStoreError, match=r"optimising 'c' failed: (status red|out of disk)"):
        wait(Script(Progress("yellow"), answer))
