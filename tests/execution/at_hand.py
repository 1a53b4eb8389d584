from typing import TypeVar

from keydistill.execution.local import LocalWork
from keydistill.runs import Run

_R = TypeVar("_R", bound=Run)


def at_hand(work: LocalWork[_R]) -> _R:
    """The run that the work has begun."""
    assert work.run is not None
    return work.run
