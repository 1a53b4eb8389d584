"""A reader of the live collection: `python -m benchmarks.plan_reader HOME QUERIES` prints its memory as JSON."""

import json
import sys
from pathlib import Path

import numpy as np

from keydistill.settings import load_settings
from keydistill.vectorstore import keyphrase_filter, open_engine, search_params_of


def main() -> None:
    """Open, query, and say what is resident before and after."""
    settings = load_settings(home=Path(sys.argv[1]))
    queries = int(sys.argv[2])
    engine = open_engine(settings)
    before = resident()
    name = engine.aliases()[settings.alias]
    dimension = engine.info(name).dimension
    opened = resident()
    dice = np.random.default_rng(0)
    records = []
    for record in engine.scroll(name, with_vectors=True):
        records.append(record)
        if len(records) == 500:
            break
    params = search_params_of(settings)
    for _ in range(queries):
        record = records[dice.integers(len(records))]
        vector = np.asarray(record.vector, dtype=np.float32) + dice.normal(0, 0.05, dimension).astype(np.float32)
        categories = record.payload.get("category_ids") or [None]
        engine.query(name, vector / np.linalg.norm(vector), 10, keyphrase_filter(category=categories[0]), params)
    after = resident()
    engine.close()
    print(json.dumps({"before": before, "opened": opened, "after": after}))


def resident() -> dict[str, int]:
    """Bytes of this process that are in memory: its own, and pages of files."""
    status = dict(line.split(":", 1) for line in Path("/proc/self/status").read_text().splitlines() if ":" in line)
    return {name: int(status[name].split()[0]) * 1024 for name in ("RssAnon", "RssFile")}


if __name__ == "__main__":
    main()
