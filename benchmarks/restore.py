"""What a restore into an empty installation answers, on both engines and from one to the other.

    python -m benchmarks.restore [--qdrant URL] [--keyphrases N] [--items N] [--quick] [--json FILE]

A simulated marketplace is built twice, so that there is something to roll back to, and its items are answered. Then it
is backed up, restored where nothing is, and answered again: lists with scores, aliases, the log of changes and runs
are compared. Without --qdrant the REST front of the tests stands for a server; one that holds collections is refused,
for they would be deleted.
"""

import json
import tempfile
import time
from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
from qdrant_client import QdrantClient

from benchmarks import report
from benchmarks.command import keydistill
from keydistill.settings import load_settings
from keydistill.vectorstore import open_engine
from tests.support.front_process import FrontProcess

_LIMIT = 10
_ENGINES = ("embedded", "server")
_KINDS = ("identical", "same keyphrases", "other")

Lists = Mapping[str, list[tuple[str, float]]]


def main() -> None:
    """Build, back up, restore, compare."""
    parser = report.options(__doc__.partition("\n")[0])
    parser.add_argument("--qdrant", metavar="URL", help="an empty server")
    parser.add_argument("--keyphrases", type=int, default=20_000)
    parser.add_argument("--items", type=int, default=1_000)
    arguments = parser.parse_args()
    before = report.machine()
    if arguments.quick:
        arguments.keyphrases, arguments.items = 1_000, 100
    with tempfile.TemporaryDirectory() as scratch, _server(Path(scratch), arguments.qdrant) as url:
        market = Path(scratch) / "market"
        keydistill("simulate", market, "--items", arguments.items, "--keyphrases", arguments.keyphrases, "--seed", 0)
        rows = [row for engine in _ENGINES for row in _restored(Path(scratch), market, url, engine)]
    report.table([name.replace("_", " ") for name in rows[0]], [list(row.values()) for row in rows])
    report.write(arguments.json, {"keyphrases": arguments.keyphrases, "ways": rows}, before)


@contextmanager
def _server(folder: Path, url: str | None) -> Iterator[str]:
    if url is not None:
        with closing(QdrantClient(url=url, check_compatibility=False)) as client:
            if client.get_collections().collections:
                raise SystemExit(f"the server at {url} holds collections, which this would delete; give an empty one")
        yield url
        return
    with FrontProcess(folder / "front") as front:
        yield front.url


def _restored(folder: Path, market: Path, url: str, origin: str) -> Iterator[dict[str, Any]]:
    """Figures of an engine's backup, restored onto each engine."""
    _empty(url)
    backups = folder / f"{origin}-backups"
    there = _environment(folder / origin, origin, url)
    for _ in range(2):
        keydistill("reindex", market / "inventory.parquet", **there)
    answers, records = _answers(market, there), _records(there)
    began = time.monotonic()
    keydistill("backup", backups, **there)
    backup_seconds = time.monotonic() - began
    for target in _ENGINES:
        _empty(url)
        here = _environment(folder / f"{origin}-{target}", target, url)
        began = time.monotonic()
        keydistill("restore", backups, **here)
        restore_seconds = time.monotonic() - began
        again = _answers(market, here)
        kinds = Counter(_likeness(answers[item], again[item]) for item in answers)
        yield {
            "from": origin,
            "to": target,
            "queries": len(answers),
            **{kind: kinds[kind] for kind in _KINDS},
            "same_records": _records(here) == records,
            "backup_s": round(backup_seconds, 1),
            "restore_s": round(restore_seconds, 1),
        }


def _environment(home: Path, engine: str, url: str) -> dict[str, str]:
    server = {"KEYDISTILL_QDRANT_URL": url} if engine == "server" else {}
    return {"KEYDISTILL_HOME": str(home), "KEYDISTILL_ENGINE": engine, "KEYDISTILL_RUNTIME": "auto", **server}


def _likeness(before: list[tuple[str, float]], after: list[tuple[str, float]]) -> str:
    """Whether two lists are the same to the last bit of their scores, or in their keyphrases and order alone."""
    if before == after:
        return "identical"
    return "same keyphrases" if [text for text, _ in before] == [text for text, _ in after] else "other"


def _answers(market: Path, environment: Mapping[str, str]) -> Lists:
    out = Path(environment["KEYDISTILL_HOME"]) / "recommendations.parquet"
    keydistill("recommend", market / "items.parquet", "--out", out, "--limit", _LIMIT, **environment)
    lists: dict[str, list[tuple[str, float]]] = {}
    for row in sorted(pq.read_table(out).to_pylist(), key=lambda row: row["rank"]):
        lists.setdefault(row["item_id"], []).append((row["keyphrase"], row["score"]))
    return lists


def _records(environment: Mapping[str, str]) -> list[Any]:
    """The log of changes, the runs, and what each alias names."""
    logs = (("collections", "history"), ("runs", "list"))
    found = [json.loads(keydistill(*command, "--json", **environment)) for command in logs]
    values: dict[str, Any] = {name.removeprefix("KEYDISTILL_").lower(): value for name, value in environment.items()}
    with closing(open_engine(load_settings(**values))) as engine:
        return [*found, engine.aliases()]


def _empty(url: str) -> None:
    with closing(QdrantClient(url=url, check_compatibility=False)) as client:
        for collection in client.get_collections().collections:
            client.delete_collection(collection.name)


if __name__ == "__main__":
    main()
