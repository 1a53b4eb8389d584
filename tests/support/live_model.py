"""What should be live, said in a few lines: the model that the property test of the write path compares with.

It knows inventories by name, runs by id, and nothing of collections, journals or copies.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from keydistill.ingest.inventory.identity import text_hash

Row = Mapping[str, Any]
# More than this share of the live rows a sync does not remove; it lies between `other` and `small`.
MAX_REMOVED_SHARE = 0.6


def _row(number: int, **fields: Any) -> Row:
    row = {"keyphrase": f"phrase {number}", "category_ids": ["tools"], "search_volume": number}
    return {name: value for name, value in {**row, "site": "US", **fields}.items() if value is not None}


INVENTORIES: Mapping[str, tuple[Row, ...]] = {
    "base": tuple(_row(number, brand="x" if number % 2 else "y") for number in range(30)),
    "grown": tuple(
        _row(number, brand="x" if number % 2 else "y", search_volume=number + 100 * (number % 5 == 0))
        for number in range(4, 40)
    ),
    # No text is new; some stand on another site, which makes them other points, others lost a field.
    "moved": tuple(_row(number, site=None if number < 4 else "US", language="en") for number in range(30)),
    "other": tuple(_row(number, brand="z") for number in range(15, 45)),
    "small": tuple(_row(number) for number in (1, 2, 20, 50, 51, 52)),
}


def write_inventories(folder: Path) -> dict[str, Path]:
    """A file of each."""
    files = {name: folder / f"{name}.jsonl" for name in INVENTORIES}
    for name, file in files.items():
        file.write_text("".join(json.dumps(row) + "\n" for row in INVENTORIES[name]), encoding="utf-8")
    return files


def points(inventory: str) -> dict[tuple[str, str | None], Row]:
    """What a collection of this inventory holds: the payloads, by keyphrase and site."""
    return {
        (row["keyphrase"], row.get("site")): {**row, "text_hash": text_hash(row["keyphrase"])}
        for row in INVENTORIES[inventory]
    }


def removed_share(present: str, new: str) -> float:
    old = points(present)
    return len(old.keys() - points(new).keys()) / len(old)


def is_worse(candidate: str, live: str | None) -> bool:
    """Whether the gate has an honest reason: far fewer different keyphrases are recommended."""
    return candidate == "small" and live not in (None, "small")


@dataclass
class Built:
    """A reindex: what it was made with, and the last sync that was accepted when it read its inventory."""

    student: str
    inventory: str
    base: int = 0
    was_live: bool = False
    pruned: bool = False


@dataclass
class Model:
    """What should be live.

    Attributes:
        built: Reindexes by the id of their run.
        syncs: Inventories of the accepted syncs, in order.
        live: The run whose collection is live.
        left: Runs that were live before, the latest first.
        in_turn: Runs in the order in which they went live for the first time.
        bad: Runs that were rolled back from to an earlier one, and not put live again since.
        behind: A sync was accepted and its process died before the live collection held it.
    """

    built: dict[str, Built] = field(default_factory=dict)
    syncs: list[str] = field(default_factory=list)
    live: str | None = None
    left: list[str] = field(default_factory=list)
    in_turn: list[str] = field(default_factory=list)
    bad: set[str] = field(default_factory=set)
    behind: bool = False

    def content(self, run: str) -> str:
        """The inventory that the collection of a run must have before it is put live."""
        built = self.built[run]
        return self.syncs[-1] if len(self.syncs) > built.base else built.inventory

    @property
    def live_content(self) -> str | None:
        return None if self.live is None else self.content(self.live)

    @property
    def kept(self) -> list[str]:
        """Runs that can be rolled back to, the latest first; those that were rolled back from, last."""
        return sorted((run for run in self.left if not self.built[run].pruned), key=self.bad.__contains__)

    def put_live(self, run: str, *, rolled_back: bool = False) -> None:
        if run == self.live:
            return
        if run not in self.in_turn:
            self.in_turn.append(run)
        if rolled_back and self.live is not None and self.in_turn.index(run) < self.in_turn.index(self.live):
            self.bad.add(self.live)
        self.bad.discard(run)
        before = [] if self.live is None else [self.live]
        self.left = [*before, *(each for each in self.left if each != run)]
        self.live, self.built[run].was_live = run, True
