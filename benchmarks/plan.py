"""What `keydistill plan` says of memory and disk, against what builds and readers take.

    python -m benchmarks.plan [--keyphrases N ...] [--dimension D ...] [--keep FOLDER] [--quick] [--json FILE]

`keydistill bench` measures its figures at each dimension, with two small trials. Then inventories are simulated and
built by `keydistill reindex`, with a student that costs next to nothing (benchmarks/plan_world.py), and read by a
process of its own. Compared are the collection on the disk, the most that it took there while it was built, a reader's
memory (its own, and pages of the graph, the indexes and ids: all that the plan does not call cold), and the memory of
the process that builds the index.

With --keep a later call goes on in the folder, and measures only what is not measured there yet.
"""

import json
import shutil
import tempfile
from pathlib import Path
from typing import Any

from benchmarks import plan_world, report
from benchmarks.watched import watched
from keydistill.capacity import Figures, Wanted, plan_capacity, read_figures

_QUANTIZATION = "int8"
_COLD = ("vectors", "payload", "log", "libraries", "other")


def main() -> None:
    """Measure, build, compare."""
    parser = report.options(__doc__.partition("\n")[0])
    parser.add_argument("--keyphrases", type=int, nargs="+", default=[100_000, 1_000_000])
    parser.add_argument("--dimension", type=int, nargs="+", default=[64, 384])
    parser.add_argument("--ef-construct", type=int, default=128, help="less makes a smaller graph in less time")
    parser.add_argument("--keep", type=Path, metavar="FOLDER", help="work there and leave what was measured in it")
    arguments = parser.parse_args()
    counts, dimensions = ([4_000], [32]) if arguments.quick else (arguments.keyphrases, arguments.dimension)
    before = report.machine()
    with tempfile.TemporaryDirectory() as scratch:
        folder = arguments.keep or Path(scratch)
        folder.mkdir(parents=True, exist_ok=True)
        rows = []
        for dimension in dimensions:
            student = folder / f"student-{dimension}"
            if not student.exists():
                plan_world.make_static_student(student, dimension)
            figures = _figures(folder, dimension, student, arguments.ef_construct, 2_000 if arguments.quick else None)
            for count in counts:
                built = _built(folder, count, dimension, student, arguments.ef_construct)
                rows.append(compared(built, figures, dimension))
    _print(rows)
    report.write(arguments.json, {"rows": rows}, before)


def _figures(folder: Path, dimension: int, student: Path, ef_construct: int, points: int | None) -> Figures:
    file = folder / f"figures-{dimension}.json"
    if not file.exists():
        sizes = [] if points is None else ["--points", str(points)]
        environment = {
            "KEYDISTILL_STUDENT": str(student),
            "KEYDISTILL_RUNTIME": "numpy",
            "KEYDISTILL_HNSW_EF_CONSTRUCT": str(ef_construct),
        }
        watched(["--home", str(folder / "home"), "bench", "--out", str(file), "--json", *sizes], environment)
    return read_figures(file)


def _built(folder: Path, count: int, dimension: int, student: Path, ef_construct: int) -> dict[str, Any]:
    file = folder / f"built-{count}-{dimension}.json"
    if not file.exists():
        market = folder / f"market-{count}"
        inventory = market / "inventory.parquet" if market.exists() else plan_world.simulate(market, count)
        home = folder / f"home-{count}-{dimension}"
        file.write_text(
            json.dumps(plan_world.build(home, inventory, student, _QUANTIZATION, ef_construct)), encoding="utf-8"
        )
        shutil.rmtree(home)
    measured: dict[str, Any] = json.loads(file.read_text(encoding="utf-8"))
    return measured


def compared(built: dict[str, Any], figures: Figures, dimension: int) -> dict[str, Any]:
    """Measured and planned sizes of one build, in bytes."""
    wanted = Wanted(keyphrases=built["rows"], dimension=dimension, node_memory_bytes=1)
    capacity = plan_capacity(wanted, figures)
    resident = built["reader"]["resident"]
    pairs = {
        "disk": (built["disk_bytes"], capacity.disk_bytes),
        "disk while built": (built["peak_disk_bytes"], capacity.rebuild["disk"] - capacity.steady["disk"]),
        "reader": (sum(size for part, size in resident.items() if part not in _COLD), capacity.memory_bytes),
        "optimiser": (built["peaks"]["optimiser anonymous"], capacity.builder_bytes),
    }
    return {
        "keyphrases": built["rows"],
        "dimension": dimension,
        "seconds": {step: built["timings"].get(step) for step in ("snapshot", "embedding", "building", "verifying")},
        "command_peak": built["peaks"]["command anonymous"],
        "cold_pages": {part: resident.get(part, 0) for part in ("vectors", "payload")},
        "planned_optimise_seconds": capacity.seconds["optimise"],
        "sizes": {
            what: {"measured": measured, "planned": round(planned), "ratio": planned / measured}
            for what, (measured, planned) in pairs.items()
        },
    }


def _print(rows: list[dict[str, Any]]) -> None:
    report.table(
        ("keyphrases", "dimensions", "what", "measured MB", "planned MB", "planned / measured"),
        [
            (
                f"{row['keyphrases']:,}",
                row["dimension"],
                what,
                f"{size['measured'] / 1e6:,.0f}",
                f"{size['planned'] / 1e6:,.0f}",
                f"{size['ratio']:.2f}",
            )
            for row in rows
            for what, size in row["sizes"].items()
        ],
    )


if __name__ == "__main__":
    main()
