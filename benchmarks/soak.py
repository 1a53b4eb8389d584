"""Rebuilds by Celery workers while something is killed every few seconds.

    python -m benchmarks.soak [--rebuilds N] [--seed N] [--quick] [--json FILE]

Redis, the engine front of the tests, two control and two embed workers and a beat run as processes of their own. At
random times one of them is killed with SIGKILL and started again, a pool process is killed, a worker is stopped for
longer than its lease, or Redis or the engine is killed and comes back. After each rebuild the collection behind the
alias is compared, point for point, with what one undisturbed process builds.
"""

import random
import signal
import tempfile
import threading
import time
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks import report
from keydistill.execution import Reindexer, ReindexOrder, order_reindex, resume_by_workers
from keydistill.settings import load_settings
from keydistill.vectorstore import Engine
from keydistill.vectorstore.edge.engine import EmbeddedEngine
from keydistill.workers import sender
from tests.support.cluster import Cluster
from tests.support.inventories import write_inventory
from tests.support.tiny_models import make_tiny_student

_ROWS = 400
_PART_ROWS = 40
_TOLERANCE = 1e-3
_WORKERS = (("control", 1), ("control", 2), ("embed", 1), ("embed", 2))


def main() -> None:
    """Rebuild, kill, compare."""
    parser = report.options(__doc__.partition("\n")[0])
    parser.add_argument("--rebuilds", type=int, default=50)
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    before = report.machine()
    figures = soak(3 if arguments.quick else arguments.rebuilds, arguments.seed)
    report.table(("", "figure"), [(name.replace("_", " "), value) for name, value in figures.items()])
    report.write(arguments.json, figures, before)


def soak(rebuilds: int, seed: int) -> dict[str, Any]:
    """Run it; figures by name."""
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        student = make_tiny_student(folder / "tiny")
        inventory = write_inventory(folder / "inventory.csv", _ROWS)
        settings = load_settings(home=folder / "alone", student=str(student), part_rows=_PART_ROWS)
        with EmbeddedEngine(settings.home) as engine:
            expected = _content(engine, Reindexer(settings, engine).start([inventory]).collection)
        with Cluster(
            folder / "cluster", student, part_rows=_PART_ROWS, upsert_batch=20, part_attempts=20, reuse_vectors=False
        ) as cluster:
            return _rebuilds(cluster, inventory, expected, rebuilds, seed)


def _rebuilds(cluster: Cluster, inventory: Path, expected: dict[str, Any], rebuilds: int, seed: int) -> dict[str, Any]:
    found: Counter[str] = Counter()
    killer = Killer(cluster, random.Random(seed))
    killer.start()
    seconds = []
    try:
        for _ in range(rebuilds):
            began = time.monotonic()
            run: Any = _ordered(cluster, inventory)
            while not (run := _ended(cluster, run.id)).is_over:
                found["resumed_by_hand"] += 1
                _again(lambda run_id=run.id: resume_by_workers(cluster.settings, run_id, sender(cluster.settings)))
            seconds.append(time.monotonic() - began)
            found["parts_redone"] += run.parts_redone
            with killer.paused():
                found.update(_differences(cluster, run, expected))
    finally:
        killer.end()
    kills = sum(killer.done.values())
    return {
        "rebuilds": rebuilds,
        "kills": kills,
        **{f"of_these_{name}": count for name, count in sorted(killer.done.items())},
        **{name: found[name] for name in ("lost_points", "duplicate_points", "wrong_points", "wrong_alias")},
        "resumed_by_hand": found["resumed_by_hand"],
        "parts_redone_per_kill": round(found["parts_redone"] / max(kills, 1), 3),
        "parts": rebuilds * (_ROWS // _PART_ROWS),
        "seconds_per_rebuild": report.spread([round(value, 1) for value in seconds]),
    }


class Killer(threading.Thread):
    """Keeps everything running, and kills something every few seconds."""

    def __init__(self, cluster: Cluster, chance: random.Random) -> None:
        super().__init__(daemon=True)
        self.done: Counter[str] = Counter()
        self._cluster = cluster
        self._chance = chance
        self._end = threading.Event()
        self._alone = threading.Lock()
        for queue, number in _WORKERS:
            cluster.worker(queue, number)
        cluster.beat()

    def run(self) -> None:
        """See the class."""
        kinds = {
            "control_worker": 3,
            "embed_worker": 4,
            "pool_process": 3,
            "beat": 1,
            "redis": 1,
            "engine": 1,
            "worker_stopped": 2,
        }
        while not self._end.wait(self._chance.uniform(1.5, 4.0)):
            with self._alone:
                (kind,) = self._chance.choices(list(kinds), list(kinds.values()))
                getattr(self, f"_{kind}")()
                self.done[kind] += 1
                for queue, number in _WORKERS:
                    self._cluster.worker(queue, number)
                self._cluster.beat()

    def paused(self) -> threading.Lock:
        """Held while nothing may be killed."""
        return self._alone

    def end(self) -> None:
        """Stop killing."""
        self._end.set()
        self.join()

    def _control_worker(self) -> None:
        self._cluster.worker("control", self._chance.choice((1, 2))).kill()

    def _embed_worker(self) -> None:
        self._cluster.worker("embed", self._chance.choice((1, 2))).kill()

    def _pool_process(self) -> None:
        self._cluster.worker(*self._chance.choice(_WORKERS)).kill_children()

    def _beat(self) -> None:
        self._cluster.beat().kill()

    def _redis(self) -> None:
        self._cluster.redis.kill()
        time.sleep(0.5)
        self._cluster.redis.start()

    def _engine(self) -> None:
        self._cluster.front.stop(kill=True)
        time.sleep(0.5)
        self._cluster.front.start()

    def _worker_stopped(self) -> None:
        member = self._cluster.worker(*self._chance.choice(_WORKERS))
        member.signal_all(signal.SIGSTOP)
        time.sleep(self._cluster.settings.lease_seconds * 1.5)
        member.signal_all(signal.SIGCONT)


def _ordered(cluster: Cluster, inventory: Path) -> Any:
    order = ReindexOrder.of({"files": [inventory]})
    return _again(lambda: order_reindex(cluster.settings, order, sender(cluster.settings)))


def _again(call: Any) -> Any:
    """What an operator does when a command says that a server is away, or that a run is still going."""
    for _ in range(60):
        try:
            return call()
        except Exception as error:
            last = error
            time.sleep(1)
    raise last


def _ended(cluster: Cluster, run_id: str) -> Any:
    while True:
        run = _again(lambda: cluster.store.load(run_id))
        if run.is_over or run.state == "failed":
            if run.error:
                print(f"{run.id} failed: {run.error}", flush=True)
            return run
        time.sleep(0.2)


def _differences(cluster: Cluster, run: Any, expected: dict[str, Any]) -> dict[str, int]:
    found = _again(lambda: _content(cluster.engine, run.collection))
    count = _again(lambda: cluster.engine.count(run.collection))
    wrong = sum(
        found[name][0] != payload or float(np.abs(found[name][1] - vector).max()) > _TOLERANCE
        for name, (payload, vector) in expected.items()
        if name in found
    )
    return {
        "lost_points": len(expected.keys() - found.keys()),
        "duplicate_points": max(count - len(expected), 0) + len(found.keys() - expected.keys()),
        "wrong_points": wrong,
        "wrong_alias": int(_again(cluster.engine.aliases).get(run.alias) != run.collection or run.state != "live"),
    }


def _content(engine: Engine, name: str) -> dict[str, Any]:
    return {record.id: (record.payload, record.vector) for record in engine.scroll(name, with_vectors=True)}


if __name__ == "__main__":
    main()
