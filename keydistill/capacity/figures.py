"""The figures that plans are made of: measured by `keydistill bench` on this machine, or those that come along."""

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Self

from pydantic import ConfigDict, TypeAdapter, ValidationError

from keydistill.errors import InputError, first_problem
from keydistill.files import NewerFormatError, replace_json, stamped, without_stamp
from keydistill.settings import Quantization, Settings

_FORMAT = 1
_DEFAULTS = Path(__file__).with_name("default_figures.json")


@dataclass(frozen=True, slots=True)
class Trial:
    """A collection that was built to be measured; sizes in bytes.

    Attributes:
        points: Number of its points.
        dimension: Length of its vectors.
        write_seconds: Time of writing them.
        optimise_seconds: Time of building its index.
        disk: Size of each part on the disk: vectors, quantized, graph, payload, indexes, ids, log, other.
        peak_disk_bytes: Most that it took on the disk while it was built.
        optimiser_bytes: Most memory of the process that built the index, without pages of files; 0 where a small trial
            was over before it could be seen.
        reader: Resident memory of a process that reads it: "own", and pages of each part that were read in.
        query_p50_ms: Median time of a query under a category filter.
        query_p99_ms: Time that 99 of 100 such queries took at the most.
    """

    __pydantic_config__ = ConfigDict(extra="forbid")

    points: int
    dimension: int
    write_seconds: float
    optimise_seconds: float
    disk: Mapping[str, int]
    peak_disk_bytes: int
    optimiser_bytes: int
    reader: Mapping[str, int]
    query_p50_ms: float
    query_p99_ms: float


@dataclass(frozen=True, slots=True)
class Embedding:
    """How fast the student embeds keyphrases.

    Attributes:
        student: Version of the student.
        runtime: Runtime that computed, and why that one.
        threads: Threads of a worker.
        keyphrases_per_second: Rate of one worker.
        one_thread_per_second: Rate of a worker with a single thread, which is that of a core.
        seconds_per_thousand: Time of 1,000 keyphrases for each tenth of an inventory, from the shortest on: parts of a
            snapshot are sorted by length.
    """

    __pydantic_config__ = ConfigDict(extra="forbid")

    student: str
    runtime: str
    threads: int
    keyphrases_per_second: float
    one_thread_per_second: float
    seconds_per_thousand: tuple[float, ...]


@dataclass(frozen=True, slots=True)
class Sync:
    """What a change of one keyphrase in a hundred took: the copy, and writing and indexing what changed."""

    __pydantic_config__ = ConfigDict(extra="forbid")

    points: int
    changed: int
    copy_seconds: float
    finish_seconds: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Figures:
    """Everything that was measured, and where.

    Attributes:
        measured_at: Time of the measurement, UTC.
        machine: Description of the machine: cpu, cores, memory, versions of packages.
        quantization: Quantization of the trials.
        hnsw_m: Edges per node of the trials.
        snapshot_rows_per_second: Rate of making a snapshot of an inventory.
        reader_base_bytes: Memory of a reader before it opens a collection, without pages of files.
        embedding: Rates of the student.
        trials: The trials, smallest first.
        sync: A change of the larger one.
    """

    __pydantic_config__ = ConfigDict(extra="forbid")

    measured_at: str
    machine: Mapping[str, Any]
    quantization: Quantization
    hnsw_m: int
    snapshot_rows_per_second: float
    reader_base_bytes: int
    embedding: Embedding
    trials: tuple[Trial, ...]
    sync: Sync

    def as_dict(self) -> dict[str, Any]:
        """Plain values for JSON."""
        return asdict(self)

    @classmethod
    def parse(cls, values: Mapping[str, Any], where: str) -> Self:
        """The inverse of `as_dict`.

        Raises:
            InputError: It is none, or a newer keydistill wrote it.
        """
        try:
            figures = TypeAdapter(cls).validate_python(without_stamp(values, _FORMAT) if "format" in values else values)
        except NewerFormatError as error:
            raise InputError(f"{where} {error}") from None
        except ValidationError as error:
            raise InputError(f"{where} holds no figures: {first_problem(error)}; run `keydistill bench`") from None
        if len(figures.trials) < 2 or figures.trials[0].points >= figures.trials[-1].points:
            raise InputError(f"{where} holds no two trials of different size; run `keydistill bench`")
        return figures


def figures_file(settings: Settings) -> Path:
    """The file that `keydistill bench` writes into the home."""
    return settings.home / "figures.json"


def write_figures(path: Path, figures: Figures) -> None:
    """Replace the figures in a file."""
    path.parent.mkdir(parents=True, exist_ok=True)
    replace_json(path, stamped(_FORMAT, figures.as_dict()))


def read_figures(path: Path) -> Figures:
    """The figures in a file.

    Raises:
        InputError: The file cannot be read, or holds none.
    """
    try:
        values = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise InputError(f"{path} cannot be read as figures ({error}); run `keydistill bench`") from None
    if not isinstance(values, dict):
        raise InputError(f"{path} holds no figures; run `keydistill bench`")
    return Figures.parse(values, str(path))


def default_figures() -> Figures:
    """The figures that come along, of the machine that they describe."""
    return read_figures(_DEFAULTS)
