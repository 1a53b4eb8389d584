"""Judgments of people, in files that `keydistill retrain` reads: JSON lines, which several processes append to."""

import json
import os
from collections.abc import Mapping
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import Any, Self

from keydistill.files import file_lock, storage_errors
from keydistill.runs import now
from keydistill.settings import Settings
from keydistill.tables import normalize_keyphrase

_JUDGE = "page"


@dataclass(frozen=True, slots=True)
class Judgment:
    """What a person said of a pair.

    Attributes:
        item_id: Id of the item; None where its title is all there is.
        title, category_path, site: The item, as it was asked for.
        keyphrase: The keyphrase.
        relevant: Whether the person accepted it.
        note: What else the person said.
        key: Name of the API key whose session it was; None where the service needs none.
        collection, student_version: The generation that had recommended it.
    """

    item_id: str | None
    title: str
    category_path: str | None
    site: str | None
    keyphrase: str
    relevant: bool
    note: str | None
    key: str | None
    collection: str | None
    student_version: str | None

    def item_row(self) -> dict[str, Any]:
        """The item, as a row of the table `items`."""
        return {
            "item_id": self.known_id,
            "title": self.title,
            "category_path": self.category_path,
            "site": self.site,
        }

    def row(self) -> dict[str, Any]:
        """The judgment, as a row of the table `judgments`; the last four columns are for people."""
        return {
            "item_id": self.known_id,
            "keyphrase": normalize_keyphrase(self.keyphrase),
            "site": self.site,
            "label": self.relevant,
            "judge": _JUDGE if self.key is None else f"{_JUDGE}:{self.key}",
            "note": self.note,
            "at": now(),
            "collection": self.collection,
            "student_version": self.student_version,
        }

    @property
    def known_id(self) -> str:
        """The item's id, or one that follows from its title: a title that comes again is the same item."""
        return self.item_id or f"page-{sha256(self.title.encode()).hexdigest()[:16]}"


class JudgmentFiles:
    """The folder with `judgments.jsonl` and `items.jsonl`."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    @classmethod
    def of(cls, settings: Settings) -> Self:
        """The folder that the settings name."""
        return cls(settings.judgments_folder)

    def add(self, judgment: Judgment) -> None:
        """Append a judgment and its item; once this returns, they are on the disk.

        Raises:
            StorageError: The folder cannot be written, or its disk is full.
        """
        with storage_errors(self.folder):
            self.folder.mkdir(parents=True, exist_ok=True)
            with file_lock(self.folder / ".lock"):
                # A judgment without its item is of no use to a training.
                _append(self.folder / "items.jsonl", judgment.item_row())
                _append(self.folder / "judgments.jsonl", judgment.row())


def _append(path: Path, row: Mapping[str, Any]) -> None:
    """Append a line; only whoever holds the folder's lock calls it."""
    line = json.dumps({name: value for name, value in row.items() if value is not None}, ensure_ascii=False)
    with path.open("ab+") as file:
        end = _whole_lines(path)
        if end != file.seek(0, os.SEEK_END):
            # Of a process that died in the middle of a line, and so told nobody that it was kept.
            file.truncate(end)
        file.write(line.encode() + b"\n")
        file.flush()
        os.fsync(file.fileno())


def _whole_lines(path: Path) -> int:
    """Size of a file up to the end of its last whole line."""
    size = path.stat().st_size
    with path.open("rb") as file:
        step = 1 << 16
        for start in range((size - 1) // step * step, -1, -step) if size else ():
            file.seek(start)
            newline = file.read(min(step, size - start)).rfind(b"\n")
            if newline >= 0:
                return start + newline + 1
    return 0
