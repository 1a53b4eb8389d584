"""The plan of a reindex: what it would do, and an estimate of its cost. Planning changes nothing."""

import math
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from keydistill.encoders import Student, student_of
from keydistill.errors import TooManyRejectsError
from keydistill.ingest.collection import changes_of_storage, check_spec, collection_spec
from keydistill.ingest.inventory import InventoryReport, check_inventory
from keydistill.settings import Settings
from keydistill.tables import Conventions
from keydistill.vectorstore import Engine, estimated_bytes

# Points per second on 2 cores, 384 dimensions, int8 (benchmarks/million.py). Embedding is measured for each plan.
_UPSERTS_PER_SECOND = 11_000
_OPTIMISED_PER_SECOND = 2_000


@dataclass(frozen=True, slots=True)
class Plan:
    """A reindex that was not started; times and sizes are estimates."""

    inventory: InventoryReport
    keyphrases: int
    parts: int
    student_version: str
    dimension: int
    alias: str
    previous_target: str | None
    swap_to: str
    keyphrases_per_second: float
    seconds: float
    bytes: int
    storage_changes: tuple[str, ...] = ()

    def as_dict(self) -> dict[str, Any]:
        """Plain values for JSON."""
        return asdict(self)


def plan(
    settings: Settings, engine: Engine, files: Sequence[Path], *, categories: Path | None = None, swap: bool = True
) -> Plan:
    """Plan a reindex: read the whole inventory, load the student, and measure it on a sample.

    Raises:
        InputError: An inventory file cannot be read.
        TooManyRejectsError: A run would fail because of too many rejected rows.
        SettingsError: The engine cannot store a collection as the settings ask for.
    """
    check_spec(collection_spec(settings.dimension or 1, settings), engine)
    report = check_inventory(files, settings, categories=categories, conventions=Conventions.of(settings))
    if not report.passes:
        raise TooManyRejectsError(
            f"{report.rows_rejected:,} of {report.rows_read:,} rows would be rejected, more than max_reject_share "
            f"{settings.max_reject_share:.0%} allows; `keydistill inventory check` shows which and why"
        )
    rows = report.rows
    student = student_of(settings, texts=rows)
    rate = _embedding_rate(student, report.sample)
    spec = collection_spec(student.dimension, settings)
    previous_target = engine.aliases().get(settings.alias)
    return Plan(
        inventory=report,
        keyphrases=rows,
        parts=math.ceil(rows / settings.part_rows),
        student_version=student.version,
        dimension=student.dimension,
        alias=settings.alias,
        previous_target=previous_target,
        swap_to="a new collection" if swap else "unchanged (--no-swap)",
        keyphrases_per_second=rate,
        seconds=rows * (1 / rate + 1 / _UPSERTS_PER_SECOND + 1 / _OPTIMISED_PER_SECOND),
        bytes=estimated_bytes(rows, spec),
        storage_changes=tuple(changes_of_storage(spec, engine, previous_target)),
    )


def _embedding_rate(student: Student, sample: Sequence[str]) -> float:
    """The number of keyphrases that the student embeds per second."""
    student.embed_keyphrases(sample[:32])  # the first call allocates
    began = time.perf_counter()
    student.embed_keyphrases(sample)
    return max(1, len(sample)) / (time.perf_counter() - began)
