"""The data of the ablation: signals, mined pairs, the assistant and its scores, ready for every student."""

import math
import re
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from distillation import (
    AssistantRecipe,
    MiningRecipe,
    StudentData,
    StudentRecipe,
    judged_pairs,
    load_scores,
    mine,
    score_pairs,
    student_data,
    train_assistant,
)
from distillation.evaluation import Evaluation, LabelJudge, evaluate
from distillation.judging import judge_pairs
from distillation.judgment_cache import JudgmentCache
from distillation.signals import (
    correct_clicks,
    load_clicks,
    load_items,
    load_judgments,
    load_search_relevance,
)
from encoders import Assistant, Student, nearest
from simulation import MarketplaceSettings, SimulatedJudge, simulate
from tables import RejectLog, normalize_keyphrase

BASE = "sentence-transformers/all-MiniLM-L6-v2"
_RERANKED = 50


@dataclass(frozen=True, slots=True)
class Task:
    """What students learn from and are measured on.

    Attributes:
        data: Pairs of every kind.
        recipe: Of the full student.
        items: To recommend for.
        inventory: To recommend from.
        labels: What is right.
        judge: Decides by them.
        assistant: Trained.
        measures: Columns of the table.
        cutoffs: Of the lists.
        kept: The measure that a smaller dimension is compared by.
    """

    data: StudentData
    recipe: StudentRecipe
    items: pa.Table
    inventory: pa.Table
    labels: pa.Table
    judge: LabelJudge
    assistant: Assistant
    measures: tuple[str, ...]
    cutoffs: tuple[int, ...]
    kept: str
    base: str = field(default=BASE)

    def upper_line(self, student: Student) -> Evaluation:
        """The assistant ranks the 50 best of a student: what no student that learns from it should pass."""
        return evaluate(
            _Reranker(student, self.assistant), self.items, self.inventory, judge=self.judge, labels=self.labels,  # type: ignore[arg-type]
            k=self.cutoffs,
        )


def simulated_task(folder: Path, seed: int, *, quick: bool) -> Task:
    """A marketplace, its signals, and an assistant that learned from its judge."""
    market = folder / "market"
    size = (200, 1_500) if quick else (1_000, 10_000)
    simulate(market, MarketplaceSettings(items=size[0], keyphrases=size[1], seed=seed), force=True)
    with RejectLog() as rejects:
        items = load_items([market / "items.parquet"], rejects)
        clicks = correct_clicks(load_clicks([market / "clicks.parquet"], rejects)).pairs
        search = load_search_relevance([market / "search_relevance.parquet"], rejects)
    inventory = _simulated_inventory(market)
    recipe = MiningRecipe(seed=seed)
    mined = mine(Student.load(BASE), items, inventory, recipe, clicks=clicks, search_relevance=search)
    pairs = mined.pairs.take(pa.array(np.random.default_rng(seed).permutation(len(mined.pairs))))
    pq.write_table(pairs, folder / "pairs.parquet")
    with JudgmentCache(None) as cache:
        judge_pairs(
            SimulatedJudge.of(market), [folder / "pairs.parquet"], folder / "judgments.parquet", cache=cache,
            budget_pairs=500 if quick else 8_000,
        )
    with RejectLog() as rejects:
        judgments = load_judgments([folder / "judgments.parquet"], rejects)
    assistant = _assistant(judgments, items, folder, AssistantRecipe(size="minilm-3", seed=seed, epochs=1 if quick else 3))
    score_pairs(assistant, [folder / "pairs.parquet"], folder / "scores.parquet")
    with RejectLog() as rejects:
        scores = load_scores([folder / "scores.parquet"], rejects)
    truth = pq.read_table(market / "truth.parquet", columns=["item_id", "keyphrase"])
    labels = pa.table(
        {
            "item_id": truth["item_id"],
            "keyphrase": pa.array([normalize_keyphrase(text) for text in truth["keyphrase"].to_pylist()]),
            "label": pa.array(np.ones(len(truth), dtype=bool)),
        }
    )
    return Task(
        data=student_data(
            items, clicks=clicks, search_relevance=search, judgments=judgments, scores=scores, seed=seed
        ),
        recipe=StudentRecipe(seed=seed),
        items=items,
        inventory=inventory,
        labels=labels,
        judge=LabelJudge(labels, name="simulated truth", complete=True),
        assistant=assistant,
        measures=("precision@10", "recall@10"),
        cutoffs=(10,),
        kept="recall@10",
    )


def esci_task(data: Path, folder: Path, seed: int, *, quick: bool) -> Task:
    """Real queries: everything is learned from the training split, nothing from a query of the test split."""
    folder.mkdir(parents=True, exist_ok=True)
    catalogue = pq.read_table(data / "items.parquet", columns=["item_id", "title", "category_path"])
    judged = pq.read_table(data / "judgments.parquet", columns=["query", "item_id", "label", "split"])
    extra = pq.read_table(data / "extra_pairs.parquet", columns=["query", "item_id", "title", "category_path", "label"])
    test = judged.filter(pc.equal(judged["split"], "test"))
    train = pa.concat_tables(
        [table.select(["query", "item_id", "label"]) for table in (judged.filter(pc.equal(judged["split"], "train")), extra)]
    )
    items = pa.concat_tables([catalogue, extra.select(catalogue.column_names)]).group_by("item_id", use_threads=False)
    known = items.aggregate([("title", "first"), ("category_path", "first")]).rename_columns(catalogue.column_names)
    known = known.append_column("site", pa.nulls(len(known), pa.string()))
    judgments = _judgments(train)
    learned = known.filter(pc.is_in(known["item_id"], pc.unique(train["item_id"])))
    keyphrases = pc.unique(
        pa.array([normalize_keyphrase(text) for text in pq.read_table(data / "keyphrases.parquet")["keyphrase"].to_pylist()])
    )
    inventory = pa.table({"keyphrase": keyphrases})
    unseen = pc.is_in(keyphrases, _judgments(test)["keyphrase"].combine_chunks())
    if quick:
        learned = learned.slice(0, 100)
    mined = mine(
        Student.load(BASE),
        learned,
        inventory.filter(pc.invert(unseen)),
        MiningRecipe(student_top=5, near_miss=4, random=2, depth=100, seed=seed),
    ).pairs
    pq.write_table(mined, folder / "pairs.parquet")
    search = mined.select(["item_id", "keyphrase"]).append_column(
        "score", pa.array(_word_share(mined["title"].to_pylist(), mined["keyphrase"].to_pylist()), pa.float32())
    )
    search = search.append_column("passed", pc.greater_equal(search["score"], 0.6))
    assistant = _assistant(
        judgments, learned, folder, AssistantRecipe(size="minilm-6", seed=seed, epochs=0.5 if quick else 3), search
    )
    known_pairs, _ = judged_pairs(judgments, learned)
    pq.write_table(
        pa.concat_tables(
            [
                mined.select(["item_id", "keyphrase", "title", "category_path"]),
                pa.table(
                    {
                        "item_id": known_pairs.item_ids,
                        "keyphrase": known_pairs.keyphrases,
                        "title": known_pairs.titles,
                        "category_path": pa.array(known_pairs.categories, pa.string()),
                    }
                ),
            ]
        ),
        folder / "scored.parquet",
    )
    score_pairs(assistant, [folder / "scored.parquet"], folder / "scores.parquet")
    with RejectLog() as rejects:
        scores = load_scores([folder / "scores.parquet"], rejects)
    exact = judgments.filter(judgments["label"])
    clicks = exact.select(["item_id", "keyphrase"]).append_column("positive", exact["label"])
    labels = _judgments(test)
    return Task(
        data=student_data(
            learned, clicks=clicks, search_relevance=search, judgments=judgments, scores=scores, held_out=0.03, seed=seed
        ),
        recipe=StudentRecipe(seed=seed),
        items=known.filter(pc.is_in(known["item_id"], pc.unique(test["item_id"]))),
        inventory=inventory,
        labels=labels,
        judge=LabelJudge(labels, name="ESCI"),
        assistant=assistant,
        measures=("recall@10", "recall@50", "auc", "auc_per_keyphrase", "pair_ndcg@10"),
        cutoffs=(10, 50),
        kept="recall@10",
    )


class _Reranker:
    """A student whose best keyphrases the assistant puts in order; looks like a student to the evaluation."""

    def __init__(self, student: Student, assistant: Assistant) -> None:
        self.version = f"{assistant.version} on {student.version}"


def _simulated_inventory(market: Path) -> pa.Table:
    table = pq.read_table(market / "inventory.parquet", columns=["keyphrase", "category_path", "site"])
    # A keyphrase may be there twice, once messy.
    return pa.table(
        {
            "keyphrase": pa.array([normalize_keyphrase(text) for text in table["keyphrase"].to_pylist()]),
            "category_ids": table["category_path"],
            "site": table["site"],
        }
    )


def _assistant(
    judgments: pa.Table, items: pa.Table, folder: Path, recipe: AssistantRecipe, search: pa.Table | None = None
) -> Assistant:
    out = folder / "assistant"
    if not out.exists():
        pairs, _ = judged_pairs(judgments, items)
        warm_up = None
        if search is not None:
            taught = search.append_column("label", search["passed"]).append_column("probability", search["score"])
            warm_up, _ = judged_pairs(taught.append_column("site", pa.nulls(len(taught), pa.string())), items)
        train_assistant(pairs, out, recipe, warm_up=warm_up)
    return Assistant.load(str(out))


def _judgments(table: pa.Table) -> pa.Table:
    grades = {"E": 3, "S": 2, "C": 1, "I": 0}
    letters = table["label"].to_pylist()
    return pa.table(
        {
            "item_id": table["item_id"].cast(pa.string()),
            "keyphrase": pa.array([normalize_keyphrase(text) for text in table["query"].to_pylist()]),
            "site": pa.nulls(len(table), pa.string()),
            "label": pa.array([letter == "E" for letter in letters]),
            "probability": pa.nulls(len(table), pa.float32()),
            "grade": pa.array([grades[letter] for letter in letters], pa.int8()),
        }
    )


def _words(text: str) -> list[str]:
    return [word.removesuffix("s") if len(word) > 3 else word for word in re.findall(r"[a-z0-9]+", text.lower())]


def _word_share(titles: Sequence[str], keyphrases: Sequence[str]) -> list[float]:
    """Of each keyphrase's words, the share that its title has; a word weighs its inverse document frequency."""
    of_title = {title: frozenset(_words(title)) for title in set(titles)}
    seen = Counter(word for words in of_title.values() for word in words)
    weigh: Callable[[str], float] = lambda word: math.log(1 + len(of_title) / (1 + seen[word]))  # noqa: E731
    shares = []
    for title, keyphrase in zip(titles, keyphrases, strict=True):
        words = _words(keyphrase)
        whole = sum(map(weigh, words))
        shares.append(sum(weigh(word) for word in words if word in of_title[title]) / whole if whole else 0.0)
    return shares
