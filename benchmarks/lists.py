"""The options of lists: what each does to the answers, and what it costs.

    python -m benchmarks.lists [--demo HOME] [--only OPTION ...] [--quick] [--json FILE]

A simulated marketplace, whose truth is known, is asked for the lists of its items. With --demo the home is one that
`keydistill demo` left: its distilled student is live, and its assistant reranks. Without it, a marketplace is made and
built by the base student, and there is no assistant.

Of every option: precision@10, recall@10 and nDCG@10 by the truth, the share of a list that is no variant of a keyphrase
before it, the mean similarity of two keyphrases of a list, the mean of log10(1 + search volume), and the time of one
item, embedding included, as a ratio to that without options, all of them asked in turn. With `exclude 3` the first
three of the list without options are excluded, as if they were bid on: the truth counts them no more.
"""

import statistics
import tempfile
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq

from benchmarks import report
from benchmarks.command import keydistill
from keydistill.retrieval import (
    Generation,
    Item,
    ListOptions,
    MatchCategory,
    Recommendation,
    Reranker,
    item_filter,
    reranker_of,
)
from keydistill.retrieval.lists.variants import groups_of_variants, variant_keys
from keydistill.settings import load_settings
from keydistill.simulation import read_truth, score
from keydistill.vectorstore import open_engine

_LIMIT = 10
_ITEMS = 300
_TIMED = 50
_REPEATS = 3
_OPTIONS: dict[str, ListOptions | None] = {
    "none": None,
    "min_score 0.6": ListOptions(min_score=0.6),
    "merge_variants": ListOptions(merge_variants=True),
    "volume_weight 0.03": ListOptions(volume_weight=0.03),
    "volume_weight 0.1": ListOptions(volume_weight=0.1),
    "diversity 0.1": ListOptions(diversity=0.1),
    "diversity 0.3": ListOptions(diversity=0.3),
    "the same, candidates 200": ListOptions(diversity=0.3, candidates=200),
    "exclude 3": ListOptions(),
    "fallback 10 (leaf)": ListOptions(fallback=10),
    "leaf only": None,
    "rerank 20": ListOptions(rerank=20),
    "rerank 50": ListOptions(rerank=50),
    "explain": ListOptions(explain=True),
}
_EXCLUDED = {"exclude 3": 3}
_OF_LEAF = ("fallback 10 (leaf)", "leaf only")


def main() -> None:
    """Build or open, ask, judge."""
    parser = report.options(__doc__.partition("\n")[0])
    parser.add_argument("--demo", type=Path, metavar="HOME", help="the home that `keydistill demo` left")
    parser.add_argument("--only", nargs="+", metavar="OPTION", choices=_OPTIONS, help="these options, beside none")
    arguments = parser.parse_args()
    before = report.machine()
    with tempfile.TemporaryDirectory() as scratch:
        home = arguments.demo or _built(Path(scratch), 2_000 if arguments.quick else 20_000)
        count = 50 if arguments.quick else _ITEMS
        options = {name: _OPTIONS[name] for name in ("none", *arguments.only)} if arguments.only else _OPTIONS
        figures = _measured(home, home / "marketplace", count, options, has_assistant=arguments.demo is not None)
    _print(figures)
    report.write(arguments.json, figures, before)


def _built(home: Path, keyphrases: int) -> Path:
    market = home / "marketplace"
    keydistill("simulate", market, "--items", 2_000, "--keyphrases", keyphrases, "--seed", 0)
    keydistill("--home", home, "reindex", market / "inventory.parquet", KEYDISTILL_RUNTIME="auto")
    return home


def _measured(
    home: Path, market: Path, count: int, options: Mapping[str, ListOptions | None], *, has_assistant: bool
) -> dict[str, Any]:
    settings = load_settings(home=home, runtime="auto", assistant="promoted" if has_assistant else None)
    rows = pq.read_table(market / "items.parquet", columns=["item_id", "title", "category_path", "site"]).to_pylist()
    items = [Item(row["item_id"], row["title"], row["category_path"], row["site"]) for row in rows[:count]]
    truth = read_truth(market / "truth.parquet")
    engine = open_engine(settings)
    try:
        generation = Generation.live(settings, engine)
        reranker = reranker_of(settings) if has_assistant else None
        options = {
            name: choice
            for name, choice in options.items()
            if choice is None or not choice.rerank or reranker is not None
        }
        times = _times(generation, items[:_TIMED], options, reranker)
        nearest = _asked(generation, items, "none", None, reranker)
        baseline = statistics.median(times["none"])
        return {
            "collection": generation.collection,
            "items": len(items),
            "points": engine.count(generation.collection),
            "options": {
                name: {
                    **_quality(
                        generation,
                        items,
                        _asked(generation, items, name, choice, reranker, excluded := _excluded(name, nearest)),
                        [truth.get(item.item_id, set()) - own for item, own in zip(items, excluded, strict=True)],
                    ),
                    "milliseconds": report.spread(times[name]),
                    "times none": statistics.median(times[name]) / baseline,
                }
                for name, choice in options.items()
            },
        }
    finally:
        engine.close()


def _excluded(name: str, nearest: Sequence[Sequence[Recommendation]]) -> list[set[str]]:
    return [{one.keyphrase for one in own[: _EXCLUDED.get(name, 0)]} for own in nearest]


def _asked(
    generation: Generation,
    items: Sequence[Item],
    name: str,
    options: ListOptions | None,
    reranker: Reranker | None,
    excluded: Sequence[set[str]] = (),
) -> list[list[Recommendation]]:
    match: MatchCategory = "leaf" if name in _OF_LEAF else "none"
    return generation.recommend(
        [item.title for item in items],
        _LIMIT,
        [item_filter(item, match_category=match) for item in items],
        categories=[item.category for item in items],
        options=options,
        excluded=excluded if any(excluded) else None,
        reranker=reranker,
    )


def _times(
    generation: Generation,
    items: Sequence[Item],
    options: Mapping[str, ListOptions | None],
    reranker: Reranker | None,
) -> dict[str, list[float]]:
    """Median milliseconds of one item, of each repeat; an item's options in turn, so that a busy machine slows all."""
    times: dict[str, list[float]] = {name: [] for name in options}
    nearest = _asked(generation, items, "none", None, reranker)
    excluded = {name: _excluded(name, nearest) for name in options}
    for _ in range(_REPEATS):
        took: dict[str, list[float]] = {name: [] for name in options}
        for place, item in enumerate(items):
            for name, choice in options.items():
                began = time.perf_counter()
                _asked(generation, [item], name, choice, reranker, [excluded[name][place]])
                took[name].append(1_000 * (time.perf_counter() - began))
        for name, milliseconds in took.items():
            times[name].append(statistics.median(milliseconds))
    return times


def _quality(
    generation: Generation,
    items: Sequence[Item],
    lists: Sequence[Sequence[Recommendation]],
    relevant: Sequence[set[str]],
) -> dict[str, float]:
    texts = sorted({one.keyphrase for recommendations in lists for one in recommendations})
    place_of = {text: place for place, text in enumerate(texts)}
    vectors = generation.student.embed_keyphrases(texts)
    distinct, alike, volumes = [], [], []
    for recommendations in lists:
        keyphrases = [one.keyphrase for one in recommendations]
        if len(keyphrases) > 1:
            distinct.append(len(groups_of_variants([variant_keys(text) for text in keyphrases])) / len(keyphrases))
            rows = vectors[[place_of[text] for text in keyphrases]]
            similarities = rows @ rows.T
            alike.append(float(similarities[np.triu_indices(len(rows), 1)].mean()))
        volumes += [np.log10(1 + (one.payload.get("search_volume") or 0)) for one in recommendations]
    found = {item.item_id: [one.keyphrase for one in own] for item, own in zip(items, lists, strict=True)}
    scores = score(dict(zip(found, relevant, strict=True)), found, _LIMIT)
    gains = [_ndcg(found[item.item_id], own) for item, own in zip(items, relevant, strict=True) if own]
    return {
        "length": statistics.mean(map(len, lists)),
        "precision@10": scores.precision,
        "recall@10": scores.recall,
        "nDCG@10": statistics.mean(gains),
        "distinct": statistics.mean(distinct),
        "similarity": statistics.mean(alike),
        "log10 volume": float(np.mean(volumes)),
    }


def _ndcg(keyphrases: Sequence[str], relevant: set[str]) -> float:
    discounts = 1 / np.log2(np.arange(2, _LIMIT + 2))
    gain = sum(discounts[rank] for rank, keyphrase in enumerate(keyphrases[:_LIMIT]) if keyphrase in relevant)
    return float(gain / discounts[: len(relevant)].sum())


def _print(figures: Mapping[str, Any]) -> None:
    print(f"{figures['items']} items, {figures['points']:,} keyphrases, {figures['collection']}")
    report.table(
        (
            "option",
            "length",
            "precision@10",
            "recall@10",
            "nDCG@10",
            "distinct",
            "similarity",
            "log10 volume",
            "ms",
            "times none",
        ),
        [
            (
                name,
                f"{row['length']:.1f}",
                f"{row['precision@10']:.3f}",
                f"{row['recall@10']:.3f}",
                f"{row['nDCG@10']:.3f}",
                f"{row['distinct']:.3f}",
                f"{row['similarity']:.3f}",
                f"{row['log10 volume']:.2f}",
                f"{row['milliseconds']['median']:.1f}",
                f"{row['times none']:.2f}",
            )
            for name, row in figures["options"].items()
        ],
    )


if __name__ == "__main__":
    main()
