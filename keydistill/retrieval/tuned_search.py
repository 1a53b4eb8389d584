"""Search settings that were measured for a collection, per shape of filter, as its metadata keep them.

`keydistill tune` writes them (`keydistill.ingest.tuning.tuner`), a generation reads them. What cannot be read is
ignored with a warning: it decides how fast an answer comes, not whether.
"""

import logging
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, fields, replace
from typing import Annotated, Any, Literal, Self

from pydantic import BaseModel, BeforeValidator, Field, StrictBool, ValidationError

from keydistill.errors import first_problem
from keydistill.retrieval.filter_shapes import filter_shape
from keydistill.vectorstore import CollectionInfo, CollectionMetadata, Filter, SearchParams

_log = logging.getLogger(__name__)

# Length of the lists that are measured.
TUNED_LIMIT = 10

_Number = Annotated[float, Field(strict=True, allow_inf_nan=False)]
# A server that was asked by gRPC may have kept a whole number as a float.
_Whole = Annotated[
    int,
    BeforeValidator(lambda value: int(value) if isinstance(value, float) and value.is_integer() else value),
    Field(strict=True),
]


@dataclass(frozen=True, slots=True)
class TunedShape:
    """The tuned search settings of one filter shape, with their measured recall and latency.

    Attributes:
        params: Search settings of queries of this shape.
        recall: Mean recall@10 against exact search.
        recall_low: Lower end of its one-sided 95% interval.
        p50_ms: Median latency of single queries in milliseconds.
        p99_ms: 99th percentile of that latency.
        queries: Number of queries that were measured.
        passing: Median number of points that pass such a filter.
    """

    params: SearchParams
    recall: float
    recall_low: float
    p50_ms: float
    p99_ms: float
    queries: int
    passing: int


class _StoredShape(BaseModel):
    """A `TunedShape` as the metadata keep it, its params beside the rest."""

    ef: Annotated[_Whole, Field(ge=1, le=10_000)]
    oversampling: Annotated[_Number, Field(ge=1, le=100)]
    exact: StrictBool
    acorn: StrictBool
    recall: _Number
    recall_low: _Number
    p50_ms: _Number
    p99_ms: _Number
    queries: _Whole
    passing: _Whole

    def tuned(self) -> TunedShape:
        values = self.model_dump()
        params = SearchParams(**{field.name: values.pop(field.name) for field in fields(SearchParams)})
        return TunedShape(params, **values)


class _StoredSearch(BaseModel):
    format: Literal[1]
    student_version: str
    target: _Number
    measured_at: str
    shapes: dict[str, _StoredShape]


@dataclass(frozen=True, slots=True)
class TunedSearch:
    """All shapes of a collection.

    Attributes:
        student_version: Version of the student that built the collection; for vectors of another nothing here holds.
        target: The recall@10 that every shape was to keep.
        measured_at: Time of the measurement, ISO 8601.
        shapes: Shape of `filter_shape` to what was chosen.
    """

    student_version: str
    target: float
    measured_at: str
    shapes: Mapping[str, TunedShape]

    def as_dict(self) -> dict[str, Any]:
        """Plain values for the metadata."""
        shapes = {}
        for name, shape in self.shapes.items():
            values = {**asdict(shape.params), **asdict(shape)}
            del values["params"]
            shapes[name] = {key: _rounded(value) for key, value in values.items()}
        return {
            "format": 1,
            "student_version": self.student_version,
            "target": self.target,
            "measured_at": self.measured_at,
            "shapes": shapes,
        }

    @classmethod
    def from_dict(cls, values: Any) -> Self:
        """The inverse of `as_dict`.

        Raises:
            ValueError: It is nothing that `as_dict` gave.
        """
        try:
            stored = _StoredSearch.model_validate(values)
        except ValidationError as error:
            raise ValueError(first_problem(error)) from None
        shapes = {name: shape.tuned() for name, shape in stored.shapes.items()}
        return cls(stored.student_version, stored.target, stored.measured_at, shapes)

    @classmethod
    def of(cls, info: CollectionInfo) -> Self | None:
        """The tuned settings in a collection's metadata; None where it was not tuned, or they cannot be used."""
        metadata = CollectionMetadata.parse(info)
        if metadata.search is None:
            return None
        try:
            tuned = cls.from_dict(metadata.search)
        except ValueError as error:
            reason = str(error)
        else:
            if tuned.student_version == metadata.student_version:
                return tuned
            reason = f"measured with student {tuned.student_version}"
        _log.warning(
            "collection %s: its tuned search settings are ignored (%s), those of the settings are used; "
            "run `keydistill tune --collection %s`",
            *(info.name, reason, info.name),
        )
        return None


def tuned_params(info: CollectionInfo) -> dict[str, SearchParams]:
    """Shape to params, empty where the collection was not tuned."""
    tuned = TunedSearch.of(info)
    return {} if tuned is None else {name: shape.params for name, shape in tuned.shapes.items()}


def params_for(shape: str, limit: int, tuned: Mapping[str, SearchParams], untuned: SearchParams) -> SearchParams:
    """How hard a query looks.

    A list longer than those that were measured is searched no less thoroughly than if nothing had been tuned.

    >>> tuned = {"site": SearchParams(ef=32, oversampling=3.0)}
    >>> params_for("site", 10, tuned, SearchParams()).ef, params_for("site", 50, tuned, SearchParams()).ef
    (32, 128)
    """
    params = tuned.get(shape)
    if params is None:
        return untuned
    if limit <= TUNED_LIMIT or params.exact:
        return params
    return replace(params, ef=max(params.ef, untuned.ef), oversampling=max(params.oversampling, untuned.oversampling))


def searched_alike(
    filters: Sequence[Filter | None], limit: int, tuned: Mapping[str, SearchParams], untuned: SearchParams
) -> dict[SearchParams, list[int]]:
    """Places of the queries that look equally hard: those of one shape, and those of shapes with equal settings."""
    of_shape: dict[str, SearchParams] = {}
    alike: dict[SearchParams, list[int]] = {}
    for place, filter in enumerate(filters):
        shape = filter_shape(filter)
        if shape not in of_shape:
            of_shape[shape] = params_for(shape, limit, tuned, untuned)
        alike.setdefault(of_shape[shape], []).append(place)
    return alike


def _rounded(value: object) -> object:
    return round(value, 5) if isinstance(value, float) else value
