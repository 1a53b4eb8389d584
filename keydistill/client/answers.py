"""Answers of the service, read."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Self

from keydistill.errors import ServiceError


@dataclass(frozen=True, slots=True)
class LiveGeneration:
    """A generation: a collection, and the version of the student that built it and embeds the items."""

    collection: str
    student_version: str


@dataclass(frozen=True, slots=True)
class KeyphraseHit:
    """A keyphrase for an item.

    Attributes:
        keyphrase: Its text.
        score: Cosine similarity of the two.
        payload: Its fields in the inventory.
        variants: Other spellings that it stands for, where the options merge them.
        fallback: Category above the one asked for in which it was found; None where it is of the one asked for.
        explanation: Why it stands where it stands, where the options ask.
    """

    keyphrase: str
    score: float
    payload: Mapping[str, Any]
    variants: tuple[str, ...] = ()
    fallback: str | None = None
    explanation: Mapping[str, Any] | None = None

    @classmethod
    def of(cls, hit: Mapping[str, Any]) -> Self:
        """Read a keyphrase of an answer."""
        return cls(
            hit["keyphrase"],
            hit["score"],
            hit["payload"],
            tuple(hit.get("variants") or ()),
            hit.get("fallback"),
            hit.get("explanation"),
        )


@dataclass(frozen=True, slots=True)
class RecommendedItems:
    """Keyphrases of several items, by one generation: a list for each item, in the order that they were sent."""

    generation: LiveGeneration
    keyphrases: list[list[KeyphraseHit]]

    @classmethod
    def of(cls, body: Any) -> Self:
        """Read the answer.

        Raises:
            ServiceError: It is none.
        """
        try:
            return cls(
                LiveGeneration(**body["generation"]),
                [[KeyphraseHit.of(hit) for hit in item["keyphrases"]] for item in body["results"]],
            )
        except (KeyError, TypeError, AttributeError) as error:
            raise unreadable(error) from None


@dataclass(frozen=True, slots=True)
class EmbeddedItems:
    """L2-normalised vectors of several items; only the collection of this generation may be asked with them."""

    generation: LiveGeneration
    vectors: list[list[float]]

    @classmethod
    def of(cls, body: Any) -> Self:
        """Read the answer.

        Raises:
            ServiceError: It is none.
        """
        try:
            return cls(LiveGeneration(**body["generation"]), [item["vector"] for item in body["results"]])
        except (KeyError, TypeError) as error:
            raise unreadable(error) from None


def unreadable(error: Exception) -> ServiceError:
    """The error for an answer of status 200 that is not the service's."""
    return ServiceError(f"the answer cannot be read ({type(error).__name__}: {error}); is this the service's address?")
