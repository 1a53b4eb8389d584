"""What the options make of the nearest keyphrases, over a collection whose similarities are known."""

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
import pytest

from keydistill.encoders import Vectors
from keydistill.retrieval.lists import ListOptions, build_lists
from keydistill.retrieval.recommendation import Recommendation
from keydistill.vectorstore import CATEGORY_IDS, AnyOf, Equals, Filter, Hit, Range, keyphrase_filter

LEAF = "Home > Kitchen > Bottles"


@dataclass
class Shelf:
    """Keyphrases with their similarity to every item, and their categories; as an engine answers."""

    hits: list[Hit]
    limits: list[int] = field(default_factory=list)
    collection: str = "keyphrases-1"

    def nearest(self, places: Sequence[int], limit: int, filters: Sequence[Filter | None]) -> list[list[Hit]]:
        self.limits.append(limit)
        return [[hit for hit in self.hits if passes(hit, filter)][:limit] for filter in filters]

    def vectors(self, ids: Sequence[str]) -> dict[str, Vectors]:
        return {id: direction(id) for id in ids}


def passes(hit: Hit, filter: Filter | None) -> bool:
    conditions = filter.must if filter is not None else ()
    return all(isinstance(one, Equals) and one.value in hit.payload[CATEGORY_IDS.name] for one in conditions)


def direction(id: str) -> Vectors:
    """A unit vector by the first letter of an id: equal first letters are one direction."""
    vector = np.zeros(26, dtype=np.float32)
    vector[ord(id[0]) - ord("a")] = 1
    return vector


def shelf(*rows: tuple[str, float, int] | tuple[str, float, int, str]) -> Shelf:
    hits = []
    for keyphrase, score, volume, *category in rows:
        levels = (category[0] if category else LEAF).split(" > ")
        ids = [" > ".join(levels[: depth + 1]) for depth in range(len(levels))]
        hits.append(Hit(keyphrase, score, {"keyphrase": keyphrase, "search_volume": volume, CATEGORY_IDS.name: ids}))
    return Shelf(sorted(hits, key=lambda hit: -hit.score))


BOTTLES = shelf(
    ("water bottle", 0.9, 100),
    ("bottle water", 0.85, 900),
    ("bottles", 0.8, 5_000),
    ("waterbottles", 0.7, 50),
    ("flask", 0.6, 10),
    ("thermos", 0.2, 100_000),
)


@dataclass
class Assistant:
    """Knows the probability of a keyphrase, and what it was asked."""

    probabilities: dict[str, float]
    pairs: list[tuple[str, str, str | None]] = field(default_factory=list)

    def score(
        self, titles: Sequence[str], keyphrases: Sequence[str], categories: Sequence[str | None] | None = None
    ) -> Vectors:
        self.pairs += zip(titles, keyphrases, categories or [None] * len(titles), strict=True)
        return np.array([self.probabilities.get(keyphrase, 0.0) for keyphrase in keyphrases], dtype=np.float32)


def recommended(
    neighbours: Shelf,
    options: ListOptions,
    limit: int = 3,
    filter: Filter | None = None,
    excluded: Sequence[str] = (),
    reranker: Assistant | None = None,
    category: str | None = None,
) -> list[Recommendation]:
    return build_lists(neighbours, ["item"], limit, [filter], [category], options, [excluded], reranker)[0]


def keyphrases(recommendations: Sequence[Recommendation]) -> list[str]:
    return [recommendation.keyphrase for recommendation in recommendations]


def test_without_options_it_is_the_nearest_ones() -> None:
    assert recommended(BOTTLES, ListOptions()) == [Recommendation.of(hit) for hit in BOTTLES.hits[:3]]


def test_least_score() -> None:
    assert keyphrases(recommended(BOTTLES, ListOptions(min_score=0.8), 10)) == [
        "water bottle",
        "bottle water",
        "bottles",
    ]


def test_excluded_keyphrases_leave_no_gap() -> None:
    assert keyphrases(recommended(BOTTLES, ListOptions(), 3, excluded=[" Water  BOTTLE"])) == [
        "bottle water",
        "bottles",
        "waterbottles",
    ]


def test_excluded_keyphrases_take_their_variants_along_where_variants_are_one() -> None:
    options = ListOptions(merge_variants=True)
    assert keyphrases(recommended(BOTTLES, options, 3, excluded=["water bottles"])) == ["bottles", "flask", "thermos"]


def test_the_most_searched_variant_stands_for_all_at_the_place_of_the_nearest() -> None:
    first, second, third = recommended(BOTTLES, ListOptions(merge_variants=True))
    assert (first.keyphrase, first.score, first.variants) == ("bottle water", 0.85, ("water bottle", "waterbottles"))
    assert keyphrases([second, third]) == ["bottles", "flask"]


def test_reranking_takes_the_nearest_in_the_assistants_order_and_no_others() -> None:
    assistant = Assistant({"flask": 0.9, "bottles": 0.5, "thermos": 1.0})
    found = recommended(BOTTLES, ListOptions(rerank=5, explain=True), 3, reranker=assistant, category=LEAF)
    assert keyphrases(found) == ["flask", "bottles", "water bottle"]
    assert len(assistant.pairs) == 5
    assert assistant.pairs[0] == ("item", "water bottle", LEAF)
    assert found[0].explanation is not None
    assert found[0].explanation.probability == pytest.approx(0.9)
    assert found[0].explanation.ranks == {"retrieved": 5, "reranked": 1}
    # The score stays the cosine similarity.
    assert found[0].score == 0.6


def test_ten_times_the_searches_are_worth_the_weight() -> None:
    shelf_of_two = shelf(("near", 0.5, 9), ("searched", 0.45, 99))
    assert keyphrases(recommended(shelf_of_two, ListOptions(volume_weight=0.04))) == ["near", "searched"]
    found = recommended(shelf_of_two, ListOptions(volume_weight=0.06, explain=True))
    assert keyphrases(found) == ["searched", "near"]
    assert found[0].explanation is not None
    assert found[0].explanation.value == pytest.approx(0.45 + 0.06 * 2)


def test_diversity_prefers_what_is_new() -> None:
    alike = shelf(("aa", 0.9, 0), ("ab", 0.89, 0), ("ba", 0.6, 0), ("ca", 0.5, 0))
    assert keyphrases(recommended(alike, ListOptions(diversity=0.01))) == ["aa", "ab", "ba"]
    assert keyphrases(recommended(alike, ListOptions(diversity=0.5))) == ["aa", "ba", "ca"]


WIDE = shelf(
    ("steel bottle", 0.9, 1, LEAF),
    ("bottle brush", 0.95, 1, "Home > Kitchen > Brushes"),
    ("kitchen shelf", 0.3, 1, "Home > Kitchen"),
    ("bottle rack", 0.8, 1, "Home > Storage"),
    ("bottle opener", 0.99, 1, "Bar"),
)


def test_fallback_asks_the_categories_above_until_there_are_enough() -> None:
    filter = keyphrase_filter(category=LEAF)
    assert keyphrases(recommended(WIDE, ListOptions(), 5, filter)) == ["steel bottle"]
    two = recommended(WIDE, ListOptions(fallback=2), 5, filter)
    # Those of the category asked for come first, and the others say where they are from.
    assert [(one.keyphrase, one.fallback) for one in two] == [
        ("steel bottle", None),
        ("bottle brush", "Home > Kitchen"),
        ("kitchen shelf", "Home > Kitchen"),
    ]
    four = recommended(WIDE, ListOptions(fallback=4), 5, filter)
    assert [(one.keyphrase, one.fallback) for one in four[3:]] == [("bottle rack", "Home")]
    # There is nothing above the top, and no more than the limit is needed.
    assert keyphrases(recommended(WIDE, ListOptions(fallback=9), 9, filter)) == keyphrases(four)
    assert keyphrases(recommended(WIDE, ListOptions(fallback=9), 1, filter)) == ["steel bottle"]


def test_steps_after_a_fallback_leave_the_category_asked_for_in_front() -> None:
    filter = keyphrase_filter(category=LEAF)
    options = ListOptions(fallback=3, diversity=0.3, volume_weight=0.1, rerank=9)
    assistant = Assistant({"bottle brush": 1.0, "kitchen shelf": 0.5})
    found = recommended(WIDE, options, 3, filter, reranker=assistant)
    assert keyphrases(found) == ["steel bottle", "bottle brush", "kitchen shelf"]


def test_fallback_keeps_the_other_conditions_and_needs_a_category() -> None:
    asked: list[Filter | None] = []

    class Listening(Shelf):
        def nearest(self, places: Sequence[int], limit: int, filters: Sequence[Filter | None]) -> list[list[Hit]]:
            asked.extend(filters)
            return [[] for _ in filters]

    filter = keyphrase_filter(category="A > B", site="us", min_search_volume=3, where=[AnyOf("x", (1,))])
    recommended(Listening([]), ListOptions(fallback=1), filter=filter)
    assert asked == [filter, keyphrase_filter(category="A", site="us", min_search_volume=3, where=[AnyOf("x", (1,))])]
    asked.clear()
    recommended(Listening([]), ListOptions(fallback=1), filter=Filter((Range("search_volume", gte=1),)))
    assert len(asked) == 1


def test_what_a_fallback_finds_again_is_there_once() -> None:
    options = ListOptions(fallback=9, merge_variants=True)
    found = recommended(BOTTLES, options, 6, keyphrase_filter(category=LEAF))
    assert keyphrases(found) == ["bottle water", "bottles", "flask", "thermos"]
    assert found[0].variants == ("water bottle", "waterbottles")


def test_explanations_name_the_shared_category_and_every_rank() -> None:
    options = ListOptions(merge_variants=True, volume_weight=1.0, explain=True)
    found = recommended(BOTTLES, options, 9, category="Home > Kitchen > Jugs")
    assert keyphrases(found)[0] == "thermos"
    explanation = found[0].explanation
    assert explanation is not None
    assert explanation.category == "Home > Kitchen"
    assert explanation.collection == "keyphrases-1"
    assert explanation.ranks == {"retrieved": 6, "merged": 4, "blended": 1}
    assert recommended(BOTTLES, ListOptions(explain=True), category="Toys")[0].explanation is not None


def test_lists_of_several_items_are_those_of_each_alone() -> None:
    options = ListOptions(merge_variants=True, diversity=0.2, explain=True)
    exclusions = [[], ["flask"], ["flask", "thermos", "bottles"], []]
    filters = [None, keyphrase_filter(category=LEAF), None, keyphrase_filter(category="Home")]
    together = build_lists(BOTTLES, ["item"] * 4, 2, filters, [None] * 4, options, exclusions)
    assert together == [
        recommended(BOTTLES, options, 2, filter, excluded) for filter, excluded in zip(filters, exclusions, strict=True)
    ]


def test_how_many_are_asked_for() -> None:
    assert ListOptions().candidates_of(10, 0) == 10
    assert ListOptions(min_score=0.5, fallback=3, explain=True).candidates_of(10, 0) == 10
    assert ListOptions().candidates_of(10, 3) == 14
    assert ListOptions(diversity=0.1).candidates_of(10, 0) == 40
    assert ListOptions(rerank=100).candidates_of(10, 1) == 101
    assert ListOptions(diversity=0.1, candidates=15).candidates_of(10, 0) == 15


@pytest.mark.parametrize(
    ("options", "message"),
    [({"rerank": 5}, "rerank is 5, fewer than the 10"), ({"candidates": 3}, "candidates is 3, fewer than the 10")],
)
def test_too_few_to_choose_from_is_refused(options: dict[str, int], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        ListOptions(**options).candidates_of(10, 0)  # type: ignore[arg-type]


def test_reranking_without_an_assistant_is_refused() -> None:
    with pytest.raises(ValueError, match="needs an assistant"):
        recommended(BOTTLES, ListOptions(rerank=5))


@pytest.mark.parametrize(
    "options",
    [{"min_score": 2}, {"diversity": 1.5}, {"diversity": float("nan")}, {"volume_weight": -1}, {"fallback": -1},
     {"candidates": 0}],
)  # fmt: skip
def test_options_out_of_their_range_are_refused(options: dict[str, float]) -> None:
    with pytest.raises(ValueError, match=next(iter(options))):
        ListOptions(**options)  # type: ignore[arg-type]
