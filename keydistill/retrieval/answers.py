"""What a `LiveRetriever` answers: always with the generation that it comes from."""

from dataclasses import dataclass
from datetime import datetime
from typing import Generic, NamedTuple, TypeVar

from keydistill.encoders import Vectors

_Found = TypeVar("_Found")


@dataclass(frozen=True, slots=True)
class Answer(Generic[_Found]):
    """What was found, and by which generation.

    Attributes:
        collection: The collection that was asked.
        student_version: The student that built it and embedded the query.
        found: A list for each item or vector, best first.
    """

    collection: str
    student_version: str
    found: list[list[_Found]]


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
    """How a `LiveRetriever` is.

    Attributes:
        alias: What it follows.
        collection: The collection that answers.
        student_version: The student that built it.
        since: When it began to answer.
        named: What the alias named when it was last asked; another one than `collection` while the next generation
            loads, or cannot be loaded.
        changes: How often the generation has changed.
        failure: Why the alias cannot be followed at the moment; None: it is.
        failures: How often that was tried in vain.
        in_flight: Queries under way.
        ending: Earlier collections that have queries in flight still.
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
