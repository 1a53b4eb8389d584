from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from keydistill.distillation.signals import (
    CLICKS,
    CORRECTED_CLICKS,
    ClickCorrection,
    correct_clicks,
    estimate_eta,
    position_curve,
)
from keydistill.distillation.signals.prior import GammaPrior
from keydistill.errors import InputError
from tests.support.present import present


def log(
    eta: float, *, weeks: int = 6, ranking: float = 0.0, keyphrases: int = 150, items: int = 30, seed: int = 0
) -> tuple[pa.Table, dict[tuple[str, str], Any]]:
    """A click log of the position-based model: the table, and the true appeal of each pair.

    Items are ranked anew each week by noise and, weighed by `ranking`, by what draws clicks.
    """
    rng = np.random.default_rng(seed)
    appeal = np.where(rng.random((keyphrases, items)) < 0.4, 0.3, 0.03)
    rows = []
    for keyphrase in range(keyphrases):
        for _ in range(weeks):
            score = ranking * (appeal[keyphrase] > 0.1) + rng.normal(size=items)
            positions = np.empty(items, dtype=int)
            positions[np.argsort(-score)] = np.arange(1, items + 1)
            shown = rng.poisson(60 / weeks, items)
            clicked = rng.binomial(shown, appeal[keyphrase] * positions**-eta)
            rows += [
                (str(item), str(keyphrase), "US", positions[item], shown[item], clicked[item])
                for item in range(items)
                if shown[item]
            ]
    return table(rows), {(str(item), str(k)): appeal[k, item] for k in range(keyphrases) for item in range(items)}


def table(rows: Any) -> pa.Table:
    return pa.Table.from_pylist(
        [dict(zip(CLICKS.names[:6], map(plain, row), strict=True)) for row in rows], schema=CLICKS
    )


def plain(value: Any) -> Any:
    return value.item() if isinstance(value, np.generic) else value


def separation(scores: Any, relevant: Any) -> float:
    """Chance that a relevant pair scores above another one; half of a tie counts."""
    ordered = np.sort(scores[~relevant])
    below = np.searchsorted(ordered, scores[relevant], "left") + np.searchsorted(ordered, scores[relevant], "right")
    return float(below.mean() / 2 / len(ordered))


@pytest.mark.parametrize("method", ["auto", "propensity", "coec"])
def test_correction_finds_relevance_that_raw_rates_hide(method: Any) -> None:
    clicks, appeal = log(1.0, weeks=1)
    pairs = correct_clicks(clicks, ClickCorrection(method=method)).pairs
    relevant = np.array([appeal[row["item_id"], row["keyphrase"]] > 0.1 for row in pairs.to_pylist()])
    raw = pairs["clicks"].to_numpy() / pairs["impressions"].to_numpy()
    assert separation(raw, relevant) < 0.82
    assert separation(pairs["strength"].to_numpy(), relevant) > separation(raw, relevant) + 0.05


def test_where_the_ranking_is_good_propensity_beats_the_average_of_the_position() -> None:
    clicks, appeal = log(1.0, ranking=2.0)
    separations = {}
    for method in ("propensity", "coec"):
        pairs = correct_clicks(clicks, ClickCorrection(method=method)).pairs
        relevant = np.array([appeal[row["item_id"], row["keyphrase"]] > 0.1 for row in pairs.to_pylist()])
        separations[method] = separation(pairs["strength"].to_numpy(), relevant)
    assert separations["propensity"] > separations["coec"] + 0.1


@pytest.mark.parametrize("eta", [0.4, 1.0, 1.5])
@pytest.mark.parametrize("ranking", [0.0, 2.0])
def test_eta_from_pairs_that_moved_is_right_however_good_the_ranking_is(eta: float, ranking: float) -> None:
    clicks, _ = log(eta, ranking=ranking)
    estimate = present(estimate_eta(clicks))
    assert estimate.level == "pair"
    assert estimate.standard_error < 0.05
    assert estimate.eta == pytest.approx(eta, abs=4 * estimate.standard_error)


def test_eta_without_moves_is_an_upper_bound_and_says_so() -> None:
    estimate = present(estimate_eta(log(1.0, weeks=1, ranking=2.0)[0]))
    assert estimate.level == "keyphrase"
    assert estimate.eta > 1.2
    assert present(estimate_eta(log(1.0, weeks=1)[0])).eta == pytest.approx(1.0, abs=0.1)


def test_eta_that_the_log_does_not_tell() -> None:
    same = table([("1", "a", None, 3, 100, 7), ("2", "b", None, 1, 100, 7)])
    assert estimate_eta(same) is None
    assert estimate_eta(table([("1", "a", None, 1, 100, 0), ("1", "a", None, 2, 100, 0)])) is None
    assert estimate_eta(table([("1", "a", None, None, 100, 9)])) is None
    # Only the first position was ever clicked: no fall is steep enough.
    assert estimate_eta(table([("1", "a", None, 1, 100, 60), ("2", "a", None, 2, 100, 0)])) is None
    with pytest.raises(InputError, match="eta cannot be estimated"):
        correct_clicks(same, ClickCorrection(method="propensity"))
    assert correct_clicks(same).method == "coec"


def test_expected_clicks_add_up_to_the_clicks_of_the_log() -> None:
    clicks, _ = log(1.0, weeks=2)
    for correction in (ClickCorrection(eta=0.7), ClickCorrection(method="coec")):
        pairs = correct_clicks(clicks, correction).pairs
        total = pairs["clicks"].to_numpy().sum()
        assert pairs["expected_clicks"].to_numpy().sum() == pytest.approx(total, rel=0.02)


def test_by_hand() -> None:
    # Attention 1 and 1/2: 100 + 50 looks, 30 clicks, so 20 and 10 clicks would be the average.
    clicks = table([("1", "a", "US", 1, 100, 5), ("2", "a", "US", 2, 100, 25)])
    corrected = correct_clicks(clicks, ClickCorrection(eta=1.0))
    assert corrected.pairs.schema == CORRECTED_CLICKS
    assert corrected.pairs["expected_clicks"].to_pylist() == pytest.approx([20.0, 10.0])
    prior = corrected.prior
    assert corrected.pairs["strength"].to_pylist() == pytest.approx(
        [(5 + prior.shape) / (20 + prior.rate), (25 + prior.shape) / (10 + prior.rate)]
    )
    assert corrected.pairs["positive"].to_pylist() == [False, True]
    assert (corrected.method, corrected.eta, corrected.estimate) == ("propensity", 1.0, None)


def test_one_row_per_pair_that_was_shown() -> None:
    rows = [
        ("1", "a", "US", 1, 10, 1),
        ("1", "a", "DE", 1, 10, 0),
        ("1", "a", "US", 4, 30, 2),
        ("1", "a", None, 1, 5, 0),
        ("1", "a", "US", None, 5, 1),
    ]
    pairs = correct_clicks(table(rows)).pairs.to_pylist()
    shown = [(row["site"], row["impressions"], row["clicks"]) for row in pairs]
    assert shown == [("US", 45, 4), ("DE", 10, 0), (None, 5, 0)]


def test_never_clicked_is_weak_evidence_unless_asked() -> None:
    clicks = table([("1", "a", None, 1, 10_000, 0), ("2", "a", None, 1, 5_000, 900), ("3", "a", None, 40, 3, 0)])
    plain_pairs = correct_clicks(clicks).pairs
    assert plain_pairs["negative"].to_pylist() == [False, False, False]
    assert plain_pairs["positive"].to_pylist() == [False, True, False]
    with_negatives = correct_clicks(clicks, ClickCorrection(never_clicked_is_negative=True)).pairs
    # The third was hardly seen: it stays unknown.
    assert with_negatives["negative"].to_pylist() == [True, False, False]
    assert with_negatives["strength"].to_pylist()[0] < 0.05


def test_a_lucky_click_counts_less_than_steady_ones() -> None:
    steady = [(f"s{n}", "a", None, 1, 1_000, 300) for n in range(5)]
    usual = [(f"o{n}", "a", None, 1, 1_000, 50) for n in range(20)]
    pairs = correct_clicks(table([*steady, *usual, ("lucky", "a", None, 1, 1, 1)])).pairs.to_pylist()
    strength = {row["item_id"]: row["strength"] for row in pairs}
    assert strength["o0"] < strength["lucky"] < strength["s0"]


def test_the_prior_is_found_again() -> None:
    rng = np.random.default_rng(1)
    expected = rng.uniform(0.1, 8.0, 30_000)
    clicked = rng.poisson(expected * rng.gamma(0.8, 1 / 1.6, len(expected))).astype(float)
    prior = GammaPrior.fit(clicked, expected)
    assert prior.shape == pytest.approx(0.8, rel=0.15)
    assert prior.shape / prior.rate == pytest.approx(0.5, rel=0.05)


def test_the_curve_smooths_only_where_there_is_little() -> None:
    clicks, _ = log(1.0, weeks=4)
    rare = table([("x", "a", None, 500, 2, 1)])
    curve = position_curve(pa.concat_tables([clicks, rare]))
    assert curve.positions.tolist() == [*range(1, 31), 500]
    assert curve.smoothed[0] == pytest.approx(curve.rates[0], rel=0.01)
    assert curve.rates[-1] == 0.5
    assert curve.smoothed[-1] < 0.02


def test_a_log_without_clicks_or_rows() -> None:
    pairs = correct_clicks(table([("1", "a", None, 1, 10, 0), ("2", "a", None, 2, 10, 0)])).pairs
    assert pairs["positive"].to_pylist() == [False, False]
    assert np.isfinite(pairs["strength"].to_numpy()).all()
    with pytest.raises(InputError, match="there are no clicks"):
        correct_clicks(CLICKS.empty_table())


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"method": "coec", "eta": 1.0}, "eta belongs to propensity"),
        ({"eta": -0.1}, "from 0 to 5"),
        ({"min_clicks": 0}, "at least 1 click"),
    ],
)
def test_a_correction_that_makes_no_sense(options: Any, message: str) -> None:
    with pytest.raises(InputError, match=message):
        ClickCorrection(**options)
