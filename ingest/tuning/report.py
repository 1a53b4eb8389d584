"""The result of tuning a collection, for its metadata and for the command line."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

from keydistill.ingest.tuning.choice import Choice
from keydistill.retrieval import TunedSearch, TunedShape


@dataclass(frozen=True, slots=True)
class ShapeReport:
    """The result of tuning one filter shape.

    Attributes:
        shape: Name of the shape, as `filter_shape` gives it.
        queries: Number of queries that were measured.
        passing: Median number of points that pass such a filter.
        choice: The chosen settings.
    """

    shape: str
    queries: int
    passing: int
    choice: Choice

    @property
    def tuned(self) -> TunedShape:
        """The part of it that is kept with the collection."""
        best = self.choice.chosen
        return TunedShape(
            best.params, best.recall, best.recall_low, best.p50_ms, best.p99_ms, self.queries, self.passing
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class TuningReport:
    """The result of tuning all filter shapes of a collection.

    Attributes:
        collection: Name of the collection that was measured.
        student_version: Version of the student that built it.
        target: Least recall@10.
        measured_at: Time of the measurement, ISO 8601.
        items: Sentence on the items that were queried for.
        seconds: Duration of the measurement.
        shapes: Results of the shapes that were tuned.
        too_few: Shapes that too few items have to be tuned, each with the number of items; the settings decide on them.
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
        """The part of it that the collection's metadata keep."""
        return TunedSearch(
            self.student_version, self.target, self.measured_at, {each.shape: each.tuned for each in self.shapes}
        )

    def as_dict(self) -> dict[str, Any]:
        """Plain values for JSON."""
        return asdict(self)
