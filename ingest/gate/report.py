"""The gate's report: rows of value, threshold and verdict, kept with the run."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any, Literal, Self

Verdict = Literal["pass", "fail", "not measured"]
Rule = Literal[">=", "<=", "+-", ""]


@dataclass(frozen=True, slots=True)
class Row:
    """The result of one check.

    Attributes:
        name: Name of what was measured.
        value: Value of the candidate.
        live: Value of the live collection, where there is one.
        rule: How the value is compared with the threshold: at least, at most, at most that far from the live value;
            empty where the value is only reported.
        threshold: Number that the value is compared with.
        verdict: Result of the comparison.
        note: Reason of the verdict, or what else there is to know.
    """

    name: str
    value: float | None = None
    live: float | None = None
    rule: Rule = ""
    threshold: float | None = None
    verdict: Verdict = "pass"
    note: str = ""

    @classmethod
    def compared(
        cls, name: str, value: float, rule: Rule, threshold: float, live: float | None = None, note: str = ""
    ) -> Self:
        """A row whose verdict follows from its numbers.

        >>> Row.compared("recall@10, site", 0.91, ">=", 0.95).verdict
        'fail'
        """
        holds = {
            ">=": value >= threshold,
            "<=": value <= threshold,
            "+-": live is None or abs(value - live) <= threshold,
            "": True,
        }[rule]
        return cls(name, value, live, rule, threshold, "pass" if holds else "fail", note)

    @classmethod
    def not_measured(cls, name: str, why: str) -> Self:
        """A row without a value."""
        return cls(name, verdict="not measured", note=why)

    @classmethod
    def reported(cls, name: str, value: float, live: float | None = None, note: str = "") -> Self:
        """A row that nothing is compared with."""
        return cls(name, value, live, note=note)


@dataclass(frozen=True, slots=True, kw_only=True)
class GateReport:
    """All rows, and what they were measured on.

    Attributes:
        collection, student: The candidate and the version of its student.
        live, live_student: The live collection and the version of its student; None where there is none to compare
            with, and `against` says why.
        against: Sentence on what the candidate is compared with.
        items: Sentence on the queries.
        queries: Number of queries.
        referee: Version of the assistant that judged; None where none did.
        seconds: Duration of the gate.
        rows: Rows of all checks.
    """

    collection: str
    student: str
    live: str | None
    live_student: str | None
    against: str
    items: str
    queries: int
    referee: str | None
    seconds: float
    rows: tuple[Row, ...] = field(default_factory=tuple)

    @property
    def refused(self) -> bool:
        """Whether some check failed."""
        return bool(self.failed)

    @property
    def failed(self) -> tuple[str, ...]:
        """Names of the checks that failed."""
        return tuple(row.name for row in self.rows if row.verdict == "fail")

    def refusal(self, run_id: str) -> str:
        """One line that says what failed, and what to do."""
        return (
            f"the gate refused collection {self.collection}: {'; '.join(self.failed)}; the alias was not touched; "
            f"see `keydistill gate {run_id}`, or put it live all the same: "
            f"`keydistill collections swap {run_id} --force --why REASON`"
        )

    def as_dict(self) -> dict[str, Any]:
        """Plain values for JSON."""
        rows = [
            {name: round(value, 6) if isinstance(value, float) else value for name, value in asdict(row).items()}
            for row in self.rows
        ]
        return {"verdict": "refused" if self.refused else "passed", **asdict(self), "rows": rows}

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Self:
        """The inverse of `as_dict`."""
        plain = {name: value for name, value in values.items() if name != "verdict"}
        return cls(**{**plain, "rows": tuple(Row(**row) for row in plain["rows"])})
