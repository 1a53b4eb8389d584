"""From the nearest keyphrases of items to their lists."""

from collections import defaultdict
from collections.abc import Collection, Sequence
from dataclasses import replace
from typing import Protocol, TypedDict

import numpy as np

from keydistill.encoders import Vectors
from keydistill.retrieval.lists.candidates import (
    Candidate,
    Excluded,
    blended,
    by_value,
    diversified,
    merged,
    ranked,
)
from keydistill.retrieval.lists.options import ListOptions
from keydistill.retrieval.recommendation import Explanation, Recommendation
from keydistill.tables import PATH_SEPARATOR, normalize_keyphrase
from keydistill.vectorstore import CATEGORY_IDS, Equals, Filter, Hit


class Neighbours(Protocol):
    """One collection that is asked, by n items that are embedded already."""

    @property
    def collection(self) -> str:
        """The collection's own name."""

    def nearest(self, places: Sequence[int], limit: int, filters: Sequence[Filter | None]) -> list[list[Hit]]:
        """The points nearest to the items at these places, each by its filter, nearest first."""

    def vectors(self, ids: Sequence[str]) -> dict[str, Vectors]:
        """The vectors of these points that are still there."""


class Reranker(Protocol):
    """What scores pairs of item and keyphrase: the assistant."""

    def score(
        self, titles: Sequence[str], keyphrases: Sequence[str], categories: Sequence[str | None] | None = None
    ) -> Vectors:
        """Probabilities that n pairs are relevant, shape (n,)."""


class ListArguments(TypedDict, total=False):
    """What a question for lists may say besides titles, their number and filters.

    Attributes:
        categories: The leaf category of each item as a path, where it is known: some students read it.
        options: What the lists are made of the nearest keyphrases by; None takes them as they are.
        excluded: For each item, keyphrases that its list must not have, such as those that are bid on already.
        reranker: The assistant, where the options ask for one.
    """

    categories: Sequence[str | None] | None
    options: ListOptions | None
    excluded: Sequence[Collection[str]] | None
    reranker: Reranker | None


def build_lists(
    neighbours: Neighbours,
    titles: Sequence[str],
    limit: int,
    filters: Sequence[Filter | None],
    categories: Sequence[str | None],
    options: ListOptions,
    excluded: Sequence[Collection[str]] | None = None,
    reranker: Reranker | None = None,
) -> list[list[Recommendation]]:
    """Lists of at most `limit` keyphrases for n items, each as if its item were asked alone.

    Args:
        neighbours: The collection.
        titles: Titles of the n items.
        limit: Most keyphrases per item.
        filters: A filter per item, or None.
        categories: The category of each item, where it is known.
        options: Options of all of the lists.
        excluded: Keyphrases that each list must not have, in any spelling that an inventory takes for the same.
        reranker: The assistant, where the options ask for one.

    Raises:
        ValueError: The options do not fit `limit`, or want an assistant and there is none.
        RejectedValueError: An excluded keyphrase is no text that a keyphrase can be.
    """
    if options.rerank and reranker is None:
        raise ValueError("reranking needs an assistant: name one (`--assistant`, or the setting `assistant`)")
    normalized = [frozenset(map(normalize_keyphrase, keyphrases)) for keyphrases in excluded or [()] * len(titles)]
    exclusions = [Excluded(keyphrases, with_variants=options.merge_variants) for keyphrases in normalized]
    counts = [options.candidates_of(limit, len(keyphrases)) for keyphrases in normalized]
    pools = _retrieved(neighbours, counts, filters, options, exclusions, limit)
    if reranker is not None and options.rerank:
        pools = _reranked(pools, titles, categories, options.rerank, reranker)
    if options.volume_weight:
        pools = [ranked(blended(pool, options.volume_weight), "blended") for pool in pools]
    if options.diversity:
        ids = {candidate.hit.id for pool in pools for candidate in pool}
        vectors = neighbours.vectors(sorted(ids))
        pools = [ranked(diversified(pool, vectors, options.diversity, limit), "diversified") for pool in pools]
    return [
        [
            _recommendation(candidate, neighbours.collection, category or category_of(filter), explain=options.explain)
            for candidate in pool[:limit]
        ]
        for pool, category, filter in zip(pools, categories, filters, strict=True)
    ]


def category_of(filter: Filter | None) -> str | None:
    """The category that a filter asks for, if it asks for one."""
    for condition in filter.must if filter is not None else ():
        if isinstance(condition, Equals) and condition.field == CATEGORY_IDS.name:
            return str(condition.value)
    return None


def parent_filter(filter: Filter | None) -> tuple[str, Filter] | None:
    """The category above the one that a filter asks for, and the filter that asks for it; None where there is none."""
    category = category_of(filter)
    parent = category.rpartition(PATH_SEPARATOR)[0] if category else ""
    if filter is None or not parent:
        return None
    child = Equals(CATEGORY_IDS.name, category or "")
    return parent, Filter(
        tuple(Equals(CATEGORY_IDS.name, parent) if condition == child else condition for condition in filter.must)
    )


def _retrieved(
    neighbours: Neighbours,
    counts: Sequence[int],
    filters: Sequence[Filter | None],
    options: ListOptions,
    exclusions: Sequence[Excluded],
    limit: int,
) -> list[list[Candidate]]:
    """The candidates of each item, nearest first, with those of the categories above where there are too few."""
    pools: list[list[Candidate]] = [[] for _ in counts]
    asked: dict[int, tuple[str | None, Filter | None]] = {place: (None, filters[place]) for place in range(len(counts))}
    level = 0
    while asked:
        # The same number of candidates in one request: what an approximate search finds depends on it.
        alike = defaultdict(list)
        for place in asked:
            alike[counts[place]].append(place)
        for count, places in alike.items():
            answers = neighbours.nearest(places, count, [asked[place][1] for place in places])
            for place, hits in zip(places, answers, strict=True):
                category, _ = asked[place]
                pools[place] = _widened(pools[place], hits, level, category, options, exclusions[place])
        level += 1
        parents = {
            place: parent_filter(filter)
            for place, (_, filter) in asked.items()
            if len(pools[place]) < min(options.fallback, limit)
        }
        asked = {place: parent for place, parent in parents.items() if parent is not None}
    return pools


def _widened(
    pool: Sequence[Candidate],
    hits: Sequence[Hit],
    level: int,
    fallback: str | None,
    options: ListOptions,
    excluded: Excluded,
) -> list[Candidate]:
    """A pool with the hits that are new and may be in the list."""
    present = {candidate.hit.id for candidate in pool}
    least = -np.inf if options.min_score is None else options.min_score
    hits = [hit for hit in hits if hit.id not in present]
    new = [
        Candidate(hit, hit.score, level, fallback, ranks={"retrieved": len(pool) + rank})
        for rank, hit in enumerate(hits, start=1)
        if hit.score >= least and str(hit.payload["keyphrase"]) not in excluded
    ]
    widened = [*pool, *new]
    return ranked(merged(widened), "merged") if options.merge_variants else widened


def _reranked(
    pools: Sequence[Sequence[Candidate]],
    titles: Sequence[str],
    categories: Sequence[str | None],
    count: int,
    reranker: Reranker,
) -> list[list[Candidate]]:
    """The first `count` candidates of each item in the order of the assistant's probabilities."""
    heads = [pool[:count] for pool in pools]
    pairs = [(place, candidate) for place, head in enumerate(heads) for candidate in head]
    probabilities = iter(
        reranker.score(
            [titles[place] for place, _ in pairs],
            [candidate.keyphrase for _, candidate in pairs],
            [categories[place] for place, _ in pairs],
        ).tolist()
        if pairs
        else []
    )
    scored = [
        [
            replace(candidate, probability=probability, value=probability)
            for candidate, probability in zip(head, probabilities, strict=False)
        ]
        for head in heads
    ]
    return [ranked(by_value(head), "reranked") for head in scored]


def _recommendation(candidate: Candidate, collection: str, category: str | None, *, explain: bool) -> Recommendation:
    explanation = None
    if explain:
        shared = _shared_category(category, candidate.hit.payload.get(CATEGORY_IDS.name, ()))
        explanation = Explanation(collection, candidate.value, candidate.probability, shared, candidate.ranks)
    return Recommendation(
        candidate.keyphrase,
        candidate.hit.score,
        candidate.hit.payload,
        candidate.variants,
        candidate.fallback,
        explanation,
    )


def _shared_category(category: str | None, ids: Collection[str]) -> str | None:
    """The deepest category of the item, itself or one above it, that is among the keyphrase's."""
    while category and category not in ids:
        category = category.rpartition(PATH_SEPARATOR)[0]
    return category or None
