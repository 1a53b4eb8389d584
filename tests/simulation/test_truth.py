"""Truth follows from attributes. These tests decide it again, one pair at a time, from the tables alone."""

import random
from typing import Any

import numpy as np
import pytest

from keydistill.simulation.truth import matching_pairs
from keydistill.simulation.wording.catalogue import ABSENT, SLOT, SLOTS
from tests.simulation.conftest import Make, Written

PLAIN = ("site", "product", "family", "brand", "line", "model", "fit_brand", "fit_line")
TRAITS = ("color", "size", "capacity", "material", "audience", "condition", "feature")


def is_relevant(item: dict[str, Any], meaning: dict[str, Any]) -> bool:
    """What docs/simulation.md says, word by word."""
    for column in PLAIN + TRAITS:
        if meaning[column] is not None and item[column] != meaning[column]:
            return False
    return meaning["fit_model"] is None or meaning["fit_model"] in item["fit_models"]


def test_truth_is_complete_and_right_for_sampled_items(market: Written) -> None:
    items, meanings, truth = market.rows("items"), market.rows("meanings"), market.pairs("truth")
    for item in random.Random(0).sample(items, 60):
        expected = {meaning["keyphrase"] for meaning in meanings if is_relevant(item, meaning)}
        assert {keyphrase for item_id, keyphrase in truth if item_id == item["item_id"]} == expected


def test_truth_is_right_for_the_sampled_keyphrases(market: Written) -> None:
    items, meanings, truth = market.rows("items"), market.rows("meanings"), market.pairs("truth")
    for meaning in random.Random(1).sample(meanings, 150):
        expected = {item["item_id"] for item in items if is_relevant(item, meaning)}
        assert {item_id for item_id, keyphrase in truth if keyphrase == meaning["keyphrase"]} == expected


def test_truth_respects_sites(make: Make) -> None:
    market = make(sites=("US", "UK"))
    items = {item["item_id"]: item["site"] for item in market.rows("items")}
    assert set(items.values()) == {"US", "UK"}
    rows = market.rows("truth")
    assert rows
    assert all(items[row["item_id"]] == row["site"] for row in rows)
    inventory = {(row["site"], row["keyphrase"]) for row in market.rows("inventory")}
    assert all((row["site"], row["keyphrase"]) in inventory for row in rows)


def test_nearly_all_items_have_a_relevant_keyphrase(market: Written) -> None:
    with_truth = {item_id for item_id, _ in market.pairs("truth")}
    assert len(with_truth) >= 0.99 * market.summary.rows["items"]


def row(**slots: int) -> list[int]:
    return [slots.get(slot, ABSENT) for slot in SLOTS]


PHONE = row(site=0, product=0, brand=1, line=2, model=3, color=4)
CASE = row(site=0, product=1, family=0, brand=9, fit_brand=1, fit_line=2, fit_model=3, color=4)


@pytest.mark.parametrize(
    ("asked", "expected"),
    [
        ({"product": 0}, {0}),
        ({"product": 0, "model": 3}, {0}),
        ({"product": 1, "fit_model": 3}, {1}),
        ({"product": 1, "fit_model": 5}, {1}),
        ({"product": 1, "fit_model": 6}, set()),
        ({"product": 1, "fit_model": 5, "color": 4}, {1}),
        ({"product": 1, "fit_model": 5, "color": 5}, set()),
        ({"product": 1, "model": 3}, set()),
        ({"product": 0, "fit_model": 3}, set()),
        ({"product": 1, "fit_brand": 1}, {1}),
        ({"family": 0, "color": 4}, {1}),
        ({"product": 0, "size": 0}, set()),
    ],
)
def test_the_join_knows_an_accessory_from_its_device(asked: dict[str, int], expected: set[int]) -> None:
    fits = np.array([[1, 3], [1, 5]])
    items = np.array([PHONE, CASE], dtype=np.int16)
    pairs = matching_pairs(items, fits, np.array([row(site=0, **asked)], dtype=np.int16))
    assert set(pairs.items.tolist()) == expected
    assert len(pairs) == len(expected)


def test_the_join_numbers_more_combinations_than_fit_into_an_integer() -> None:
    slots = [slot for slot in SLOTS if slot not in ("fit_model",)]
    rng = np.random.default_rng(0)
    items = np.full((50, len(SLOTS)), ABSENT, dtype=np.int16)
    items[:, [SLOT[slot] for slot in slots]] = rng.integers(20_000, 32_000, (50, len(slots)))
    keyphrases = np.concatenate([items[:20], items[:20]])
    keyphrases[20:, SLOT["feature"]] += 1
    pairs = matching_pairs(items, np.empty((0, 2), dtype=np.int64), keyphrases)
    assert pairs.items.tolist() == pairs.keyphrases.tolist() == list(range(20))


def test_limited_join_gives_a_subset_of_about_the_limit() -> None:
    items = np.array([row(site=0, product=0)] * 500, dtype=np.int16)
    asked = np.array([row(site=0, product=0)] * 3, dtype=np.int16)
    none = np.empty((0, 2), dtype=np.int64)
    pairs = matching_pairs(items, none, asked, most_items=50, rng=np.random.default_rng(0))
    counts = np.bincount(pairs.keyphrases)
    assert len(counts) == 3
    assert ((counts > 40) & (counts <= 50)).all()
