"""What a resample draws, and that intervals are then as wide as they have to be."""

import numpy as np
import pytest
from sklearn.metrics import roc_auc_score

from keydistill.distillation.evaluation.auc import resampled_auc
from keydistill.distillation.evaluation.bootstrap import Floats, weighted_ratios, weights
from keydistill.distillation.evaluation.sampling import Sampling

LISTS, ITEMS_PER_LIST = 40, 21


def nested(lists: int = LISTS, per_list: int = ITEMS_PER_LIST, unlabelled: int = 0) -> Sampling:
    """Labels of a test set of queries: each keyphrase has a list of items of its own."""
    items = lists * per_list
    return Sampling.of_labels(items + unlabelled, lists, np.arange(items), np.arange(items) // per_list, complete=False)


def interval(sampling: Sampling, values: Floats, resamples: int = 400) -> tuple[float, float]:
    ones = np.ones((sampling.items, 1))
    draws = weighted_ratios(values[:, None], ones, sampling.weights("item", 0, resamples))
    low, high = np.quantile(draws, [0.025, 0.975])
    return float(low), float(high)


@pytest.mark.parametrize(
    ("pairs", "complete", "drawn"),
    [
        ([(0, 0), (1, 0), (2, 1), (3, 1)], False, "keyphrases"),
        ([(0, 0), (0, 1), (1, 2), (1, 3)], False, "items"),
        ([(0, 0), (1, 1), (2, 2)], False, "items"),
        ([(0, 0), (0, 1), (1, 0), (1, 1)], False, "items and keyphrases"),
        ([(0, 0), (0, 1), (1, 0), (1, 1)], True, "items"),
        ([], False, "items"),
    ],
)
def test_lists_decide_what_is_drawn(pairs: list[tuple[int, int]], complete: bool, drawn: str) -> None:
    items = np.array([item for item, _ in pairs], dtype=np.int64)
    keyphrases = np.array([keyphrase for _, keyphrase in pairs], dtype=np.int64)
    assert Sampling.of_labels(5, 4, items, keyphrases, complete=complete).drawn == drawn


def test_items_of_one_keyphrase_are_drawn_together() -> None:
    sampling = nested(unlabelled=10)
    blocks = np.concatenate(list(sampling.weights("item", 3, 50)))
    assert blocks.shape == (50, LISTS * ITEMS_PER_LIST + 10)
    by_list = blocks[:, : LISTS * ITEMS_PER_LIST].reshape(50, LISTS, ITEMS_PER_LIST)
    assert (by_list == by_list[:, :, :1]).all()
    assert (by_list[:, :, 0].sum(axis=1) == LISTS).all()
    # Those without labels are drawn among themselves.
    assert (blocks[:, -10:].sum(axis=1) == 10).all()
    # Keyphrases, and the pairs, are drawn as the items are: what is measured of them belongs together.
    assert (np.concatenate(list(sampling.weights("keyphrase", 3, 50))) == by_list[:, :, 0]).all()
    assert (np.concatenate(list(sampling.pair_weights(3, 50))) == by_list.reshape(50, -1)).all()


def test_both_are_drawn_where_both_have_lists() -> None:
    items, keyphrases = (axis.ravel() for axis in np.mgrid[:30, :20])
    sampling = Sampling.of_labels(30, 20, items, keyphrases, complete=False)
    pairs = np.concatenate(list(sampling.pair_weights(1, 200))).reshape(200, 30, 20)
    assert (np.linalg.matrix_rank(pairs[0]), pairs.sum(axis=(1, 2)).tolist()) == (1, [600.0] * 200)
    per_item = np.concatenate(list(sampling.weights("item", 1, 200)))
    assert per_item == pytest.approx(pairs.mean(axis=2))


def test_items_alone_are_drawn_as_before() -> None:
    sampling = Sampling.of_items(12)
    assert (np.concatenate(list(sampling.weights("item", 7, 9))) == np.concatenate(list(weights(12, 7, 9)))).all()


def test_a_part_of_the_items_keeps_their_lists() -> None:
    inside = np.zeros(LISTS * ITEMS_PER_LIST + 4, dtype=bool)
    inside[[0, 1, 21, -1]] = True
    part = nested(unlabelled=4).within(inside)
    assert (part.items, part.pair_items.tolist(), part.pair_keyphrases.tolist()) == (4, [0, 1, 2], [0, 0, 1])
    drawn = np.concatenate(list(part.weights("item", 0, 20)))
    assert (drawn[:, 0] == drawn[:, 1]).all()


def test_intervals_hold_the_truth_as_often_as_they_say() -> None:
    random = np.random.default_rng(0)
    sampling, alone = nested(), Sampling.of_items(LISTS * ITEMS_PER_LIST)
    holds = {"lists": 0, "items": 0}
    for _ in range(200):
        # Hits with a chance that differs from query to query, 0.6 on average.
        chances = np.repeat(random.beta(1.2, 0.8, LISTS), ITEMS_PER_LIST)
        hits = (random.random(len(chances)) < chances).astype(np.float64)
        for name, one in (("lists", sampling), ("items", alone)):
            low, high = interval(one, hits, 200)
            holds[name] += low <= 0.6 <= high
    assert holds["lists"] / 200 >= 0.9
    assert holds["items"] / 200 <= 0.75


def test_the_auc_of_a_resample_is_that_of_its_pairs() -> None:
    random = np.random.default_rng(2)
    sampling = nested(10, 6)
    scores, relevant = random.integers(0, 5, 60) / 4, random.random(60) < 0.4
    draws = np.concatenate(list(sampling.pair_weights(3, 20)))
    for row, auc in zip(draws, resampled_auc(scores, relevant, sampling.pair_weights(3, 20)), strict=True):
        assert auc == pytest.approx(roc_auc_score(relevant, scores, sample_weight=row))
