"""Collections of many sizes, built by the product's own command, and what building and reading them takes.

The student is the cheapest that gives true sizes: keyphrases are read by a table of random token vectors, so that an
inventory costs next to nothing to embed, and words in common make vectors alike.
"""

import json
from pathlib import Path
from typing import Any

from benchmarks.watched import watched
from keydistill.capacity.parts import disk_of
from tests.support.tiny_models import make_tiny_student

_QUERIES = 3_000


def make_static_student(folder: Path, dimension: int) -> Path:
    """A student of one small layer for items and a table of chance for keyphrases, with vectors of this length."""
    import torch
    from sentence_transformers import SentenceTransformer

    from keydistill.distillation.student.towers import with_table

    base = make_tiny_student(folder.with_name(f"{folder.name}-base"), width=dimension)
    table = torch.randn(30_522, dimension, generator=torch.Generator().manual_seed(0))
    model = with_table(SentenceTransformer(str(base), device="cpu"), table)
    model.save_pretrained(str(folder), create_model_card=False)
    return folder


def simulate(market: Path, keyphrases: int) -> Path:
    """The inventory of a simulated marketplace."""
    command = ["simulate", str(market), "--items", "2000", "--keyphrases", str(keyphrases), "--seed", "0"]
    watched(command, {})
    return market / "inventory.parquet"


def build(home: Path, inventory: Path, student: Path, quantization: str, ef_construct: int = 128) -> dict[str, Any]:
    """Reindex an inventory; sizes in bytes, peaks of the command's and its optimising child's memory among them."""
    collections = home / "collections"
    peak = 0

    def look() -> None:
        nonlocal peak
        peak = max(peak, disk_of(collections).total())

    # The gate refuses what a student of chance finds. That is the end of the run; the collection stays.
    measured = watched(
        ["--home", str(home), "reindex", str(inventory), "--json"],
        {
            "KEYDISTILL_STUDENT": str(student),
            "KEYDISTILL_RUNTIME": "numpy",
            "KEYDISTILL_QUANTIZATION": quantization,
            "KEYDISTILL_HNSW_EF_CONSTRUCT": str(ef_construct),
            # What comes after the build is not measured here.
            "KEYDISTILL_VERIFY_ROWS": "1000",
            "KEYDISTILL_GATE_SAMPLE": "50",
        },
        look,
        may_fail=True,
    )
    run = json.loads(watched(["--home", str(home), "runs", "list", "--json"], {})["output"])[0]
    if run["state"] != "live" and "the gate refused" not in (run["error"] or ""):
        raise SystemExit(f"reindex failed: {run['error']}")
    return {
        "rows": run["rows"],
        "parts": run["parts"],
        "timings": run["timings"],
        "disk_bytes": run["report"]["disk_bytes"],
        "peak_disk_bytes": peak,
        "disk": dict(disk_of(collections / run["collection"])),
        "seconds": measured["seconds"],
        "peaks": measured["peaks"],
        "reader": read(home, run["collection"]),
    }


def read(home: Path, collection: str) -> dict[str, Any]:
    """Memory of a process that opens a collection and queries it, and its times."""
    arguments = ["-m", "keydistill.capacity.reader", str(home), collection, str(_QUERIES)]
    answer: dict[str, Any] = json.loads(watched(arguments, {}, module=True)["output"])
    return answer
