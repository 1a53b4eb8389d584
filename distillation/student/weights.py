"""The weight of each task: what the recipe says, and where it leaves that to the data, what follows from these."""

from __future__ import annotations

from typing import TYPE_CHECKING

from keydistill.distillation.student.data import Pairs, StudentData, Task

if TYPE_CHECKING:
    from keydistill.distillation.student.recipe import StudentRecipe

# The least weight of the assistant's scores, however many there are.
LEAST = 0.3


def learned_tasks(data: StudentData, recipe: StudentRecipe) -> dict[Task, Pairs]:
    """The tasks that have pairs and a weight above 0, with their pairs."""
    return {
        name: pairs
        for name, pairs in data.tasks().items()
        if pairs is not None and len(pairs) and _weight(name, data, recipe) > 0
    }


def task_weights(data: StudentData, recipe: StudentRecipe) -> dict[Task, float]:
    """The weight of each task that is learned."""
    return {name: _weight(name, data, recipe) for name in learned_tasks(data, recipe)}


def _weight(name: Task, data: StudentData, recipe: StudentRecipe) -> float:
    chosen = recipe.weights.get(name, 0.0)
    if chosen is not None:
        return chosen
    return of_grades(data) if name == "judgments" else balanced(data)


def of_grades(data: StudentData) -> float:
    """The weight of judgments that are learned directly: 0 for lists of items for a keyphrase without a click log.

    Of such lists the pairs that were judged relevant are learned as positives. Grades of as many queries as people
    judge by hand did not make the order of another query's list better, and cost recall (docs/retrain.md, "What was
    tried and did not help").
    """
    return 0.0 if data.compares_items(data.judgments) else 1.0


def balanced(data: StudentData) -> float:
    """The weight with which the assistant's scores count as much as what was clicked or judged, all pairs together.

    A batch belongs to one task, so that a task with many pairs has many steps: with a weight of 1, scores of everything
    that was mined would drown what people clicked and judged. It is 1 at the most, and `LEAST` at the least.

    >>> import numpy as np
    >>> pairs = {n: Pairs(np.zeros(n, np.int64), np.zeros(n, np.int64)) for n in (50, 100, 400)}
    >>> titles, of = ["shoe"], (None,)
    >>> [balanced(StudentData(titles, of, ["a"], clicks=pairs[50], assistant=pairs[n])) for n in (50, 100, 400)]
    [1.0, 0.5, 0.3]
    """
    scored = 0 if data.assistant is None else len(data.assistant)
    positives = sum(len(pairs) for pairs in (data.clicks, data.judged_yes) if pairs is not None)
    return 1.0 if not positives else max(LEAST, min(1.0, positives / max(1, scored)))
