"""The biases: each has a knob, and turning it shows."""

from collections import Counter

import numpy as np
import pytest

from tests.simulation.conftest import Make, Written

# Many clicks, and nothing but position to tell relevant results apart.
LOUD = {"traffic": 10.0, "popularity_skew": 0.0, "click_rate": 0.5}


def rate_by_position(market: Written, low: int, high: int) -> float:
    truth = market.pairs("truth")
    shown = [
        row
        for row in market.rows("clicks")
        if low <= row["position"] <= high and (row["item_id"], row["keyphrase"]) in truth
    ]
    assert len(shown) > 100
    return float(sum(row["clicks"] for row in shown) / sum(row["impressions"] for row in shown))


def test_only_pairs_that_the_filter_passed_get_clicks_or_impressions(market: Written) -> None:
    passed = {(row["item_id"], row["keyphrase"]) for row in market.rows("search_relevance") if row["passed"]}
    clicked = market.pairs("clicks")
    assert clicked
    assert clicked <= passed
    # Missing, and not only because it was rejected.
    assert len(clicked) < len(passed)


def test_passed_is_score_at_or_above_the_threshold(make: Make) -> None:
    rows = make(search_threshold=0.7).rows("search_relevance")
    assert {row["passed"] for row in rows} == {True, False}
    assert all(row["passed"] == (np.float32(row["score"]) >= 0.7) for row in rows)
    assert all(0 <= row["score"] <= 1 for row in rows)


def test_the_filter_is_wrong_both_ways(market: Written) -> None:
    truth = market.pairs("truth")
    kinds = Counter(
        ((row["item_id"], row["keyphrase"]) in truth, row["passed"]) for row in market.rows("search_relevance")
    )
    rejected = kinds[True, False] / (kinds[True, False] + kinds[True, True])
    let_through = kinds[False, True] / (kinds[False, True] + kinds[False, False])
    assert 0.2 < rejected < 0.7
    assert 0.03 < let_through < 0.4
    assert market.summary.facts["relevant_rejected_by_search_share"] == pytest.approx(rejected, abs=1e-3)


def test_without_middleman_bias_the_filter_passes_exactly_the_truth(make: Make) -> None:
    market = make(middleman_bias=0.0)
    truth = market.pairs("truth")
    for row in market.rows("search_relevance"):
        assert row["passed"] == ((row["item_id"], row["keyphrase"]) in truth)


def test_more_middleman_bias_rejects_more_relevant_pairs(make: Make) -> None:
    shares = [
        make(str(bias), middleman_bias=bias).summary.facts["relevant_rejected_by_search_share"]
        for bias in (0.0, 0.6, 0.8, 1.0)
    ]
    assert shares[0] == 0.0
    assert shares == sorted(shares)
    assert shares[-1] > shares[1] + 0.1


def test_position_bias_lowers_the_click_rate_down_the_page(make: Make) -> None:
    market = make(position_bias=1.0, **LOUD)
    first, later = rate_by_position(market, 1, 1), rate_by_position(market, 5, 10)
    assert first == pytest.approx(0.5, rel=0.05)
    assert later == pytest.approx(0.5 / 7, rel=0.25)


def test_without_position_bias_the_click_rate_is_the_same_everywhere(make: Make) -> None:
    market = make(position_bias=0.0, **LOUD)
    first, later = rate_by_position(market, 1, 1), rate_by_position(market, 5, 10)
    assert first == pytest.approx(0.5, rel=0.05)
    assert later == pytest.approx(first, rel=0.05)


def test_click_noise_is_the_rate_of_clicks_on_irrelevant_results(make: Make) -> None:
    market = make(position_bias=0.0, click_noise=0.05, **LOUD)
    truth = market.pairs("truth")
    wrong = [row for row in market.rows("clicks") if (row["item_id"], row["keyphrase"]) not in truth]
    rate = sum(row["clicks"] for row in wrong) / sum(row["impressions"] for row in wrong)
    assert rate == pytest.approx(0.05, rel=0.1)
    quiet = make("quiet", click_noise=0.0)
    assert quiet.summary.facts["clicks_on_irrelevant"] == 0 < quiet.summary.facts["clicks"]


def test_popularity_concentrates_clicks(make: Make) -> None:
    def top_share(market: Written) -> float:
        clicks: Counter[str] = Counter()
        for row in market.rows("clicks"):
            clicks[row["item_id"]] += row["clicks"]
        return sum(count for _, count in clicks.most_common(20)) / clicks.total()

    even, skewed = make("even", popularity_skew=0.0), make("skewed", popularity_skew=1.5)
    assert {row["popularity"] for row in even.rows("items")} == {1.0}
    assert top_share(skewed) > top_share(even) + 0.1


def test_nothing_below_the_shown_results_is_logged(make: Make) -> None:
    rows = make(results_shown=3).rows("clicks")
    assert {row["position"] for row in rows} == {1, 2, 3}
    assert all(0 <= row["clicks"] <= row["impressions"] for row in rows)
    assert all(row["impressions"] > 0 for row in rows)


def judged(market: Written) -> dict[str, list[bool]]:
    truth = market.pairs("truth")
    labels: dict[str, list[bool]] = {"relevant": [], "irrelevant": []}
    for row in market.rows("judgments"):
        kind = "relevant" if (row["item_id"], row["keyphrase"]) in truth else "irrelevant"
        labels[kind].append(row["label"])
    return labels


def test_judge_is_wrong_as_often_as_the_knobs_say(make: Make) -> None:
    rates = {"judge_false_negative_rate": 0.2, "judge_false_positive_rate": 0.1}
    labels = judged(make(judge_random_false_positive_rate=0.1, **rates))
    assert 1 - np.mean(labels["relevant"]) == pytest.approx(0.2, abs=0.04)
    assert np.mean(labels["irrelevant"]) == pytest.approx(0.1, abs=0.02)


def test_judge_without_noise_tells_the_truth(make: Make) -> None:
    quiet = dict.fromkeys(("false_negative", "false_positive", "random_false_positive"), 0.0)
    labels = judged(make(**{f"judge_{name}_rate": rate for name, rate in quiet.items()}))
    assert all(labels["relevant"])
    assert not any(labels["irrelevant"])


def test_judged_sample_has_relevant_and_irrelevant_pairs_with_fitting_probabilities(market: Written) -> None:
    labels = judged(market)
    assert len(labels["irrelevant"]) == pytest.approx(2 * len(labels["relevant"]), rel=0.05)
    rows = market.rows("judgments")
    assert len(rows) == 10 * 2_000
    assert all((row["probability"] >= 0.5) == row["label"] for row in rows)
    assert all(0 <= row["probability"] <= 1 for row in rows)
    assert {(row["judge"], row["prompt_version"]) for row in rows} == {("simulated", "simulated-1")}
