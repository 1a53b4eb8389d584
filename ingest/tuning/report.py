"""What tuning found of a collection: for its metadata, and for whoever asked."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

from keydistill.ingest.tuning.choice import Choice
from keydistill.retrieval import TunedSearch, TunedShape


@dataclass(frozen=True, slots=True)
class ShapeReport:
    """One shape.

    Attributes:
        shape: See `filter_shape`.
        queries: How many were asked.
        passing: Points that pass such a filter, the median.
        choice: What was chosen.
    """

    shape: str
    queries: int
    passing: int
    choice: Choice

    @property
    def tuned(self) -> TunedShape:
        """What is kept of it."""
        of = self.choice.chosen
        return TunedShape(of.params, of.recall, of.recall_low, of.p50_ms, of.p99_ms, self.queries, self.passing)


@dataclass(frozen=True, slots=True, kw_only=True)
class TuningReport:
    """All shapes of a collection.

    Attributes:
        collection: Which was measured.
        student_version: Of its student.
        target: Least recall@10.
        measured_at: When, ISO 8601.
        items: Sentence on what was asked for.
        seconds: What it took.
        shapes: Those that were tuned.
        too_few: Shapes that too few items ask for to be tuned, to how many do; the settings decide on those.
    """

    collection: str
    student_version: str
    target: float
    measured_at: str
    items: str
    seconds: float
    shapes: tuple[ShapeReport, ...]
    too_few: Mapping[str, int]

    @property
    def tuned(self) -> TunedSearch:
        """What the collection's metadata keep."""
        return TunedSearch(
            self.student_version, self.target, self.measured_at, {each.shape: each.tuned for each in self.shapes}
        )

    def as_dict(self) -> dict[str, Any]:
        """Plain values for JSON."""
        return asdict(self)
