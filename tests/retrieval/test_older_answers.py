"""The answers of a node that is late, and of an alias that was moved by other means."""

import time
from collections.abc import Callable
from typing import Any

import pytest

from keydistill.errors import CollectionNotFoundError
from keydistill.retrieval.older_answers import OlderAnswers


@pytest.fixture
def pass_time(monkeypatch: pytest.MonkeyPatch) -> Callable[[float], None]:
    now = [0.0]
    monkeypatch.setattr(time, "monotonic", lambda: now[0])

    def passes(seconds: float) -> None:
        now[0] += seconds

    return passes


def engine(**numbers: int | None) -> Any:
    """As much of an engine as is asked: the numbers of the swaps."""

    class Numbers:
        def went_live(self, name: str) -> int | None:
            if name not in numbers:
                raise CollectionNotFoundError(name)
            return numbers[name]

    return Numbers()


def test_older_collection_is_not_gone_back_to() -> None:
    answers = OlderAnswers()
    assert answers.is_late(engine(a=1, b=2), "a", "b")
    assert not answers.is_late(engine(a=3, b=2), "a", "b")


@pytest.mark.parametrize("numbers", [{"a": None, "b": 2}, {"a": 1, "b": None}, {"a": 1}, {"b": 1}])
def test_what_has_no_number_is_followed(numbers: dict[str, int | None]) -> None:
    assert not OlderAnswers().is_late(engine(**numbers), "a", "b")


def test_alias_moved_by_other_means_is_followed_in_the_end(pass_time: Callable[[float], None]) -> None:
    answers, numbers = OlderAnswers(60), engine(a=1, b=2)
    assert answers.is_late(numbers, "a", "b")
    pass_time(59)
    assert answers.is_late(numbers, "a", "b")
    pass_time(1)
    assert not answers.is_late(numbers, "a", "b")


def test_time_counts_only_while_nobody_names_the_present_one(pass_time: Callable[[float], None]) -> None:
    answers, numbers = OlderAnswers(60), engine(a=1, b=2)
    assert answers.is_late(numbers, "a", "b")
    pass_time(59)
    answers.forget()
    pass_time(59)
    assert answers.is_late(numbers, "a", "b")
