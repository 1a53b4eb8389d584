import json
from collections.abc import Mapping, Sequence
from typing import Any, cast

import numpy as np
import pyarrow as pa
import pytest
from sklearn.metrics import roc_auc_score

from keydistill.distillation.evaluation import (
    AssistantJudge,
    Evaluation,
    LabelJudge,
    SearchFilter,
    compare,
    compare_means,
    evaluate,
    mean_estimates,
    sample_items,
)
from keydistill.distillation.evaluation.auc import grouped_auc, resampled_auc
from keydistill.distillation.evaluation.bootstrap import ratios, weights
from keydistill.encoders import Assistant, ItemText
from keydistill.errors import InputError
from tests.support.present import present


class Planted:
    """A student whose vectors are given, so that every figure can be computed by hand."""

    version = "planted"
    item_text = ItemText()

    def __init__(self, vectors: Mapping[str, Any]) -> None:
        self._vectors = {
            text: np.asarray(vector / np.linalg.norm(vector), np.float32) for text, vector in vectors.items()
        }
        self.dimension = len(next(iter(self._vectors.values())))

    def embed_keyphrases(self, texts: Sequence[str], progress: Any = None) -> np.ndarray:
        return np.stack([self._vectors[text] for text in texts])

    def embed_items(
        self, titles: Sequence[str], categories: Any = None, progress: Any = None, fields: Any = None
    ) -> np.ndarray:
        return self.embed_keyphrases(self.item_text.render_all(titles, None, fields))


class ScoresByTable:
    """What `AssistantJudge` needs of an assistant; counts what it was asked."""

    version = "assistant-7"

    def __init__(self, scores: dict[tuple[str, str], float]) -> None:
        self._scores = scores
        self.asked: list[tuple[str, str, str | None]] = []

    def score(self, titles: Any, keyphrases: Any, categories: Any = None, progress: Any = None) -> np.ndarray:
        self.asked += zip(titles, keyphrases, categories, strict=True)
        return np.array([self._scores[pair] for pair in zip(titles, keyphrases, strict=True)], np.float32)


def at(angle: float) -> tuple[float, float]:
    return np.cos(np.radians(angle)), np.sin(np.radians(angle))


# Items at 0 and 90 degrees; the nearer a keyphrase's angle, the better its rank.
STUDENT = Planted(
    {
        "shoe": at(0),
        "phone": at(90),
        "red shoe": at(5),
        "blue shoe": at(10),
        "boot": at(20),
        "case": at(70),
        "mobile": at(84),
        "handy": at(88),
    }
)
ITEMS = pa.table(
    {
        "item_id": ["s", "p"],
        "title": ["shoe", "phone"],
        "category_path": ["Fashion > Shoes", "Electronics > Phones"],
        "site": ["US", "US"],
    }
)
INVENTORY = pa.table(
    {
        "keyphrase": ["red shoe", "blue shoe", "boot", "case", "mobile", "handy"],
        "site": ["US", "US", "US", "US", "US", "DE"],
        "search_volume": [50, 40, 5, 3, 2, None],
        "category_ids": pa.array(
            [
                ["Fashion", "Fashion > Shoes"],
                ["Fashion"],
                [],
                ["Electronics"],
                ["Electronics", "Electronics > Phones"],
                [],
            ],
            pa.list_(pa.string()),
        ),
    }
)
# s gets red, blue, boot, case, mobile; p gets mobile, case, boot, blue, red.


def pairs(*rows: tuple[Any, ...], names: Sequence[str] = ("item_id", "keyphrase", "label")) -> pa.Table:
    return pa.table({name: [row[place] for row in rows] for place, name in enumerate(names)})


LABELS = pairs(("s", "red shoe", True), ("s", "boot", True), ("s", "blue shoe", False), ("p", "mobile", True))


def run(**options: Any) -> Evaluation:
    arguments = {"judge": LabelJudge(LABELS), "k": (1, 2, 3), "resamples": 200, **options}
    return evaluate(
        arguments.pop("student", STUDENT),
        arguments.pop("items", ITEMS),
        arguments.pop("inventory", INVENTORY),
        **arguments,
    )


def values(evaluation: Evaluation) -> dict[str, float | None]:
    return {name: estimate.value for name, estimate in evaluation.estimates.items()}


def test_lists_are_those_of_the_items_site() -> None:
    evaluation = run(k=[5])
    lists = {sample.item_id: [line.keyphrase for line in sample.lines] for sample in evaluation.samples}
    assert lists == {
        "s": ["red shoe", "blue shoe", "boot", "case", "mobile"],
        "p": ["mobile", "case", "boot", "blue shoe", "red shoe"],
    }
    # The student reads the field of its template, where an item has it.
    with_brand = ITEMS.set_column(1, "title", pa.array(["red", "phone"])).append_column(
        "brand", pa.array(["shoe", None])
    )
    reading = type("Reading", (Planted,), {"item_text": ItemText("{title} {brand}")})(STUDENT._vectors)
    assert [sample.lines for sample in run(k=[5], student=reading, items=with_brand).samples][1:] == [
        sample.lines for sample in evaluation.samples
    ][1:]
    assert run(k=[5], student=reading, items=with_brand).samples[0].lines[0].score == pytest.approx(1)
    everywhere = run(items=ITEMS.drop_columns("site"), k=[1])
    assert everywhere.samples[1].lines[0].keyphrase == "handy"
    assert everywhere.counts["recommended"] == 2


@pytest.mark.parametrize(
    ("match", "expected"),
    [
        ("leaf", {"s": ["red shoe"], "p": ["mobile"]}),
        ("parent", {"s": ["red shoe", "blue shoe"], "p": ["mobile", "case"]}),
    ],
)
def test_lists_may_be_those_of_the_items_category(match: Any, expected: Any) -> None:
    evaluation = run(match_category=match)
    assert {sample.item_id: [line.keyphrase for line in sample.lines] for sample in evaluation.samples} == expected
    assert evaluation.counts["recommended"] == sum(map(len, expected.values()))


def test_a_pair_without_a_label_counts_in_no_proportion() -> None:
    measured = values(run())
    # s: yes, no, yes; p: yes, unknown, unknown
    assert measured["relevant@1"] == 1
    assert measured["relevant@2"] == pytest.approx(2 / 3)
    assert measured["relevant@3"] == pytest.approx(3 / 4)
    assert measured["judged@3"] == pytest.approx(4 / 6)
    assert measured["new_relevant@3"] == pytest.approx(3 / 2)


def test_complete_labels_make_the_rest_irrelevant() -> None:
    measured = values(run(judge=LabelJudge(LABELS, complete=True)))
    assert measured["relevant@3"] == pytest.approx(3 / 6)
    assert measured["judged@3"] == 1


def test_true_pairs_need_no_column_of_labels() -> None:
    truth = LABELS.filter(LABELS["label"]).drop_columns("label")
    judge = LabelJudge(truth, complete=True)
    assert values(run(judge=judge))["relevant@3"] == pytest.approx(3 / 6)


def test_what_other_sources_have_is_removed_and_not_refilled() -> None:
    other_sources = pairs(("s", "red shoe"), ("s", "case"), ("p", "nothing"), names=("item_id", "keyphrase"))
    evaluation = run(exclude=other_sources)
    measured = values(evaluation)
    assert measured["already_known@1"] == 1 / 2
    assert measured["already_known@3"] == pytest.approx(1 / 6)
    assert measured["relevant@1"] == 1  # of p alone
    assert measured["new_relevant@1"] == 1 / 2
    assert measured["relevant@3"] == pytest.approx(2 / 3)
    assert [line.verdict for line in evaluation.samples[0].lines] == ["known", "irrelevant", "relevant"]
    assert "already_known@1" not in values(run())


def test_the_search_filter_takes_its_share() -> None:
    table = pairs(
        ("s", "red shoe", False),
        ("s", "boot", True),
        ("p", "mobile", True),
        ("p", "case", False),
        names=("item_id", "keyphrase", "passed"),
    )
    evaluation = run(search_filter=SearchFilter(table))
    measured = values(evaluation)
    assert measured["search_pass@3"] == 2 / 4
    assert measured["search_known@3"] == pytest.approx(4 / 6)
    assert measured["relevant@3"] == pytest.approx(2 / 3)  # boot yes, blue no, mobile yes
    assert evaluation.counts["unknown_to_search"] == 2
    assert evaluation.counts["rejected_by_search"] == 2
    assert [line.verdict for line in evaluation.samples[0].lines] == ["rejected", "irrelevant", "relevant"]
    dropped = run(search_filter=SearchFilter(table, unknown_passes=False))
    assert values(dropped)["relevant@3"] == 1
    assert [line.verdict for line in dropped.samples[0].lines] == ["rejected", "unknown to search", "relevant"]


def test_the_search_filter_may_go_by_a_threshold() -> None:
    table = pairs(
        ("s", "red shoe", 0.4), ("s", "boot", 0.6), ("p", "case", None), names=("item_id", "keyphrase", "score")
    )
    evaluation = run(search_filter=SearchFilter(table, threshold=0.5))
    assert values(evaluation)["search_pass@3"] == 1 / 2
    assert evaluation.counts["unknown_to_search"] == 4
    with pytest.raises(InputError, match=r"no column 'passed'.*give a threshold"):
        run(search_filter=SearchFilter(table))


def test_head_coverage_and_words() -> None:
    measured = values(run())
    assert run().counts["head_keyphrases"] == 1  # 50 of 100 searches
    assert measured["head@1"] == 1 / 2
    assert measured["head@3"] == pytest.approx(1 / 6)
    assert measured["coverage@1"] == pytest.approx(2 / 6)
    assert measured["coverage@3"] == pytest.approx(5 / 6)
    assert measured["distinct_words@3"] == pytest.approx((4 + 3) / (5 + 3))  # red blue shoe boot; mobile case boot


def test_diversity_is_one_less_the_mean_cosine() -> None:
    measured = values(run())
    s = np.cos(np.radians([5, 10, 15])).mean()  # red-blue, blue-boot, red-boot
    p = np.cos(np.radians([14, 50, 64])).mean()
    assert measured["diversity@3"] == pytest.approx(1 - (s + p) / 2, abs=1e-6)
    assert "diversity@1" not in measured


def test_labels_give_recall_precision_and_ndcg() -> None:
    graded = pairs(
        ("s", "red shoe", True, 3),
        ("s", "boot", True, 2),
        ("s", "sandal", True, 3),
        ("p", "case", False, 1),
        names=("item_id", "keyphrase", "label", "grade"),
    )
    student = Planted({**STUDENT._vectors, "sandal": at(30)})
    evaluation = run(student=student, labels=graded)
    measured = values(evaluation)
    assert evaluation.counts["labelled_outside_inventory"] == 1
    assert measured["recall@1"] == 1 / 2  # p has no relevant pair and does not count
    assert measured["recall@2"] == 1 / 2
    assert measured["recall@3"] == 1
    assert measured["precision@3"] == pytest.approx(2 / 3)
    discount = 1 / np.log2([2, 3, 4])
    s = (3 * discount[0] + 2 * discount[2]) / (3 * discount[0] + 2 * discount[1])
    assert measured["ndcg@3"] == pytest.approx((s + discount[1]) / 2)


def test_auc_is_that_of_the_labelled_pairs() -> None:
    rng = np.random.default_rng(0)
    texts = [f"text {number}" for number in range(30)]
    titles = [f"title {number}" for number in range(40)]
    student = Planted({text: rng.normal(size=8) for text in [*texts, *titles]})
    items = pa.table({"item_id": [str(number) for number in range(40)], "title": titles})
    labels = pa.table(
        {
            "item_id": [str(number) for number in rng.integers(0, 45, 400)],
            "keyphrase": [texts[number] for number in rng.integers(0, 30, 400)],
            "label": rng.random(400) < 0.4,
        }
    )
    evaluation = run(student=student, items=items, inventory=pa.table({"keyphrase": texts}), labels=labels)
    last = {(row["item_id"], row["keyphrase"]): row["label"] for row in labels.to_pylist()}
    rows = [(item, text, label) for (item, text), label in last.items() if int(item) < 40]
    item_vectors = student.embed_items([titles[int(item)] for item, *_ in rows])
    score = (item_vectors * student.embed_keyphrases([text for _, text, _ in rows])).sum(axis=1)
    label = np.array([label for *_, label in rows])
    measured = values(evaluation)
    assert evaluation.counts["labelled_pairs"] == len(rows)
    assert measured["auc"] == pytest.approx(roc_auc_score(label, score))
    for column, name in ((1, "auc_per_keyphrase"), (0, "auc_per_item")):
        groups = np.array([row[column] for row in rows])
        each = [
            roc_auc_score(label[groups == group], score[groups == group])
            for group in np.unique(groups)
            if len(set(label[groups == group])) == 2
        ]
        assert measured[name] == pytest.approx(np.mean(each))
    low, high = evaluation.estimates["auc"].low, evaluation.estimates["auc"].high
    assert present(low) < present(measured["auc"]) < present(high)


def test_a_mean_over_hardly_any_groups_is_not_given() -> None:
    measured = values(run(labels=LABELS))
    assert measured["auc"] is not None
    # Only item s has both a relevant and an irrelevant keyphrase.
    assert "auc_per_item" not in measured


def test_auc_with_ties_and_lonely_classes_is_that_of_scikit_learn() -> None:
    rng = np.random.default_rng(1)
    groups = rng.integers(0, 12, 300)
    scores = rng.integers(0, 5, 300) / 4
    relevant = rng.random(300) < 0.3
    relevant[groups == 3] = False
    areas = grouped_auc(groups, scores, relevant)
    assert np.isnan(areas[3])
    for group in set(range(12)) - {3}:
        inside = groups == group
        assert areas[group] == pytest.approx(roc_auc_score(relevant[inside], scores[inside]))
    units = rng.integers(0, 50, 300)
    draws = np.concatenate(list(weights(50, 3, 20)))[:, units]
    for row, auc in zip(draws, resampled_auc(scores, relevant, [draws]), strict=True):
        assert auc == pytest.approx(roc_auc_score(relevant, scores, sample_weight=row))


def test_the_assistant_is_asked_once_per_pair_also_at_several_dimensions() -> None:
    scores = {
        (title, keyphrase): 0.9 if (title == "shoe") == ("shoe" in keyphrase or keyphrase == "boot") else 0.2
        for title in ("shoe", "phone")
        for keyphrase in INVENTORY["keyphrase"].to_pylist()
    }
    assistant = ScoresByTable(scores)
    evaluation = run(judge=AssistantJudge(cast(Assistant, assistant), threshold=0.3), dimensions=[1, 2])
    assert len(assistant.asked) == len(set(assistant.asked))
    assert ("shoe", "red shoe", "Fashion > Shoes") in assistant.asked
    assert values(evaluation)["relevant@3"] == pytest.approx(5 / 6)
    assert "stands in for the judge" in evaluation.judge.sentence()
    assert "assistant-7" in evaluation.judge.sentence()
    assert list(evaluation.dimensions) == [2, 1]
    assert evaluation.dimensions[2] == evaluation.estimates
    # At one dimension all keyphrases point the same way: both items get the first three of the inventory.
    assert evaluation.dimensions[1]["relevant@3"].value == pytest.approx(3 / 6)


def test_categories_are_those_of_the_first_level() -> None:
    evaluation = run()
    assert [(each.name, each.items) for each in evaluation.categories] == [("Electronics", 1), ("Fashion", 1)]
    assert evaluation.categories[1].estimates["relevant@3"].value == pytest.approx(2 / 3)
    plain = run(items=ITEMS.drop_columns("category_path"))
    assert [each.name for each in plain.categories] == ["(no category)"]


def test_intervals_are_those_of_a_plain_bootstrap() -> None:
    rng = np.random.default_rng(5)
    over, under = rng.integers(0, 5, 80).astype(float), rng.integers(1, 9, 80).astype(float)
    resampled = ratios(np.stack([over], 1), np.stack([under], 1), seed=9, resamples=400)[:, 0]
    plain = np.random.default_rng(10)
    drawn_units = plain.integers(0, 80, (4_000, 80))
    expected = over[drawn_units].sum(1) / under[drawn_units].sum(1)
    assert resampled.mean() == pytest.approx(over.sum() / under.sum(), abs=0.01)
    assert np.quantile(resampled, [0.025, 0.975]) == pytest.approx(np.quantile(expected, [0.025, 0.975]), abs=0.02)


def noisy(noise: float, seed: int = 0) -> Evaluation:
    """Forty items, each with one right keyphrase; the noisier the student, the worse."""
    rng = np.random.default_rng(2)
    right = rng.normal(size=(40, 16))
    moved = right + noise * np.random.default_rng(3).normal(size=right.shape)
    student = Planted({f"title {n}": right[n] for n in range(40)} | {f"keyphrase {n}": moved[n] for n in range(40)})
    items = pa.table({"item_id": [f"{n}" for n in range(40)], "title": [f"title {n}" for n in range(40)]})
    truth = pa.table(
        {"item_id": items["item_id"], "keyphrase": [f"keyphrase {n}" for n in range(40)], "label": [True] * 40}
    )
    inventory = pa.table({"keyphrase": truth["keyphrase"]})
    return run(
        student=student,
        items=items,
        inventory=inventory,
        judge=LabelJudge(truth, complete=True),
        labels=truth,
        k=[1, 5],
        seed=seed,
    )


def test_a_comparison_is_paired() -> None:
    good, same, bad = noisy(1.6), noisy(1.6), noisy(2.2)
    none = compare(good, same).differences["recall@5"]
    assert (none.difference, none.low, none.high, none.below_zero) == (0, 0, 0, 0)
    worse = compare(good, bad).differences["recall@5"]
    assert worse.difference == pytest.approx(present(values(bad)["recall@5"]) - present(values(good)["recall@5"]))
    low, high = present(worse.low), present(worse.high)
    assert low < present(worse.difference) < high < 0
    # The interval leaves out 2.5% above it.
    assert present(worse.below_zero) > 0.975
    better = compare(bad, good).differences["recall@5"]
    assert (better.low, better.high) == pytest.approx((-high, -low))
    # Unpaired resamples would spread further.
    intervals = [each.estimates["recall@5"] for each in (good, bad)]
    spread = sum((present(each.high) - present(each.low)) ** 2 for each in intervals) ** 0.5
    assert high - low < spread


def test_means_of_several_seeds_have_intervals_over_items() -> None:
    runs = [noisy(1.6), noisy(2.2)]
    mean = mean_estimates(runs)["recall@5"]
    assert mean.value == pytest.approx(np.mean([values(run)["recall@5"] for run in runs]))
    assert present(mean.low) < present(mean.value) < present(mean.high)
    # Each resample draws the same items for all runs: twice the same run is no more certain than once.
    assert mean_estimates([runs[0], runs[0]])["recall@5"] == runs[0].estimates["recall@5"]

    difference = compare_means(runs, runs[::-1]).differences["recall@5"]
    assert (difference.difference, difference.low, difference.high) == pytest.approx((0, 0, 0))
    with pytest.raises(InputError, match="found 2 and 1"):
        compare_means(runs, runs[:1])


def test_an_assistant_may_put_the_lists_in_order() -> None:
    right = {("shoe", "boot"): 0.9, ("shoe", "blue shoe"): 0.8, ("phone", "case"): 0.7}
    scores = {
        (title, keyphrase): right.get((title, keyphrase), 0.1)
        for title in ("shoe", "phone")
        for keyphrase in [*INVENTORY["keyphrase"].to_pylist(), *LABELS["keyphrase"].to_pylist()]
    }
    judge = AssistantJudge(cast(Assistant, ScoresByTable(scores)))
    evaluation = run(k=[1, 2], judge=judge, reranker=judge, rerank_depth=3)
    first = {sample.title: [line.keyphrase for line in sample.lines] for sample in evaluation.samples}
    # By the student: red shoe, blue shoe, boot. Of two that are equally probable, its order holds.
    assert first["shoe"] == ["boot", "blue shoe"]
    assert first["phone"][0] == "case"
    assert evaluation.protocol["reranker"] == "assistant-7"
    # What is behind its depth stays there: the boot is the student's third.
    behind = run(k=[1, 2], judge=judge, reranker=judge, rerank_depth=2).samples[0]
    assert [line.keyphrase for line in behind.lines] == ["blue shoe", "red shoe"]


@pytest.mark.parametrize(
    ("other", "what"),
    [
        ({"items": ITEMS.slice(0, 1)}, "items"),
        ({"judge": LabelJudge(LABELS, complete=True)}, "judges"),
        ({"labels": LABELS}, "labelled keyphrases"),
        ({"match_category": "leaf"}, "protocols"),
        ({"seed": 1}, "seeds"),
    ],
)
def test_only_what_was_measured_alike_is_compared(other: Any, what: Any) -> None:
    with pytest.raises(InputError, match=f"different {what}"):
        compare(run(), run(**other))


def test_json_and_back_changes_nothing() -> None:
    evaluation = run(
        labels=LABELS,
        dimensions=[1],
        search_filter=SearchFilter(pairs(("s", "boot", True), names=("item_id", "keyphrase", "passed"))),
    )
    text = json.dumps(evaluation.as_dict(), allow_nan=False)
    back = Evaluation.from_dict(json.loads(text))
    assert json.dumps(back.as_dict(), allow_nan=False) == text
    assert (back.estimates, back.categories, back.samples, back.histogram, back.judge) == (
        evaluation.estimates,
        evaluation.categories,
        evaluation.samples,
        evaluation.histogram,
        evaluation.judge,
    )
    assert compare(evaluation, back).differences["recall@1"].difference == 0
    for damaged in ({}, {"format": 1}, {**json.loads(text), "measures": 3}):
        with pytest.raises(InputError):
            Evaluation.from_dict(damaged)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"items": ITEMS.slice(0, 0)}, "there are no items"),
        ({"inventory": INVENTORY.slice(0, 0)}, "there are no inventory"),
        ({"items": pa.concat_tables([ITEMS, ITEMS])}, "'s' more than once"),
        ({"items": ITEMS.drop_columns("title")}, "no column 'title'"),
        ({"k": [0]}, "cut-offs"),
        ({"k": []}, "cut-offs"),
        ({"dimensions": [3]}, "dimension 3 was asked for; student planted has 2"),
        ({"labels": pa.table({"item_id": ["s"]})}, "no column 'keyphrase'"),
        ({"match_category": "leaf", "inventory": INVENTORY.drop_columns("category_ids")}, "'category_ids'"),
        ({"resamples": 0}, "resamples"),
    ],
)
def test_what_cannot_be_evaluated_is_said_in_one_line(options: Any, message: str) -> None:
    with pytest.raises(InputError, match=message) as raised:
        run(**options)
    assert "\n" not in str(raised.value)


def test_items_without_any_keyphrase_and_labels_without_any_item() -> None:
    lonely = ITEMS.set_column(3, "site", pa.array(["FR", "US"]))
    evaluation = run(items=lonely, labels=pairs(("x", "boot", True)))
    assert evaluation.counts["labels_of_other_items"] == 1
    assert evaluation.estimates["auc"].value is None
    assert evaluation.estimates["recall@3"].value is None
    assert evaluation.estimates["relevant@3"].value == 1
    assert evaluation.samples[0].lines == ()
    assert "auc" not in evaluation.metrics()
    json.dumps(evaluation.as_dict(), allow_nan=False)


def test_a_sample_of_items_keeps_their_order_and_follows_the_seed() -> None:
    items = pa.table({"item_id": [f"{n:03}" for n in range(200)]})
    sample = sample_items(items, 20, seed=4)["item_id"].to_pylist()
    assert sample == sorted(set(sample))
    assert len(sample) == 20
    assert (
        sample
        == sample_items(items, 20, seed=4)["item_id"].to_pylist()
        != sample_items(items, 20)["item_id"].to_pylist()
    )
    assert sample_items(items, None) is items
    assert sample_items(items, 500) is items
