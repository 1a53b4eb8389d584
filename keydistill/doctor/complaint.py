"""What a check finds."""

from collections.abc import Callable
from dataclasses import dataclass

from keydistill.execution import Severity


@dataclass(frozen=True, slots=True)
class Complaint:
    """Something that is wrong.

    Attributes:
        severity: "error" where queries or builds cannot work, "warning" where somebody should look.
        text: What was found, in one line.
        cure: What to run or to change.
        fix: Mends it, where that is safe: nothing is lost by it that anybody could miss.
    """

    severity: Severity
    text: str
    cure: str
    fix: Callable[[], None] | None = None
