"""The audit log of aliases: what each named when, and who changed it."""

from dataclasses import asdict, dataclass
from typing import Any, Literal, Self

from keydistill.runs.stamps import now, present_user
from keydistill.runs.stored_json import read_json

Action = Literal["swap", "rollback", "sync", "prune", "hold", "release"]


@dataclass(frozen=True, slots=True, kw_only=True)
class AliasChange:
    """One line of the log, written right after the change; who next changes the alias adds a line that is missing.

    Attributes:
        at: Time of the change, UTC.
        by: Who, as USER@HOST, or which schedule.
        action: Kind of the change.
        alias: The alias that was changed, or that the dropped collection belonged to.
        before: Collection that the alias named; for a prune, the collection that was dropped.
        after: Collection that the alias names now; None for a prune. A hold and its release leave it as it is.
        why: The reason that was given, or None.
        run: The run whose collection `after` (of a prune: `before`) is.
    """

    at: str
    by: str
    action: Action
    alias: str
    before: str | None
    after: str | None
    why: str | None
    run: str | None

    @classmethod
    def made(
        cls,
        action: Action,
        alias: str,
        before: str | None,
        after: str | None,
        *,
        why: str | None = None,
        run: str | None = None,
        by: str | None = None,
    ) -> Self:
        """A change that was made just now."""
        return cls(
            at=now(),
            by=by or present_user(),
            action=action,
            alias=alias,
            before=before,
            after=after,
            why=why,
            run=run,
        )

    @property
    def moves_alias(self) -> bool:
        """Whether the alias named another collection afterwards."""
        return self.action in ("swap", "rollback", "sync")

    def as_dict(self) -> dict[str, Any]:
        """Plain values for JSON."""
        return asdict(self)

    @classmethod
    def parse(cls, line: str | bytes) -> Self:
        """The inverse of `as_dict`, written as JSON; see `read_json`."""
        return read_json(cls, line)
