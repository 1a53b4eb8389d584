"""The rules of the property test on a cluster whose nodes learn late of what the others changed, now more, now less."""

from collections.abc import Callable
from typing import Any, ClassVar

from hypothesis import strategies as st
from hypothesis.stateful import rule

from tests.support.front_process import FrontProcess
from tests.support.kills import Kill
from tests.support.live_mishaps import MishapMachine


class LaggingMachine(MishapMachine):
    """All that may happen to an alias, on nodes that lag.

    The model looks by single reads: after whole work every node must show what came of it, without any waiting. A
    process that was killed waited for nobody; before the model looks, all nodes get to know what it did.
    """

    front: ClassVar[FrontProcess]
    seconds: float = 0.02

    @rule(seconds=st.sampled_from([0.0, 0.01, 0.04]))
    def nodes_lag(self, seconds: float) -> None:
        self.seconds = seconds
        self.front.lag(seconds)

    def _do(self, work: Callable[[], Any], kill: Kill | None) -> Any:
        found = super()._do(work, kill)
        if found is None:
            self.front.lag(self.seconds)
        return found
