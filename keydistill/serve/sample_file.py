"""The sample of the items that services are asked for, on disk: bounded, of all processes, forgotten after its time.

Every item that is asked for draws a number, and the sample is those with the least numbers (a bottom-k sample: Cohen
and Kaplan, PODC 2007). So two samples are merged by taking the least of both, whatever each of them has seen, a process
that dies takes nothing with it but what it had not written yet, and what is asked for often is likelier to be in it.
"""

import json
import logging
import os
import time
from collections.abc import Callable, Iterable
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from itertools import chain
from pathlib import Path
from typing import Self

from pydantic import TypeAdapter

from keydistill.errors import InputError
from keydistill.files import file_lock, whole_file
from keydistill.settings import Settings

_log = logging.getLogger(__name__)

_DAY_SECONDS = 86_400.0


@dataclass(frozen=True, slots=True)
class SampledItem:
    """An item that was asked for, in the columns of a table of items.

    Attributes:
        item_id: The caller's id, otherwise one that follows from the other columns.
        title, category_id, category_path, site, fields: As the caller gave them.
        asked_at: Time of the request.
        draw: The number that it drew, from 0 to 1.
    """

    item_id: str
    title: str
    category_id: str | None
    category_path: str | None
    site: str | None
    asked_at: str
    draw: float
    fields: dict[str, str | None] = field(default_factory=dict)

    @property
    def key(self) -> tuple[str | None, str]:
        """What no two rows of a table of items share."""
        return self.site, self.item_id


_LINE = TypeAdapter(SampledItem)


class SampleFile:
    """The sample on disk: a line of JSON per item, for the eyes of the home's owner alone."""

    def __init__(self, path: Path, seconds: float, clock: Callable[[], float] = time.time) -> None:
        """Name a file, which need not be there.

        Args:
            path: The file.
            seconds: Time after which an item is forgotten.
            clock: Seconds since the epoch.
        """
        self.path = path
        self._seconds, self._clock = seconds, clock

    @classmethod
    def of(cls, settings: Settings) -> Self:
        """The sample of what is asked of an alias."""
        return cls(settings.home / "asked" / f"{settings.alias}.jsonl", settings.sample_days * _DAY_SECONDS)

    def read(self) -> list[SampledItem]:
        """The items that are not forgotten; a file that is damaged holds none."""
        return self._remembered(self._stored())

    def _remembered(self, stored: Iterable[SampledItem]) -> list[SampledItem]:
        oldest = datetime.fromtimestamp(self._clock() - self._seconds, UTC).isoformat(timespec="seconds")
        return [item for item in stored if item.asked_at >= oldest]

    def _stored(self) -> list[SampledItem]:
        try:
            with self.path.open(encoding="utf-8") as file:
                return [_LINE.validate_json(line) for line in file]
        except FileNotFoundError:
            return []
        except ValueError:
            # Not its message, which quotes the line.
            _log.warning("%s is no sample of items; it is begun anew", self.path)
            return []

    def merge(self, further: Iterable[SampledItem], most: int | None) -> list[SampledItem]:
        """Take further items up, forget those whose time is over, and return what is kept.

        Args:
            further: Items that are not in the file yet.
            most: Most items that are kept; None leaves it at those that are not forgotten.

        Raises:
            OSError: The file cannot be written.
        """
        self.path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        with file_lock(self.path.with_suffix(".lock")):
            # What a killed process was writing, whose texts nobody would forget.
            for draft in self.path.parent.glob(f".*{self.path.suffix}"):
                if draft.stem.rpartition(".")[0] == f".{self.path.stem}":
                    draft.unlink()
            stored = self._stored()
            kept = least_draws(chain(self._remembered(stored), further), most)
            if not kept:
                self.path.unlink(missing_ok=True)
            elif kept != stored:
                _write(self.path, kept)
        return kept

    def copy(self, out: Path) -> int:
        """Write the items to another file, which nobody forgets, and return their number.

        Raises:
            InputError: The file is to have another format, or there is nothing to write.
        """
        if out.suffix != ".jsonl":
            raise InputError(f"{out}: a sample is JSON lines; name a file that ends in .jsonl")
        items = self.read()
        if not items:
            raise InputError(f"{self.path} holds no items; `keydistill serve` with `sample_items` above 0 samples them")
        _write(out, items)
        return len(items)

    def forget(self) -> None:
        """Delete all texts."""
        self.merge((), 0)


def least_draws(items: Iterable[SampledItem], most: int | None) -> list[SampledItem]:
    """The items that drew the least numbers, in this order, each id once; None keeps all."""
    by_key: dict[tuple[str | None, str], SampledItem] = {}
    for item in items:
        take(by_key, item)
    return sorted(by_key.values(), key=lambda item: item.draw)[:most]


def take(items: dict[tuple[str | None, str], SampledItem], item: SampledItem) -> None:
    """Put an item among others, each of which is there by the least number that its id drew."""
    present = items.get(item.key)
    if present is None or item.draw < present.draw:
        items[item.key] = item


def _write(path: Path, items: Iterable[SampledItem]) -> None:
    with whole_file(path) as draft:
        # Not the umask's choice: a home may be open to a group.
        handle = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
        with os.fdopen(handle, "w", encoding="utf-8") as file:
            file.writelines(f"{json.dumps(asdict(item), ensure_ascii=False)}\n" for item in items)
    # Outputs get the user's usual mode there; texts of callers are nobody else's.
    path.chmod(0o600)
