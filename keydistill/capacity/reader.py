"""A reader of a trial, whose memory and times are printed as JSON.

    python -m keydistill.capacity.reader ROOT NAME QUERIES

It is a process of its own, because what another has in memory already would hide what a reader needs.
"""

import json
import sys
import time
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np

from keydistill.capacity.parts import resident_of
from keydistill.settings import Settings
from keydistill.vectorstore import SearchParams, keyphrase_filter, open_engine

_SAMPLE = 500
_LIMIT = 10


def read(root: Path, name: str, queries: int, *, ef: int = 128, oversampling: float = 2.0) -> dict[str, Any]:
    """Open a collection, query it, and say what is resident then and how long a query took."""
    root = root.absolute()
    engine = open_engine(Settings(home=root, engine="embedded"))
    base = resident_of(root)["own"]
    dice = np.random.default_rng(0)
    records = list(islice(engine.scroll(name, with_vectors=True), _SAMPLE))
    params = SearchParams(ef=ef, oversampling=oversampling)
    seconds = []
    for _ in range(queries):
        record = records[dice.integers(len(records))]
        vector = np.asarray(record.vector, dtype=np.float32)
        # Near a stored vector, as a title is near some keyphrases, but none of them.
        vector = vector + 0.5 * dice.standard_normal(len(vector), dtype=np.float32) / np.sqrt(len(vector))
        filter = keyphrase_filter(category=next(iter(record.payload.get("category_ids", ())), None))
        began = time.perf_counter()
        engine.query(name, vector / np.linalg.norm(vector), _LIMIT, filter, params)
        seconds.append(time.perf_counter() - began)
    resident = resident_of(root)
    engine.close()
    p50, p99 = np.percentile(seconds, [50, 99]) * 1_000
    return {"base": base, "resident": dict(resident), "p50_ms": float(p50), "p99_ms": float(p99)}


if __name__ == "__main__":
    print(json.dumps(read(Path(sys.argv[1]), sys.argv[2], int(sys.argv[3]))))  # noqa: T201  # its output
