"""The data of the ablation: signals, mined pairs, the assistant and its scores, ready for every student."""

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from keydistill.distillation.assistant import (
    AssistantRecipe,
    LabelledPairs,
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

# Of a marketplace's items, the share that nothing is learned of: a student must know what to do with a new listing.
_UNSEEN = 0.3


@dataclass(frozen=True, slots=True)
class Task:
    """What students learn from and are measured on.

    Attributes:
        data_of: Function that makes the pairs of every kind, the judge's opinion by way of the assistant: of a share of
            its scores, of the mean of so many assistants, and of what is mined otherwise than by default.
        judged: Pairs of every kind, the judge's own labels in place of an assistant.
        recipe: Of the full student.
        items: To recommend for.
        inventory: To recommend from.
        labels: What is right.
        judge: Decides by them.
        assistant: Trained on what the judge says.
        assistant_seconds: What its training and the scoring took.
        measures: Columns of the table; the first one decides.
        cutoffs: Of the lists.
    """

    data_of: Callable[[float, int, Mapping[str, Any]], StudentData]
    judged: StudentData
    recipe: StudentRecipe
    items: pa.Table
    inventory: pa.Table
    labels: pa.Table
    judge: LabelJudge
    assistant: Assistant
    assistant_seconds: float
    measures: tuple[str, ...]
    cutoffs: tuple[int, ...]


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

    def mined_by(otherwise: Mapping[str, Any]) -> Path:
        mining = MiningRecipe(seed=seed, **otherwise)
        name = "-".join(["pairs", *(f"{key}-{value}" for key, value in otherwise.items())])
        path = folder / f"{name}.parquet"
        if not path.exists():
            base = Student.load(recipe.base)
            pairs = mine(base, learned, inventory, mining, clicks=clicks, search_relevance=search).pairs
            pq.write_table(pairs, path)
        return path

    mined = mined_by({})
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
    judged, _ = judged_pairs(judgments, learned)
    assistant, _, seconds = _assistant(judged, mined, folder, assistant_recipe)

    def data_of(share: float, assistants: int, otherwise: Mapping[str, Any]) -> StudentData:
        pairs = mined_by(otherwise)
        several = []
        for number in range(assistants):
            of_number = folder / f"assistant-{number}" if number else folder
            another = replace(assistant_recipe, seed=seed + 100 * number)
            several.append(_assistant(judged, pairs, of_number, another)[1])
        scores = several[0]
        means = pa.array(np.mean([each["score"].to_numpy() for each in several], axis=0), pa.float32())
        chosen = np.random.default_rng(seed).random(len(scores)) < share
        averaged = scores.set_column(scores.column_names.index("score"), "score", means).filter(pa.array(chosen))
        return student_data(learned, clicks=clicks, search_relevance=search, assistant=averaged, seed=seed)

    truth = pq.read_table(market / "truth.parquet", columns=["item_id", "keyphrase"])
    labels = pa.table(
        {
            "item_id": truth["item_id"],
            "keyphrase": _normalized(truth["keyphrase"]),
            "label": pa.array(np.ones(len(truth), dtype=bool)),
        }
    )
    return Task(
        data_of=data_of,
        judged=student_data(learned, clicks=clicks, search_relevance=search, judgments=judgments, seed=seed),
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


def _assistant(
    pairs: LabelledPairs,
    to_score: Path,
    folder: Path,
    recipe: AssistantRecipe,
) -> tuple[Assistant, pa.Table, float]:
    """An assistant that learned the judgments, and its own scores."""
    began = time.monotonic()
    out, scores = folder / "assistant", folder / f"scores-of-{to_score.name}"
    if not out.exists():
        folder.mkdir(exist_ok=True)
        train_assistant(pairs, out, recipe)
    assistant = Assistant.load(str(out), bf16=uses_bf16("auto"))
    if not scores.exists():
        score_pairs(assistant, [to_score], scores)
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


def _normalized(texts: pa.ChunkedArray) -> pa.ChunkedArray:
    return pa.chunked_array([[normalize_keyphrase(text) for text in texts.to_pylist()]], pa.string())
