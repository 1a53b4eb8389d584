"""Parsing the rows of a batch: their values, and the first problem of every row that cannot be used."""

from collections.abc import Callable, Sequence
from typing import Any

from keydistill.tables.conventions import Nothing
from keydistill.tables.raw_batch import RawBatch
from keydistill.tables.rejects import Reject, RejectedValueError, RejectLog, shown

Parse = Callable[[Any], Any]

_COUNTABLE = (str, int, float, bool)


class RowProblems:
    """Collects the first problem of each row while the columns of a batch are parsed one after the other.

    Args:
        batch: The rows.
        source: Name of their file, for the rejects.
    """

    def __init__(self, batch: RawBatch, source: str) -> None:
        self._batch = batch
        self._source = source
        self._problems: dict[int, tuple[str, RejectedValueError, object]] = {}

    def __contains__(self, place: int) -> bool:
        return place in self._problems

    def add(self, place: int, column: str, problem: RejectedValueError, value: object) -> None:
        """Note why the row at this place (from 0) cannot be used; only the first problem of a row counts."""
        self._problems.setdefault(place, (column, problem, value))

    def parsed(self, column: str, values: Sequence[object], parse: Parse) -> list[Any]:
        """Every value parsed, None where that failed; equal values are parsed once."""
        results: list[Any] = []
        parsed_before: dict[object, Any] = {}
        # 1, 1.0 and True are equal as keys, and not equal as cells.
        remember = len({type(value) for value in values} - {type(None), Nothing}) == 1
        for place, value in enumerate(values):
            if remember and isinstance(value, _COUNTABLE) and value in parsed_before:
                results.append(parsed_before[value])
                continue
            try:
                result = parse(value)
            except RejectedValueError as problem:
                self.add(place, column, problem, value)
                result = None
            else:
                if remember and isinstance(value, _COUNTABLE):
                    parsed_before[value] = result
            results.append(result)
        return results

    def settle(self, rejects: RejectLog) -> list[int] | None:
        """Hand all rows that cannot be used to `rejects`; returns the places of the others, None when these are all."""
        for malformed in self._batch.malformed:
            rejects.add(malformed.reject(self._source))
        lines = self._batch.lines
        for place, (column, problem, value) in sorted(self._problems.items(), key=lambda entry: entry[0]):
            line = None if lines is None else lines[place]
            row = self._batch.rows[place]
            rejects.add(Reject(self._source, row, line, column, problem.reason, problem.detail, shown(value)))
        if not self._problems:
            return None
        return [place for place in range(len(self._batch.rows)) if place not in self._problems]
