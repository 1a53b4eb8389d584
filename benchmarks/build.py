"""Building a collection, from keyphrases to searchable points, against what a user would write instead.

    python -m benchmarks.build [--keyphrases N ...] [--student SOURCE] [--runtime NAME] [--url URL] [--quick]
        [--json FILE]

Ours: `keydistill reindex`, on the embedded engine or on a server (`--url`), in a process of its own. Peer:
`SentenceTransformer.encode` at its best batch size, then `QdrantClient.upload_points` into the local mode of the
client, which has no index. In between stands the floor: the same student embeds the same keyphrases, and nothing else
happens.

For each size: keyphrases per second of *embed and upsert* alone and its share of the floor; of the whole command, with
the start of Python, snapshot, optimising, verification and gate; and of a second reindex in which nothing changed.
Every size is measured `--repeats` times, in turn with the floor; medians and spread go into the JSON.
"""

import json
import shutil
import statistics
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
from qdrant_client import QdrantClient, models
from sentence_transformers import SentenceTransformer

from benchmarks import engines, report
from benchmarks.command import keydistill
from benchmarks.embedding import best_batch_size, rate_of
from keydistill.encoders import Student, find_model

# More of the peer would only take longer: its rate does not change with the size.
_PEER_KEYPHRASES = 4_000


def main() -> None:
    """Build at every size."""
    parser = report.options(__doc__.partition("\n")[0])
    parser.add_argument("--keyphrases", type=int, nargs="+", default=[10_000, 100_000])
    parser.add_argument("--student", default="sentence-transformers/all-MiniLM-L6-v2")
    parser.add_argument("--runtime", default="torch")
    parser.add_argument("--repeats", type=int, default=3)
    engines.add_options(parser)
    arguments = parser.parse_args()
    sizes = [2_000] if arguments.quick else arguments.keyphrases
    repeats = 1 if arguments.quick else arguments.repeats
    before = report.machine()
    figures: list[dict[str, Any]] = []
    with tempfile.TemporaryDirectory() as scratch, engines.on_engine(arguments.engine, arguments.url):
        folder = Path(scratch)
        student = Student.load(arguments.student, runtime=arguments.runtime, cache=folder / "runtimes")
        environment = {
            "KEYDISTILL_STUDENT": arguments.student,
            "KEYDISTILL_RUNTIME": arguments.runtime,
        }
        for size in sizes:
            inventory = simulated(folder / str(size), size)
            texts = pq.read_table(inventory, columns=["keyphrase"])["keyphrase"].to_pylist()
            rounds = [_round(folder / str(size), student, inventory, texts, environment) for _ in range(repeats)]
            names = rounds[0].keys()
            figures.append(
                {"keyphrases": len(texts), **{name: report.spread([each[name] for each in rounds]) for name in names}}
            )
        peer = statistics.median(encode_and_upload(texts[:_PEER_KEYPHRASES], 3))
    report.table(
        ("keyphrases", "embed/s", "embed and upsert/s", "share", "whole/s", "optimise s", "again s", "first / again"),
        [
            (
                f"{each['keyphrases']:,}",
                *(f"{each[name]['median']:,.0f}" for name in ("embed", "embed_and_upsert")),
                f"{each['share']['median']:.2f}",
                f"{each['whole']['median']:,.0f}",
                *(f"{each[name]['median']:,.1f}" for name in ("optimise_seconds", "again_seconds")),
                f"{each['first_to_again']['median']:,.1f}",
            )
            for each in figures
        ],
    )
    print(f"encode + upload_points: {peer:,.0f} keyphrases/s")
    print(f"ratio of embed and upsert: {figures[-1]['embed_and_upsert']['median'] / peer:.2f}")
    report.write(arguments.json, {"sizes": figures, "encode_and_upload_points": peer}, before)


def _round(
    folder: Path, student: Student, inventory: Path, texts: list[str], environment: dict[str, str]
) -> dict[str, float]:
    """Figures by name: rates per second, seconds, and ratios."""
    with tempfile.TemporaryDirectory(dir=folder) as home:
        exported = folder.parent / "runtimes"
        if exported.exists():
            # As on a machine that has the student already: what is measured is not its export.
            shutil.copytree(exported, Path(home) / "cache" / "runtimes")
        environment = environment | engines.alias_of(Path(home).name.strip("_"))
        embed = rate_of(student.embed_keyphrases, texts)
        first, run = _reindex(home, inventory, environment)
        embed = statistics.mean([embed, rate_of(student.embed_keyphrases, texts)])
        again, _ = _reindex(home, inventory, environment)
    built = len(texts) / run["timings"]["embedding"]
    return {
        "embed": embed,
        "embed_and_upsert": built,
        "share": built / embed,
        "whole": len(texts) / first,
        "optimise_seconds": run["timings"]["building"],
        "first_seconds": first,
        "again_seconds": again,
        "first_to_again": first / again,
    }


def simulated(folder: Path, size: int) -> Path:
    """The inventory of a simulated marketplace of so many keyphrases, in a new folder."""
    folder.mkdir()
    keydistill("simulate", folder / "market", "--items", 2_000, "--keyphrases", size, "--seed", 0)
    return folder / "market" / "inventory.parquet"


def _reindex(home: str, inventory: Path, environment: dict[str, str]) -> tuple[float, dict[str, Any]]:
    began = time.perf_counter()
    done = keydistill("--home", home, "reindex", inventory, "--json", **environment)
    return time.perf_counter() - began, json.loads(done)


def encode_and_upload(texts: list[str], repeats: int) -> list[float]:
    """Keyphrases per second of `encode` and `upload_points`, in each repeat."""
    encoder = SentenceTransformer(str(find_model("sentence-transformers/all-MiniLM-L6-v2")), device="cpu")
    size = best_batch_size(encoder, texts)

    def build(texts: Sequence[str]) -> None:
        client = QdrantClient(":memory:")
        client.create_collection("peer", vectors_config=models.VectorParams(size=384, distance=models.Distance.COSINE))
        vectors = encoder.encode(list(texts), batch_size=size, normalize_embeddings=True)
        points = (
            models.PointStruct(id=place, vector=vector.tolist(), payload={"keyphrase": text})
            for place, (text, vector) in enumerate(zip(texts, vectors, strict=True))
        )
        client.upload_points("peer", points, batch_size=1_000)
        client.close()

    return [rate_of(build, texts) for _ in range(repeats)]


if __name__ == "__main__":
    main()
