"""What a new state of the inventory costs, against building the collection again.

    python -m benchmarks.sync [--keyphrases N] [--student FOLDER] [--url URL] [--quick] [--json FILE]

The product's own commands, on the embedded engine or on a server (`--url`), each in a process of its own, the start of
Python included: a first reindex; syncs of the same file, of the same rows in another order, and of 1% new, 1% changed
and 1% removed rows; a rebuild in which nothing changed. Peer: `reindex` without the vectors of before
(`KEYDISTILL_REUSE_VECTORS=false`).

Without --student a tiny one of random weights embeds, far faster than any real one: what a sync saves in embedding
is not counted then, and the ratios are the least that can be expected.
"""

import json
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from benchmarks import engines, report
from benchmarks.command import keydistill
from tests.support.tiny_models import make_tiny_student


def main() -> None:
    """Simulate, build, sync, build again."""
    parser = report.options(__doc__.partition("\n")[0])
    parser.add_argument("--keyphrases", type=int, default=1_000_000)
    parser.add_argument("--student", type=Path, metavar="FOLDER")
    engines.add_options(parser)
    arguments = parser.parse_args()
    count = 5_000 if arguments.quick else arguments.keyphrases
    before = report.machine()
    with tempfile.TemporaryDirectory() as scratch, engines.on_engine(arguments.engine, arguments.url):
        folder = Path(scratch)
        student = arguments.student or make_tiny_student(folder / "student")
        figures = measure(folder, student, count)
    first = figures["steps"]["first reindex"]
    report.table(
        ("step", "seconds", "of the first reindex", "what changed"),
        [
            (name, f"{step['seconds']:.1f}", f"{step['seconds'] / first['seconds']:.1%}", step["changes"])
            for name, step in figures["steps"].items()
        ],
    )
    report.write(arguments.json, figures, before)


def measure(folder: Path, student: Path, count: int) -> dict[str, Any]:
    """Seconds of each step, and what it said it changed."""
    market = folder / "marketplace"
    _keydistill(folder, student, "simulate", market, "--items", "2000", "--keyphrases", count, "--seed", "0")
    inventory = market / "inventory.parquet"
    rows = pq.read_table(inventory)
    shuffled, changed = folder / "shuffled.parquet", folder / "changed.parquet"
    chance = np.random.default_rng(0)
    pq.write_table(rows.take(pa.array(chance.permutation(len(rows)))), shuffled)
    pq.write_table(_changed(rows), changed)
    steps: dict[str, Any] = {}
    for name, arguments, environment in [
        ("first reindex", ("reindex", inventory), {}),
        ("sync, the same file", ("sync", inventory), {}),
        ("sync, the same rows in another order", ("sync", shuffled), {}),
        ("sync, 1% new, 1% changed, 1% removed", ("sync", changed), {}),
        ("sync back", ("sync", inventory), {}),
        ("reindex, nothing changed", ("reindex", inventory), {}),
        ("reindex without the vectors of before", ("reindex", inventory), {"KEYDISTILL_REUSE_VECTORS": "false"}),
    ]:
        began = time.perf_counter()
        run = json.loads(_keydistill(folder, student, *arguments, "--json", **environment))
        steps[name] = {
            "seconds": time.perf_counter() - began,
            "timings": run["timings"],
            "changes": ", ".join(
                f"{value:,} {what}" for each in run.get("changes", {}).values() for what, value in each.items()
            )
            or ("nothing" if run["kind"] == "sync" else f"{run['rows']:,} keyphrases"),
        }
    return {"keyphrases": count, "steps": steps}


def _changed(rows: pa.Table) -> pa.Table:
    """1% of the rows under new texts, 1% with another volume, 1% gone."""
    hundredth = len(rows) // 100
    new = rows.slice(0, hundredth).to_pylist()
    for row in new:
        row["keyphrase"] += " zzz"
    other = rows.slice(hundredth, hundredth).to_pylist()
    for row in other:
        row["search_volume"] = (row["search_volume"] or 0) + 1
    kept = rows.slice(3 * hundredth)
    first = rows.slice(0, hundredth)
    return pa.concat_tables([first, pa.Table.from_pylist([*new, *other], schema=rows.schema), kept])


def _keydistill(folder: Path, student: Path, *arguments: object, **environment: str) -> str:
    return keydistill(
        *arguments,
        KEYDISTILL_HOME=str(folder / "home"),
        KEYDISTILL_STUDENT=str(student),
        # Vectors of random weights lie closer together than an index of many of them can tell.
        KEYDISTILL_GATE_MIN_RECALL="0",
        **environment,
    )


if __name__ == "__main__":
    main()
