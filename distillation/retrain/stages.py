"""Steps of a long run, each with a folder of its own: done once, and again only if what it depends on has changed."""

import hashlib
import json
import shutil
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from keydistill.files import replace_json

_RECORD = "stage.json"


@dataclass(frozen=True, slots=True)
class StageResult:
    """The output of a stage and its report.

    Attributes:
        name: Name of the stage.
        folder: Folder of its output.
        digest: Hash of all that the stage depends on; later stages depend on it.
        result: Report of the stage, fit for JSON.
        seconds: Duration of the stage when it was done.
        skipped: Whether it had been done before.
    """

    name: str
    folder: Path
    digest: str
    result: dict[str, Any]
    seconds: float
    skipped: bool


class Stages:
    """The stages of one run, in a folder.

    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     stages = Stages(Path(folder))
    ...     skipped = [stages.run("count", {"to": to}, lambda out: {"sum": 1}).skipped for to in (3, 3, 4)]
    >>> skipped
    [False, True, False]
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def is_done(self, name: str, depends_on: Mapping[str, Any]) -> bool:
        """Whether the output of a stage is there and still holds."""
        record = self._record(name)
        return record is not None and record["digest"] == digest_of(name, depends_on)

    def run(self, name: str, depends_on: Mapping[str, Any], make: Callable[[Path], dict[str, Any]]) -> StageResult:
        """Do a stage, or return the result that it had before.

        What an attempt that was interrupted left in the folder is still there when `make` is called again, unless it
        was made from something else.

        Args:
            name: Name of the stage and of its folder.
            depends_on: Everything that decides the output, fit for JSON: settings, hashes of files, earlier digests.
            make: Function that does the stage, called with its folder; it returns the result.
        """
        out = self.folder / name
        digest = digest_of(name, depends_on)
        record = self._record(name)
        if record is not None and record["digest"] == digest:
            return StageResult(name, out, digest, record["result"], record["seconds"], skipped=True)
        started = out / "started.json"
        if out.exists() and _read(started) != digest:
            shutil.rmtree(out)
        out.mkdir(parents=True, exist_ok=True)
        (out / _RECORD).unlink(missing_ok=True)
        replace_json(started, digest)
        began = time.monotonic()
        result = make(out)
        seconds = time.monotonic() - began
        replace_json(out / _RECORD, {"digest": digest, "seconds": seconds, "result": result})
        return StageResult(name, out, digest, result, seconds, skipped=False)

    def _record(self, name: str) -> dict[str, Any] | None:
        record = _read(self.folder / name / _RECORD)
        return record if isinstance(record, dict) else None


def digest_of(name: str, depends_on: Mapping[str, Any]) -> str:
    """SHA-256 (hex) over a stage's name and what it depends on."""
    return hashlib.sha256(json.dumps([name, depends_on], sort_keys=True, default=str).encode()).hexdigest()


def _read(path: Path) -> Any:
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except (FileNotFoundError, ValueError):
        return None
