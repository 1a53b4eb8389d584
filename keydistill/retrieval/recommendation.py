"""What a query of the read path answers: keyphrases for an item, and, where it was asked for, why they are there."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Self

from keydistill.vectorstore import Hit


@dataclass(frozen=True, slots=True)
class Explanation:
    """Why a keyphrase stands where it stands.

    Attributes:
        collection: Collection that it comes from.
        value: The number that its list is ordered by, before diversity: the score, or the assistant's probability, plus
            what search volume adds.
        probability: The assistant's probability that the pair is relevant; None where it was not asked.
        category: The deepest category that keyphrase and item share; None where they share none, or the item has none.
        ranks: Rank after each step that was taken, in their order, beginning with 1: "retrieved", "merged", "reranked",
            "blended", "diversified".
    """

    collection: str
    value: float
    probability: float | None
    category: str | None
    ranks: Mapping[str, int]

    def as_dict(self) -> dict[str, Any]:
        """The fields, for JSON."""
        return {
            "collection": self.collection,
            "value": round(self.value, 6),
            "probability": None if self.probability is None else round(self.probability, 6),
            "category": self.category,
            "ranks": dict(self.ranks),
        }

    def text(self) -> str:
        """Value, probability and ranks in one line."""
        probability = "" if self.probability is None else f", probability {self.probability:.3f}"
        ranks = ", ".join(f"{step} {rank}" for step, rank in self.ranks.items())
        return f"value {self.value:.3f}{probability}; {ranks}"


@dataclass(frozen=True, slots=True)
class Recommendation:
    """A keyphrase for an item, with the cosine similarity of the two as its score.

    Attributes:
        keyphrase: The keyphrase.
        score: Cosine similarity of item and keyphrase.
        payload: Payload of its point.
        variants: Other spellings of it that it stands for, nearest first, where variants were merged.
        fallback: Category above the one asked for in which it was found; None where it is of the one asked for.
        explanation: Why it stands where it stands, where that was asked for.
    """

    keyphrase: str
    score: float
    payload: dict[str, Any]
    variants: tuple[str, ...] = ()
    fallback: str | None = None
    explanation: Explanation | None = None

    @classmethod
    def of(cls, hit: Hit) -> Self:
        """The keyphrase of a point as it was found."""
        return cls(hit.payload["keyphrase"], hit.score, hit.payload)

    def as_dict(self) -> dict[str, Any]:
        """The fields, for JSON; what no option asked for is left out."""
        return {
            "keyphrase": self.keyphrase,
            "score": round(self.score, 6),
            "payload": self.payload,
            **({"variants": list(self.variants)} if self.variants else {}),
            **({"fallback": self.fallback} if self.fallback is not None else {}),
            **({"explanation": self.explanation.as_dict()} if self.explanation is not None else {}),
        }
