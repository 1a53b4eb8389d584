"""Recall and size of each quantization, on real keyphrases asked for by real titles.

    python -m benchmarks.quantization ESCI [--keyphrases N] [--items N] [--dimension D ...] [--json FILE]

ESCI is a folder with keyphrases.parquet and items.parquet. The keyphrases are embedded once and stored, by the
product's engine, with each quantization. Each collection is asked for the ten nearest of every title, with several
oversamplings, and compared with an exact search over the original vectors.
"""

import tempfile
import time
from pathlib import Path
from typing import Any
from uuid import UUID

import numpy as np
import pyarrow.parquet as pq

from benchmarks import report
from keydistill.capacity.parts import disk_of
from keydistill.encoders import student_of
from keydistill.settings import QUANTIZATIONS, load_settings
from keydistill.vectorstore import CollectionSpec, Engine, PointBatch, SearchParams, Vectors, open_engine

_LIMIT = 10
_OVERSAMPLING = (1.0, 2.0, 4.0, 8.0)


def main() -> None:
    """Embed, store, ask."""
    parser = report.options(__doc__.partition("\n")[0])
    parser.add_argument("esci", type=Path, metavar="ESCI")
    parser.add_argument("--keyphrases", type=int, help="the first so many; else all")
    parser.add_argument("--items", type=int, default=1_000)
    parser.add_argument("--dimension", type=int, nargs="+", default=[384, 192])
    arguments = parser.parse_args()
    before = report.machine()
    texts = pq.read_table(arguments.esci / "keyphrases.parquet")["keyphrase"].to_pylist()[: arguments.keyphrases]
    titles = pq.read_table(arguments.esci / "items.parquet")["title"].to_pylist()[: arguments.items]
    if arguments.quick:
        texts, titles, arguments.dimension = texts[:1_000], titles[:50], [64]
    student = student_of(load_settings())
    keyphrases, items = student.embed_keyphrases(texts), student.embed_items(titles)
    rows = []
    with tempfile.TemporaryDirectory() as folder:
        engine = open_engine(load_settings(home=Path(folder), engine="embedded"))
        for dimension in arguments.dimension:
            points, queries = _cut(keyphrases, dimension), _cut(items, dimension)
            nearest = np.argsort(-(queries @ points.T), axis=1)[:, :_LIMIT]
            for quantization in QUANTIZATIONS:
                name = f"{quantization}-{dimension}"
                engine.create(name, CollectionSpec(dimension, quantization=quantization), {})
                for start in range(0, len(points), 1_000):
                    some = points[start : start + 1_000]
                    ids = [str(UUID(int=start + place + 1)) for place in range(len(some))]
                    engine.upsert(name, PointBatch(ids, some, [{} for _ in ids]))
                engine.finish(name)
                stored = disk_of(Path(folder) / "collections" / name)["quantized"] / len(points)
                for oversampling in _OVERSAMPLING if quantization != "none" else (1.0,):
                    recall, p50 = _ask(engine, name, queries, nearest, oversampling)
                    rows.append(
                        {
                            "dimension": dimension,
                            "quantization": quantization,
                            "oversampling": oversampling,
                            "recall": recall,
                            "p50_ms": p50,
                            "bytes_per_keyphrase": stored,
                        }
                    )
        engine.close()
    report.table(
        ("dimension", "quantization", "bytes per keyphrase", "oversampling", "recall@10", "p50 ms"),
        [
            (
                row["dimension"],
                row["quantization"],
                f"{row['bytes_per_keyphrase']:.0f}",
                f"{row['oversampling']:.0f}",
                f"{row['recall']:.3f}",
                f"{row['p50_ms']:.2f}",
            )
            for row in rows
        ],
    )
    figures: dict[str, Any] = {"keyphrases": len(texts), "items": len(titles), "student": student.version, "rows": rows}
    report.write(arguments.json, figures, before)


def _cut(vectors: Vectors, dimension: int) -> Vectors:
    cut = vectors[:, :dimension]
    normalised: Vectors = np.ascontiguousarray(cut / np.linalg.norm(cut, axis=1, keepdims=True), dtype=np.float32)
    return normalised


def _ask(engine: Engine, name: str, queries: Vectors, nearest: Any, oversampling: float) -> tuple[float, float]:
    """Recall against the exact answer, and the median time in milliseconds."""
    params = SearchParams(ef=128, oversampling=oversampling)
    shares, seconds = [], []
    for query, expected in zip(queries, nearest, strict=True):
        began = time.perf_counter()
        hits = engine.query(name, query, _LIMIT, None, params)
        seconds.append(time.perf_counter() - began)
        shares.append(len({UUID(hit.id).int - 1 for hit in hits} & set(expected.tolist())) / _LIMIT)
    return float(np.mean(shares)), float(np.median(seconds) * 1_000)


if __name__ == "__main__":
    main()
