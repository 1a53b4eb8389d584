"""Answers of a `LiveRetriever`, each with the generation that it comes from, and its status."""

from dataclasses import dataclass
from datetime import datetime
from typing import Generic, NamedTuple, TypeVar

from keydistill.encoders import Vectors

_Result = TypeVar("_Result")


@dataclass(frozen=True, slots=True)
class Answer(Generic[_Result]):
    """Results of several queries, and the generation that they come from.

    Attributes:
        collection: The collection that was asked.
        student_version: The student that built it and embedded the query.
        found: A list for each item or vector, best first.
    """

    collection: str
    student_version: str
    found: list[list[_Result]]


class ReadyQuery(NamedTuple):
    """What a service needs to ask Qdrant itself; the three belong together and are used together.

    Attributes:
        collection: The collection's own name, never an alias.
        student_version: The student that built it and embedded the item.
        vector: L2-normalised, shape (dimension,).
    """

    collection: str
    student_version: str
    vector: Vectors


@dataclass(frozen=True, slots=True)
class LiveStatus:
    """Status of a `LiveRetriever`.

    Attributes:
        alias: The alias that it follows.
        collection: The collection that answers.
        student_version: Version of the student that built the collection.
        since: Time at which the collection began to answer.
        named: The collection that the alias named when it was last read; another one than `collection` while the next
            generation loads, or cannot be loaded.
        changes: Number of changes of the generation.
        failure: Reason why the alias cannot be followed at the moment; None where it can.
        failures: Number of vain tries to follow it.
        in_flight: Number of queries under way.
        ending: Earlier collections that still have queries in flight.
        watching: Whether the thread that reads the alias is alive; without it no change would be noticed.
    """

    alias: str
    collection: str
    student_version: str
    since: datetime
    named: str
    changes: int
    failure: str | None
    failures: int
    in_flight: int
    ending: tuple[str, ...]
    watching: bool
