"""Recall of the untrained student on real judged queries, through the index and by brute force.

    python -m benchmarks.esci --data FOLDER [--quick] [--json FILE]

FOLDER holds a part of Amazon's Shopping Queries data set (ESCI, https://github.com/amazon-science/esci-data) as
Parquet: `keyphrases` (keyphrase, category_path), `items` (item_id, title), `judgments` (query, item_id, label, split).
An item's keyphrases are retrieved out of the whole inventory, without a filter. recall@k is the share of the test
split's judged E pairs (item, query) in which the query is among the item's first k.

The index answers through the product's own commands: `reindex`, then `recommend`. The peer is numpy: the same vectors,
all compared.
"""

import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from benchmarks import report
from keydistill.execution import Reindexer
from keydistill.retrieval import BatchRequest, Retriever, recommend_file
from keydistill.settings import load_settings
from keydistill.tables import normalize_keyphrase
from keydistill.vectorstore.factory import open_engine

_CUTOFFS = (10, 50)
_QUICK_KEYPHRASES = 4_000


def main() -> None:
    """Build, recommend, compare."""
    parser = report.options(__doc__.partition("\n")[0])
    parser.add_argument("--data", type=Path, required=True, help="folder of the Parquet files")
    arguments = parser.parse_args()
    before = report.machine()
    with tempfile.TemporaryDirectory() as folder:
        figures = run(arguments.data, Path(folder), quick=arguments.quick)
    report.table(
        ("retrieval", *(f"recall@{k}" for k in _CUTOFFS), "seconds"),
        [
            (name, *(f"{figures[name][f'recall@{k}']:.4f}" for k in _CUTOFFS), f"{figures[name]['seconds']:.1f}")
            for name in ("index", "brute force")
        ],
    )
    print(f"{figures['pairs']:,} judged pairs, {figures['items']:,} items, {figures['keyphrases']:,} keyphrases")
    report.write(arguments.json, figures, before)


def run(data: Path, folder: Path, *, quick: bool) -> dict[str, Any]:
    """The figures of both ways."""
    judged = pq.read_table(data / "judgments.parquet")
    judged = judged.filter(pc.and_(pc.equal(judged["label"], "E"), pc.equal(judged["split"], "test")))
    pairs = [
        (item_id, normalize_keyphrase(query))
        for item_id, query in zip(judged["item_id"].to_pylist(), judged["query"].to_pylist(), strict=True)
    ]
    wanted = pa.array(sorted({item_id for item_id, _ in pairs}))
    items = pq.read_table(data / "items.parquet", columns=["item_id", "title"])
    items = items.filter(pc.is_in(items["item_id"], wanted.cast(items.schema.field("item_id").type)))
    pq.write_table(items, folder / "items.parquet")
    inventory = _inventory(data / "keyphrases.parquet", {query for _, query in pairs} if quick else None)
    pq.write_table(inventory, folder / "inventory.parquet")

    settings = load_settings(home=folder / "home")
    engine = open_engine(settings)
    try:
        built = Reindexer(settings, engine).start([folder / "inventory.parquet"])
        retriever = Retriever.open(settings, engine)
        began = time.perf_counter()
        request = BatchRequest(limit=max(_CUTOFFS))
        recommend_file(settings, engine, [folder / "items.parquet"], folder / "found.parquet", request)
        index_seconds = time.perf_counter() - began
    finally:
        engine.close()
    found = _ranks(folder / "found.parquet")

    student = retriever.student
    keyphrases = sorted({normalize_keyphrase(text) for text in inventory["keyphrase"].to_pylist()})
    vectors = student.embed_keyphrases(keyphrases)
    began = time.perf_counter()
    scores = student.embed_items(items["title"].to_pylist()) @ vectors.T
    nearest = np.argsort(-scores, axis=1)[:, : max(_CUTOFFS)]
    exact_seconds = time.perf_counter() - began
    exact = {
        (item_id, keyphrases[index]): rank
        for item_id, row in zip(items["item_id"].to_pylist(), nearest, strict=True)
        for rank, index in enumerate(row, start=1)
    }
    return {
        "pairs": len(pairs),
        "items": len(items),
        "keyphrases": built.rows,
        "student": student.version,
        "index": {**_recall(pairs, found), "seconds": index_seconds},
        "brute force": {**_recall(pairs, exact), "seconds": exact_seconds},
        "build_seconds": built.timings,
    }


def _inventory(path: Path, keep: set[str] | None) -> pa.Table:
    """All of it, or some thousand keyphrases with those to keep among them."""
    table = pq.read_table(path)
    if keep is None:
        return table
    kept = pc.is_in(table["keyphrase"], pa.array(sorted(keep)).cast(table.schema.field("keyphrase").type))
    return pa.concat_tables([table.filter(kept), table.filter(pc.invert(kept)).slice(0, _QUICK_KEYPHRASES)])


def _ranks(path: Path) -> dict[tuple[str, str], int]:
    found = pq.read_table(path, columns=["item_id", "keyphrase", "rank"])
    columns = [found[name].to_pylist() for name in ("item_id", "keyphrase", "rank")]
    return {(item_id, keyphrase): rank for item_id, keyphrase, rank in zip(*columns, strict=True)}


def _recall(pairs: list[tuple[str, str]], ranks: dict[tuple[str, str], int]) -> dict[str, float]:
    return {f"recall@{k}": sum(ranks.get(pair, k + 1) <= k for pair in pairs) / len(pairs) for k in _CUTOFFS}


if __name__ == "__main__":
    main()
