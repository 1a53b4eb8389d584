"""Who decides between two students: people where they judged held-out items, then the judge, then the assistant."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Self

import pyarrow as pa
import pyarrow.compute as pc

from keydistill.distillation.evaluation import MIN_JUDGED_PAIRS, AssistantJudge, LabelJudge, RelevanceJudge

if TYPE_CHECKING:
    from keydistill.encoders import Assistant


@dataclass(frozen=True, slots=True)
class Referee:
    """What decides between two students.

    Attributes:
        name: Name for a person: "people", "the judge NAME" or "the assistant".
        items: Items that it knows something of.
        judge: Judge of the students' lists.
        labels: Labels for recall, and for how well labelled pairs are ordered; None where only lists were judged.
    """

    name: str
    items: pa.Table
    judge: RelevanceJudge
    labels: pa.Table | None = None

    @classmethod
    def of(
        cls,
        items: pa.Table,
        by_people: pa.Table | None,
        of_lists: pa.Table,
        judge: str,
        assistant: Callable[[], Assistant],
    ) -> Self:
        """The first of people, judge and assistant that judged enough.

        The assistant comes last: the new student has learned from its scores.

        Args:
            items: Held-out items.
            by_people: Judgments by people of these.
            of_lists: The judge's judgments of the lists of both students, for some of the items.
            judge: Name of the judge.
            assistant: Function that loads the new assistant.
        """
        if by_people is not None and len(by_people) >= MIN_JUDGED_PAIRS:
            return cls("people", _judged(items, by_people), LabelJudge(by_people), by_people)
        if len(of_lists) >= MIN_JUDGED_PAIRS:
            return cls(f"the judge {judge}", _judged(items, of_lists), LabelJudge(of_lists, name=judge))
        return cls("the assistant", items, AssistantJudge(assistant()))


def _judged(items: pa.Table, judgments: pa.Table) -> pa.Table:
    """The items with a judgment."""
    return items.filter(pc.is_in(items["item_id"], value_set=judgments["item_id"].combine_chunks()))
