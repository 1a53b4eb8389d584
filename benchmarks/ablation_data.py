"""The data of the ablation: signals, mined pairs, the assistant and its scores, ready for every student."""

import math
import re
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from keydistill.distillation.assistant import (
    AssistantRecipe,
    Verdicts,
    assistant_metrics,
    judged_pairs,
    train_assistant,
)
from keydistill.distillation.evaluation import LabelJudge
from keydistill.distillation.pairs import MiningRecipe, load_scores, mine, score_pairs
from keydistill.distillation.pairs.judging import judge_pairs
from keydistill.distillation.pairs.judgment_cache import JudgmentCache
from keydistill.distillation.signals import (
    correct_clicks,
    load_clicks,
    load_items,
    load_judgments,
    load_search_relevance,
)
from keydistill.distillation.student import StudentData, StudentRecipe, student_data
from keydistill.distillation.training.run import uses_bf16
from keydistill.encoders import Assistant, Student
from keydistill.simulation import MarketplaceSettings, SimulatedJudge, simulate
from keydistill.tables import RejectLog, normalize_keyphrase

_GRADES = {"E": 3, "S": 2, "C": 1, "I": 0}
_PASSES = 0.6
# Pairs that an assistant learns of a search engine's scores, before it learns the judge's.
_WARM_UP_PAIRS = 4_000
# The nearest four keyphrases of a title are too often right to be hard negatives. Judged pairs come as lists of items
# for a keyphrase, and so do the pairs that the assistant scores.
_ESCI_MINING = MiningRecipe(student_top=4, near_miss=4, random=0, lists=500, listed=8, depth=60)
# Of real queries, those of the training split that a validation is measured on, and the share of the further ones.
_VALIDATION_QUERIES = 20
_VALIDATION_SHARE = 0.15
# Of a marketplace's items, the share that nothing is learned of: a student must know what to do with a new listing.
_UNSEEN = 0.3


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
        assistant: Trained on what the judge says.
        assistant_seconds: What its training and the scoring took.
        measures: Columns of the table; the first one decides.
        cutoffs: Of the lists.
        graded: Whether the judge's labels are people's grades, which a student learns besides the assistant's scores.
        kept: The measure that a smaller dimension is compared by.
    """

    data: StudentData
    recipe: StudentRecipe
    items: pa.Table
    inventory: pa.Table
    labels: pa.Table
    judge: LabelJudge
    assistant: Assistant
    assistant_seconds: float
    measures: tuple[str, ...]
    cutoffs: tuple[int, ...]
    graded: bool = False
    kept: str = "recall@10"


def simulated_task(folder: Path, seed: int, items: int, keyphrases: int, *, quick: bool) -> Task:
    """A marketplace, its signals, and an assistant that learned from its judge; measured on items that are new."""
    market = folder / "market"
    if not market.exists():
        simulate(market, MarketplaceSettings(items=items, keyphrases=keyphrases, seed=seed))
    with RejectLog() as rejects:
        listed = load_items([market / "items.parquet"], rejects)
        clicks = correct_clicks(load_clicks([market / "clicks.parquet"], rejects)).pairs
        search = load_search_relevance([market / "search_relevance.parquet"], rejects)
    is_new = pa.array(np.random.default_rng(seed).random(len(listed)) < _UNSEEN)
    learned, unseen = listed.filter(pc.invert(is_new)), listed.filter(is_new)
    recipe = StudentRecipe(seed=seed, epochs=0.1 if quick else 2)
    inventory = _simulated_inventory(market)
    mined = folder / "pairs.parquet"
    if not mined.exists():
        mining = MiningRecipe(seed=seed)
        pairs = mine(
            Student.load(recipe.base), learned, inventory, mining, clicks=clicks, search_relevance=search
        ).pairs
        pq.write_table(pairs, mined)
    with JudgmentCache(folder / "judgments.sqlite") as cache:
        judge_pairs(
            SimulatedJudge.of(market),
            [mined],
            folder / "judgments.parquet",
            cache=cache,
        )
    with RejectLog() as rejects:
        judgments = load_judgments([folder / "judgments.parquet"], rejects)
    assistant_recipe = AssistantRecipe(seed=seed, epochs=0.2 if quick else 2)
    assistant, scores, seconds = _assistant(judgments, learned, [mined], folder, assistant_recipe)
    truth = pq.read_table(market / "truth.parquet", columns=["item_id", "keyphrase"])
    labels = pa.table(
        {
            "item_id": truth["item_id"],
            "keyphrase": _normalized(truth["keyphrase"]),
            "label": pa.array(np.ones(len(truth), dtype=bool)),
        }
    )
    return Task(
        data=student_data(
            learned, clicks=clicks, search_relevance=search, judgments=judgments, assistant=scores, seed=seed
        ),
        recipe=recipe,
        items=unseen,
        inventory=inventory,
        labels=labels,
        judge=LabelJudge(labels, name="simulated truth", complete=True),
        assistant=assistant,
        assistant_seconds=seconds,
        measures=("precision@10", "recall@10"),
        cutoffs=(10,),
    )


def esci_task(data: Path, folder: Path, seed: int, *, quick: bool, validation: bool = False) -> Task:
    """Real queries: everything is learned from the training split, nothing from a query of the test split.

    For a validation some queries of the training split take the place of the test split, and nothing is learned of
    either: what a recipe should be is decided there.
    """
    folder.mkdir(parents=True, exist_ok=True)
    catalogue = pq.read_table(data / "items.parquet", columns=["item_id", "title", "category_path"])
    judged = pq.read_table(data / "judgments.parquet", columns=["query", "item_id", "label", "split"])
    extra = pq.read_table(data / "extra_pairs.parquet", columns=["query", "item_id", "title", "category_path", "label"])
    unseen = _judgments(judged.filter(pc.equal(judged["split"], "test")))
    known = [_judgments(judged.filter(pc.equal(judged["split"], "train"))), _judgments(extra)]
    labels = unseen
    if validation:
        labels, known = _held_out_queries(known, seed)
        unseen = pa.concat_tables([unseen, labels])
    judgments = pa.concat_tables(known)
    items = _esci_items(pa.concat_tables([catalogue, extra.select(catalogue.column_names)]))
    learned = items.filter(pc.is_in(items["item_id"], value_set=pc.unique(judgments["item_id"])))
    tested = items.filter(pc.is_in(items["item_id"], value_set=pc.unique(labels["item_id"])))
    texts = pc.unique(_normalized(pq.read_table(data / "keyphrases.parquet", columns=["keyphrase"])["keyphrase"]))
    if quick:
        learned, tested = learned.slice(0, 100), tested.slice(0, 100)
        texts = pc.unique(pa.concat_arrays([texts.slice(0, 1_000), labels["keyphrase"].combine_chunks()]))
    # The assistant's pairs are few here, and people's grades besides: what it says of lists counts in full.
    recipe = StudentRecipe(seed=seed, epochs=0.1 if quick else 2, weights={**StudentRecipe().weights, "assistant": 1.0})
    mined = folder / "pairs.parquet"
    if not mined.exists():
        # A query of the test split is nobody's example, not even as a negative.
        seen = texts.filter(pc.invert(pc.is_in(texts, value_set=pc.unique(unseen["keyphrase"]))))
        mining = replace(_ESCI_MINING, seed=seed)
        pq.write_table(mine(Student.load(recipe.base), learned, pa.table({"keyphrase": seen}), mining).pairs, mined)
    pairs = pq.read_table(mined)
    listed, near = (pairs.filter(pc.equal(pairs["stratum"], name)) for name in ("listed", "near_miss"))
    search = _word_share(listed)
    to_score = folder / "listed.parquet"
    pq.write_table(listed, to_score)
    assistant_recipe = AssistantRecipe(seed=seed, epochs=0.2 if quick else 1)
    assistant, scores, seconds = _assistant(
        judgments, learned, [to_score], folder, assistant_recipe, _word_share(pairs)
    )
    clicks = judgments.filter(judgments["label"]).select(["item_id", "keyphrase"])
    return Task(
        data=student_data(
            learned,
            clicks=clicks.append_column("positive", pa.array(np.ones(len(clicks), dtype=bool))),
            search_relevance=search,
            judgments=judgments,
            assistant=scores,
            near_misses=near,
            verdicts=Verdicts.of(assistant_metrics(folder / "assistant")),
            held_out=0,
            searched_per_item=1,
            seed=seed,
        ),
        recipe=recipe,
        items=tested,
        inventory=pa.table({"keyphrase": texts}),
        labels=labels,
        judge=LabelJudge(labels, name="ESCI"),
        assistant=assistant,
        assistant_seconds=seconds,
        measures=("recall@10", "recall@50", "auc", "auc_per_keyphrase", "pair_ndcg@10"),
        cutoffs=(10, 50),
        graded=True,
    )


def _assistant(
    judgments: pa.Table,
    items: pa.Table,
    to_score: Sequence[Path],
    folder: Path,
    recipe: AssistantRecipe,
    search: pa.Table | None = None,
) -> tuple[Assistant, pa.Table, float]:
    """An assistant that learned the judgments (after the search engine's scores, where given), and its own scores."""
    began = time.monotonic()
    out, scores = folder / "assistant", folder / "scores.parquet"
    if not out.exists():
        pairs, _ = judged_pairs(judgments, items)
        warm_up = None
        if search is not None:
            some = np.random.default_rng(recipe.seed).permutation(len(search))[:_WARM_UP_PAIRS]
            probable = search.take(pa.array(np.sort(some)))
            probable = probable.append_column("label", probable["passed"]).append_column(
                "probability", probable["score"]
            )
            warm_up, _ = judged_pairs(probable, items)
        train_assistant(pairs, out, recipe, warm_up=warm_up)
    assistant = Assistant.load(str(out), bf16=uses_bf16("auto"))
    if not scores.exists():
        score_pairs(assistant, to_score, scores)
    with RejectLog() as rejects:
        return assistant, load_scores([scores], rejects), time.monotonic() - began


def _simulated_inventory(market: Path) -> pa.Table:
    table = pq.read_table(market / "inventory.parquet", columns=["keyphrase", "category_path", "site"])
    return pa.table(
        {
            "keyphrase": _normalized(table["keyphrase"]),
            "category_ids": table["category_path"],
            "site": table["site"],
        }
    )


def _esci_items(table: pa.Table) -> pa.Table:
    """Each item once, without a site."""
    names = table.column_names
    once = table.group_by("item_id", use_threads=False).aggregate([(name, "first") for name in names[1:]])
    # Text in one type: what wrote the files may have chosen large strings.
    schema = pa.schema([(name, pa.string()) for name in names])
    return once.rename_columns(names).cast(schema).append_column("site", pa.nulls(len(once), pa.string()))


def _judgments(table: pa.Table) -> pa.Table:
    letters = table["label"].to_pylist()
    return pa.table(
        {
            "item_id": table["item_id"].cast(pa.string()),
            "keyphrase": _normalized(table["query"]),
            "site": pa.nulls(len(table), pa.string()),
            "label": pa.array([letter == "E" for letter in letters]),
            "probability": pa.nulls(len(table), pa.float32()),
            "grade": pa.array([_GRADES[letter] for letter in letters], pa.int8()),
        }
    )


def _held_out_queries(known: Sequence[pa.Table], seed: int) -> tuple[pa.Table, list[pa.Table]]:
    """The judgments of some queries, and all others; queries with many judgments and with few are drawn apart."""
    rng = np.random.default_rng(seed)
    held: list[pa.Array] = []
    for table, wanted in zip(known, (_VALIDATION_QUERIES, _VALIDATION_SHARE), strict=True):
        queries = np.unique(np.array(table["keyphrase"].to_pylist(), dtype=object))
        count = round(wanted * len(queries)) if isinstance(wanted, float) else wanted
        held.append(pa.array(rng.permutation(queries)[:count].tolist(), pa.string()))
    names = pa.concat_arrays(held)
    is_held = [pc.is_in(table["keyphrase"], value_set=names) for table in known]
    labels = pa.concat_tables(table.filter(flags) for table, flags in zip(known, is_held, strict=True))
    return labels, [table.filter(pc.invert(flags)) for table, flags in zip(known, is_held, strict=True)]


def _normalized(texts: pa.ChunkedArray) -> pa.ChunkedArray:
    return pa.chunked_array([[normalize_keyphrase(text) for text in texts.to_pylist()]], pa.string())


def _word_share(pairs: pa.Table) -> pa.Table:
    """In place of a search engine's score: of a keyphrase's words, the share that title and category have.

    A word weighs its inverse document frequency over the titles (Spärck Jones, 1972).
    """
    texts = [
        f"{title} {category or ''}"
        for title, category in zip(pairs["title"].to_pylist(), pairs["category_path"].to_pylist(), strict=True)
    ]
    words_of = {text: frozenset(_words(text)) for text in texts}
    seen = Counter(word for words in words_of.values() for word in words)

    def share(text: str, keyphrase: str) -> float:
        weights = {word: math.log(1 + len(words_of) / (1 + seen[word])) for word in _words(keyphrase)}
        whole = sum(weights.values())
        return sum(weight for word, weight in weights.items() if word in words_of[text]) / whole if whole else 0.0

    scores = [share(text, keyphrase) for text, keyphrase in zip(texts, pairs["keyphrase"].to_pylist(), strict=True)]
    return (
        pairs.select(["item_id", "keyphrase", "site"])
        .add_column(2, "score", pa.array(scores, pa.float32()))
        .append_column("passed", pa.array(np.array(scores) >= _PASSES))
    )


def _words(text: str) -> list[str]:
    return [word.removesuffix("s") if len(word) > 3 else word for word in re.findall(r"[a-z0-9]+", text.lower())]
