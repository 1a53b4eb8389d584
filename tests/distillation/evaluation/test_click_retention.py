"""Click retention, by figures that can be computed by hand."""

import numpy as np
import pyarrow as pa
import pytest

from keydistill.distillation.evaluation import compare
from keydistill.distillation.evaluation.click_retention import click_threshold
from keydistill.distillation.evaluation.report import render
from keydistill.errors import InputError
from tests.distillation.evaluation.test_protocol import LABELS, STUDENT, at, pairs, run
from tests.support.present import present

NAMES = ("item_id", "keyphrase", "clicks")
# By angle to its item: red 5, blue 10, boot 20, case 70 (of s), mobile 6 (of p); "old shoe" is in no inventory.
CLICKS = pairs(
    ("s", "red shoe", 40),
    ("s", "red shoe", 20),
    ("s", "blue shoe", 0),
    ("s", "boot", 5),
    ("s", "case", 1),
    ("p", "mobile", 34),
    ("gone", "red shoe", 900),
    names=NAMES,
)


def test_the_threshold_keeps_95_of_100_clicks() -> None:
    scores = np.array([0.9, 0.8, 0.7, 0.6])
    assert click_threshold(scores, np.array([95.0, 0, 0, 5])) == 0.9
    assert click_threshold(scores, np.array([94.0, 0, 1, 5])) == 0.7
    assert click_threshold(scores[::-1], np.array([5.0, 1, 0, 94])) == 0.7
    # Pairs of one score stay or go together; the share is of the clicks and not of the pairs.
    assert click_threshold(np.full(4, 0.5), np.array([1.0, 1, 1, 1])) == 0.5
    assert np.isnan(click_threshold(scores, np.zeros(4)))
    assert np.isnan(click_threshold(scores[:0], np.zeros(0)))


def test_what_falls_below_the_threshold() -> None:
    evaluation = run(clicks=CLICKS, k=(1, 5))
    estimates = evaluation.estimates
    # 60 + 34 of 100 clicks are at 6 degrees and nearer, 99 at 20 and nearer: "case" alone is below.
    assert estimates["click_threshold"].value == pytest.approx(np.cos(np.radians(20)), abs=1e-6)
    assert estimates["below_clicks"].value == pytest.approx(1 / 5)
    # Of five, case and mobile for s; for p all but mobile and case, which is as far as the threshold.
    assert estimates["listed_below_clicks@1"].value == 0
    assert estimates["listed_below_clicks@5"].value == pytest.approx(5 / 10)
    assert (evaluation.counts["shown_pairs"], evaluation.counts["clicks"]) == (5, 100)
    page = render(evaluation, None, None)
    assert "Click threshold" in page
    assert page.index("Below click threshold") < page.index("Head share")


def test_sales_fall_below_the_threshold_with_their_pairs() -> None:
    assert "sales_below_clicks" not in run(clicks=CLICKS).estimates
    clicks = CLICKS.append_column("sales", pa.array([2.5, 0, None, 0, 7.5, 0, 900]))
    evaluation = run(clicks=clicks, k=(1,))
    # Only "case" is below: it was clicked once, and sold for 7.5 of 10.
    assert evaluation.estimates["sales_below_clicks"].value == pytest.approx(0.75)
    assert evaluation.counts["sales"] == 10
    assert "Sales below click threshold" in render(evaluation, None, None)
    nobody_bought = CLICKS.append_column("sales", pa.array([0.0] * len(CLICKS)))
    assert "sales_below_clicks" not in run(clicks=nobody_bought).estimates


def test_clicks_on_what_is_in_no_inventory_count_and_labels_stay_as_they_were() -> None:
    student = type(STUDENT)({**STUDENT._vectors, "old shoe": at(80)})
    clicks = pa.concat_tables([CLICKS, pairs(("s", "old shoe", 50), names=NAMES)])
    with_clicks = run(student=student, clicks=clicks, labels=LABELS)
    assert with_clicks.estimates["click_threshold"].value == pytest.approx(np.cos(np.radians(80)), abs=1e-6)
    without = run(student=student, labels=LABELS)
    assert {name: with_clicks.estimates[name] for name in without.estimates} == without.estimates


def test_students_are_compared_each_by_its_own_threshold() -> None:
    # Scores that tell nothing about clicks: what is clicked most is farthest away.
    worse = type(STUDENT)({**STUDENT._vectors, "red shoe": at(75)})
    difference = compare(run(student=worse, clicks=CLICKS), run(clicks=CLICKS)).differences["below_clicks"]
    assert present(difference.difference) > 0
    assert run(clicks=CLICKS.slice(2, 1)).estimates.keys() == run().estimates.keys()


def test_a_click_log_without_clicks_is_refused() -> None:
    with pytest.raises(InputError, match="the clicks have no column 'clicks'; found: item_id, keyphrase"):
        run(clicks=CLICKS.select(["item_id", "keyphrase"]))
