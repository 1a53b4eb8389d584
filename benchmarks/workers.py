"""Keyphrases per second of Celery workers that embed, by their number.

    python -m benchmarks.workers [--keyphrases N] [--workers N] [--repeats N] [--quick] [--json FILE]

Workers of one thread each, the base student, Redis, and the REST front of the tests in place of a Qdrant server, all of
them processes of their own. What is measured is from the moment a run begins to embed until the last of its parts is
done, upserts among it. In every repeat each number of workers has its turn, after a small run for which all of them
have loaded the student. No run goes live, and none takes over vectors of another one.

Beyond the cores of the machine there is nothing to gain: redis, front and control worker need theirs, too.
"""

import os
import tempfile
import time
from pathlib import Path
from typing import Any

from benchmarks import report
from keydistill.encoders import find_model
from keydistill.execution import ReindexOrder, order_reindex
from keydistill.workers import sender
from tests.support.cluster import Cluster, Member
from tests.support.inventories import write_inventory

_PARTS = 16
_WARM_UP_ROWS = 160


def main() -> None:
    """Build with one worker, with two, and so on."""
    parser = report.options(__doc__.partition("\n")[0])
    parser.add_argument("--keyphrases", type=int, default=4_000)
    parser.add_argument("--workers", type=int, default=len(os.sched_getaffinity(0)), help="at the most")
    parser.add_argument("--repeats", type=int, default=3)
    arguments = parser.parse_args()
    before = report.machine()
    quick = arguments.quick
    figures = measure(160 if quick else arguments.keyphrases, arguments.workers, 1 if quick else arguments.repeats)
    report.table(
        ("workers", "keyphrases/s", "min", "max", "times one worker"),
        [
            (
                number,
                *(f"{figure['rate'][name]:,.0f}" for name in ("median", "min", "max")),
                f"{figure['ratio']['median']:.2f}",
            )
            for number, figure in figures.items()
        ],
    )
    report.write(arguments.json, {"workers": figures}, before)


def measure(keyphrases: int, most: int, repeats: int) -> dict[int, dict[str, Any]]:
    """Rates and their ratios to one worker's of the same repeat, by number of workers."""
    rates: dict[int, list[float]] = {number: [] for number in range(1, most + 1)}
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        whole, few = folder / "whole.csv", folder / "few.csv"
        write_inventory(whole, keyphrases)
        write_inventory(few, _WARM_UP_ROWS)
        student = find_model("sentence-transformers/all-MiniLM-L6-v2")
        with Cluster(folder / "cluster", student, reuse_vectors=False) as cluster:
            cluster.worker("control")
            for _ in range(repeats):
                for number, found in rates.items():
                    for place in range(number + 1, most + 1):
                        cluster.worker("embed", place).stop()
                    # A worker loads the student with the first part that it is given.
                    running = [cluster.worker("embed", place) for place in range(1, number + 1)]
                    before = [_parts_done(member) for member in running]
                    while any(_parts_done(member) == done for member, done in zip(running, before, strict=True)):
                        _rate(cluster, few, _WARM_UP_ROWS)
                    found.append(_rate(cluster, whole, keyphrases))
    return {
        number: {
            "rate": report.spread(found),
            "ratio": report.spread([own / one for own, one in zip(found, rates[1], strict=True)]),
        }
        for number, found in rates.items()
    }


def _parts_done(member: Member) -> int:
    """How many parts a worker has said it has done, since it was started first."""
    return member.log.read_text(errors="replace").count(" is done, ")


def _rate(cluster: Cluster, inventory: Path, rows: int) -> float:
    """Keyphrases per second of a run."""
    settings = cluster.settings.model_copy(update={"part_rows": max(1, rows // _PARTS)})
    run = order_reindex(settings, ReindexOrder.of({"files": [inventory], "swap": False}), sender(settings))
    cluster.wait(run.id, lambda run: run.state == "building", "building", 120)
    began = time.perf_counter()
    cluster.wait(run.id, lambda run: not run.missing_parts, "embedded", 600)
    took = time.perf_counter() - began
    cluster.wait_over(run.id)
    return rows / took


if __name__ == "__main__":
    main()
