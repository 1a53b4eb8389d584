"""What the benchmark of the service stands on: collections, requests, the service and its peer as processes."""

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.error import URLError
from urllib.request import urlopen

import pyarrow.parquet as pq

from benchmarks.command import keydistill
from benchmarks.watched import own_mb
from keydistill.settings import Settings, load_settings
from keydistill.vectorstore import CollectionSpec, Engine, PointBatch, payload_indexes
from keydistill.vectorstore.factory import open_engine
from tests.support.front_process import FrontProcess
from tests.support.ports import free_port

# The fastest of this machine, unless the environment names another.
RUNTIME = os.environ.get("KEYDISTILL_RUNTIME", "auto")
_ITEMS = 2_000
_PATIENCE_SECONDS = 120.0
_GRAPH_SECONDS = 600
# Layers of the base: the first student serves, the other takes its place in swaps.
_LAYERS = {"three": 3, "two": 2}


@dataclass(frozen=True, slots=True)
class World:
    """Where everything is.

    Attributes:
        folder: Folder of it all.
        home: Home of the collections.
        students: Folder of each student.
        collections: Collection that each student built.
        items: Title and site of each item.
        bodies: File of the requests.
    """

    folder: Path
    home: Path
    students: dict[str, Path]
    collections: dict[str, str]
    items: list[dict[str, Any]]
    bodies: Path


def build(folder: Path, keyphrases: int) -> World:
    """The collections, unless the folder has them already; that of the three-layer student is live."""
    folder.mkdir(parents=True, exist_ok=True)
    kept = folder / "collections.json"
    market, home = folder / "marketplace", folder / "home"
    students = {name: folder / name for name in _LAYERS}
    if not kept.is_file():
        keydistill("simulate", market, "--items", _ITEMS, "--keyphrases", keyphrases, "--seed", 0)
        texts = pq.read_table(market / "items.parquet")["title"].to_pylist()
        collections = {}
        # The last one stays live.
        for name in reversed(_LAYERS):
            _cut(students[name], _LAYERS[name], texts)
            run = json.loads(
                keydistill(
                    *("--home", home, "reindex", market / "inventory.parquet", "--student", students[name], "--json"),
                    KEYDISTILL_RUNTIME=RUNTIME,
                    # They were never trained: they would not pass.
                    **{f"KEYDISTILL_GATE_{gate}": "0" for gate in ("MIN_RELEVANT", "MIN_RECALL", "MIN_COVERAGE")},
                    **{f"KEYDISTILL_GATE_{gate}": "1" for gate in ("TOLERANCE", "MAX_SHORT", "MAX_DRIFT")},
                )
            )
            collections[name] = run["collection"]
        kept.write_text(json.dumps(collections), encoding="utf-8")
    items = pq.read_table(market / "items.parquet").select(["title", "site"]).to_pylist()
    bodies = folder / "bodies.json"
    bodies.write_text(json.dumps([{"items": [item], "limit": 10} for item in items]), encoding="utf-8")
    return World(folder, home, students, json.loads(kept.read_text(encoding="utf-8")), items, bodies)


def _cut(folder: Path, layers: int, texts: list[str]) -> None:
    """The base's first layers, on the grid of int8."""
    from sentence_transformers import SentenceTransformer

    from keydistill.distillation.student.rounding import round_student
    from keydistill.encoders import find_model

    shutil.rmtree(folder, ignore_errors=True)
    model: Any = SentenceTransformer(str(find_model("sentence-transformers/all-MiniLM-L6-v2")), device="cpu")
    transformer = model[0].auto_model
    transformer.encoder.layer = transformer.encoder.layer[:layers]
    transformer.config.num_hidden_layers = layers
    model.save_pretrained(str(folder), create_model_card=False)
    round_student(folder, texts)


@dataclass(slots=True)
class Running:
    """A service that runs."""

    process: subprocess.Popen[bytes]
    url: str
    seconds_to_ready: float

    def pids(self) -> list[int]:
        """The processes that answer."""
        pid = self.process.pid
        children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
        serving = [int(child) for child in children if b"spawn_main" in Path(f"/proc/{child}/cmdline").read_bytes()]
        return serving or [pid]

    def end(self, number: int) -> int:
        """Send a signal, and return the status."""
        if self.process.poll() is None:
            self.process.send_signal(number)
        return self.process.wait(_PATIENCE_SECONDS)


@contextmanager
def service_at(world: World, *options: object, settings: Settings | None = None) -> Iterator[Running]:
    """`keydistill serve` on a free port, ready, on the engine of the settings; its log goes to a file."""
    port = free_port()
    url = f"http://127.0.0.1:{port}"
    command = [sys.executable, "-m", "keydistill.cli.main", "--home", world.home, "serve", "--port", port, *options]
    environment = {
        **os.environ,
        "KEYDISTILL_RUNTIME": RUNTIME,
        "HF_HUB_OFFLINE": "1",
    }
    if settings is not None and settings.engine == "server":
        environment |= {"KEYDISTILL_ENGINE": "server", "KEYDISTILL_QDRANT_URL": str(settings.qdrant_url)}
    began = time.monotonic()
    with (world.folder / "serve.log").open("wb") as log:
        process = subprocess.Popen([str(part) for part in command], env=environment, stderr=log)
        running = Running(process, url, 0.0)
        try:
            _wait_for(f"{url}/readyz", process)
            running.seconds_to_ready = time.monotonic() - began
            yield running
        finally:
            running.end(signal.SIGKILL)


def resident_mb(running: Running) -> float:
    """Memory of the processes that answer, in MB; without pages of files, of which queries read in more and more."""
    return sum(map(own_mb, running.pids()))


@contextmanager
def peer_at(world: World) -> Iterator[str]:
    """The peer on a free port, with the vectors of the live collection behind the REST front; its address."""
    collection = world.collections["three"]
    with front_with(world, [collection]) as front:
        port = free_port()
        command = [sys.executable, "-m", "benchmarks.serve_peer", world.students["three"], front.url, collection, port]
        environment = {**os.environ, "HF_HUB_OFFLINE": "1"}
        process = subprocess.Popen([str(part) for part in command], env=environment)
        try:
            _wait_for(f"http://127.0.0.1:{port}/docs", process)
            yield f"http://127.0.0.1:{port}"
        finally:
            process.kill()
            process.wait()


@contextmanager
def front_with(world: World, collections: Iterable[str]) -> Iterator[FrontProcess]:
    """The REST front with copies of collections, the last of which is live."""
    folder = world.folder / "front"
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir()
    with FrontProcess(folder) as front:
        source = open_engine(load_settings(home=world.home))
        # The front answers nothing while it builds the graph.
        settings = load_settings(
            home=world.home, engine="server", qdrant_url=front.url, qdrant_timeout_seconds=_GRAPH_SECONDS
        )
        target = open_engine(settings)
        try:
            for name in collections:
                _copy(source, target, name)
            target.swap_alias(settings.alias, name, target.aliases().get(settings.alias))
        finally:
            source.close()
            target.close()
        yield front


def _copy(source: Engine, target: Engine, name: str) -> None:
    info = source.info(name)
    target.create(name, CollectionSpec(info.dimension, payload_indexes({})), info.metadata)
    records: list[Any] = []
    for record in source.scroll(name, with_vectors=True):
        records.append(record)
        if len(records) == 1_000:
            target.upsert(name, _batch(records))
            records = []
    if records:
        target.upsert(name, _batch(records))
    target.finish(name)


def _batch(records: list[Any]) -> PointBatch:
    import numpy as np

    vectors = np.stack([record.vector for record in records])
    return PointBatch([record.id for record in records], vectors, [record.payload for record in records])


def _wait_for(url: str, process: subprocess.Popen[bytes]) -> None:
    until = time.monotonic() + _PATIENCE_SECONDS
    while True:
        try:
            with urlopen(url, timeout=10):
                return
        except (URLError, ConnectionError):
            if process.poll() is not None or time.monotonic() > until:
                raise SystemExit(f"{url} does not answer; see serve.log in the folder of the benchmark") from None
        time.sleep(0.02)
