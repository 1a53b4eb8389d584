"""Keyphrases on their way into a list, and the steps that choose and order them."""

from collections.abc import Mapping, Sequence, Set
from dataclasses import dataclass, field, replace
from math import log10

import numpy as np

from keydistill.encoders import Vectors
from keydistill.retrieval.lists.variants import groups_of_variants, variant_keys
from keydistill.vectorstore import SEARCH_VOLUME, Hit


@dataclass(frozen=True, slots=True)
class Candidate:
    """A keyphrase that may be in the list.

    Attributes:
        hit: The point that stands for it.
        value: The number that the list is ordered by.
        level: Number of categories above the one asked for in which it was found.
        fallback: The category above the one asked for in which it was found; None for level 0.
        variants: Other spellings that it stands for.
        probability: The assistant's probability, where it was asked.
        ranks: Rank after each step so far.
    """

    hit: Hit
    value: float
    level: int = 0
    fallback: str | None = None
    variants: tuple[str, ...] = ()
    probability: float | None = None
    ranks: Mapping[str, int] = field(default_factory=dict)

    @property
    def keyphrase(self) -> str:
        """The keyphrase itself."""
        return str(self.hit.payload["keyphrase"])

    @property
    def variant_keys(self) -> frozenset[str]:
        """The keys of all spellings that it stands for."""
        return frozenset().union(*map(variant_keys, (self.keyphrase, *self.variants)))

    @property
    def search_volume(self) -> float:
        """Its searches per period; 0 where they are unknown."""
        return self.hit.payload.get(SEARCH_VOLUME.name) or 0


class Excluded:
    """Keyphrases that a list must not have, and their variants where variants count as one."""

    def __init__(self, keyphrases: Set[str], *, with_variants: bool) -> None:
        self._keyphrases = keyphrases
        self._keys = (
            frozenset(key for keyphrase in keyphrases for key in variant_keys(keyphrase))
            if with_variants
            else frozenset()
        )

    def __contains__(self, keyphrase: str) -> bool:
        return keyphrase in self._keyphrases or bool(self._keys and not self._keys.isdisjoint(variant_keys(keyphrase)))


def ranked(candidates: Sequence[Candidate], step: str) -> list[Candidate]:
    """The candidates, with their ranks noted as those after a step."""
    return [
        replace(candidate, ranks={**candidate.ranks, step: rank}) for rank, candidate in enumerate(candidates, start=1)
    ]


def by_value(candidates: Sequence[Candidate]) -> list[Candidate]:
    """The category asked for first, then what a fallback found; within both the highest value first, stable."""
    return sorted(candidates, key=lambda candidate: (candidate.level, -candidate.value))


def merged(candidates: Sequence[Candidate]) -> list[Candidate]:
    """One candidate for all variants of a keyphrase: the most searched one, at the place and value of the nearest."""
    survivors = []
    for places in groups_of_variants([candidate.variant_keys for candidate in candidates]):
        group = [candidates[place] for place in places]
        best = max(group, key=lambda candidate: candidate.search_volume)
        # What is found again in a category above is there already.
        spellings = dict.fromkeys(spelling for one in group for spelling in (one.keyphrase, *one.variants))
        variants = tuple(spelling for spelling in spellings if spelling != best.keyphrase)
        survivors.append(replace(best, value=group[0].value, level=group[0].level, variants=variants))
    return survivors


def blended(candidates: Sequence[Candidate], weight: float) -> list[Candidate]:
    """The candidates in the order of their values with what search volume adds."""
    return by_value(
        [
            replace(candidate, value=candidate.value + weight * log10(1 + candidate.search_volume))
            for candidate in candidates
        ]
    )


def diversified(
    candidates: Sequence[Candidate], vectors: Mapping[str, Vectors], diversity: float, limit: int
) -> list[Candidate]:
    """The first `limit` candidates by maximal marginal relevance: each is worth its value less what is like it already.

    Args:
        candidates: The candidates, ordered.
        vectors: L2-normalised vectors, by the ids of points; one that is missing is like nothing.
        diversity: Weight of similarity, from 0 to 1.
        limit: Number of candidates to choose.
    """
    if not candidates:
        return []
    nothing = np.zeros_like(next(iter(vectors.values()))) if vectors else np.zeros(1, dtype=np.float32)
    rows = np.stack([vectors.get(candidate.hit.id, nothing) for candidate in candidates])
    values = np.array([candidate.value for candidate in candidates])
    levels = np.array([candidate.level for candidate in candidates])
    most_alike = np.zeros(len(candidates))
    is_left = np.ones(len(candidates), dtype=bool)
    chosen: list[int] = []
    for _ in range(min(limit, len(candidates))):
        gain = (1 - diversity) * values - diversity * most_alike
        gain[~is_left | (levels > levels[is_left].min())] = -np.inf
        best = int(gain.argmax())
        chosen.append(best)
        is_left[best] = False
        most_alike = np.maximum(most_alike, rows @ rows[best])
    return [candidates[place] for place in chosen]
