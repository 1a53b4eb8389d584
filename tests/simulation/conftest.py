"""One marketplace that most tests look at, and small ones with other knobs."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest

from keydistill.simulation import MarketplaceSettings, Summary, simulate

Rows = list[dict[str, Any]]


@dataclass(frozen=True)
class Written:
    """A marketplace as a user reads it."""

    summary: Summary
    folder: Path

    def rows(self, table: str) -> Rows:
        rows: Rows = pq.read_table(self.folder / f"{table}.parquet").to_pylist()
        return rows

    def pairs(self, table: str) -> set[tuple[str, str]]:
        found = pq.read_table(self.folder / f"{table}.parquet", columns=["item_id", "keyphrase"])
        return set(zip(found["item_id"].to_pylist(), found["keyphrase"].to_pylist(), strict=True))


Make = Callable[..., Written]


@pytest.fixture(scope="session")
def market(tmp_path_factory: pytest.TempPathFactory) -> Written:
    """Large enough for its statistics to be stable."""
    folder = tmp_path_factory.mktemp("simulation") / "market"
    return Written(simulate(folder, MarketplaceSettings(items=2_000, keyphrases=8_000, seed=3)), folder)


@pytest.fixture
def make(tmp_path: Path) -> Make:
    """Makes marketplaces of 400 items and 1500 keyphrases in few categories."""

    def write(name: str = "market", **knobs: Any) -> Written:
        settings = MarketplaceSettings(**{"items": 400, "keyphrases": 1_500, "leaf_categories": 12, "seed": 5, **knobs})
        return Written(simulate(tmp_path / name, settings), tmp_path / name)

    return write
