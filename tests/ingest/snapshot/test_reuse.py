"""A reindex of the files that the live collection was built from does not read them row by row again."""

from pathlib import Path
from typing import Any

import pytest

from keydistill.encoders import Student
from keydistill.execution import Reindexer
from keydistill.ingest.snapshot import Snapshot, build_snapshot
from keydistill.ingest.steps import reindex as reindex_steps
from keydistill.settings import load_settings
from keydistill.vectorstore.edge.engine import EmbeddedEngine
from tests.support.inventories import write_inventory

ROWS = 60


class Bench:
    """Reindexes one inventory, and counts the snapshots that were made of its rows."""

    def __init__(self, tmp_path: Path, student: str, monkeypatch: pytest.MonkeyPatch) -> None:
        self.home = tmp_path / "home"
        self.inventory = write_inventory(tmp_path / "inventory.csv", ROWS)
        self.made = 0
        self._student = student

        def counted(*arguments: Any, **options: Any) -> Snapshot:
            self.made += 1
            return build_snapshot(*arguments, **options)

        monkeypatch.setattr(reindex_steps, "build_snapshot", counted)

    def reindex(self, **settings: Any) -> Snapshot:
        chosen = load_settings(home=self.home, student=self._student, **{"part_rows": 20, **settings})
        with EmbeddedEngine(self.home) as engine:
            run = Reindexer(chosen, engine).start([self.inventory])
            assert run.state == "live"
            assert engine.count(run.collection) == run.rows == ROWS
        return Snapshot.open(self.home / "runs" / run.id / "snapshot")


@pytest.fixture
def bench(tmp_path: Path, tiny_folder: Path, tiny_student: Student, monkeypatch: pytest.MonkeyPatch) -> Bench:
    monkeypatch.setattr(Student, "load", lambda *_, **__: tiny_student)
    return Bench(tmp_path, str(tiny_folder), monkeypatch)


def content(snapshot: Snapshot) -> dict[str, bytes]:
    return {file.name: file.read_bytes() for file in snapshot.folder.iterdir()}


def test_the_same_file_is_taken_over(bench: Bench) -> None:
    first, second = bench.reindex(), bench.reindex()
    assert bench.made == 1
    assert content(first) == content(second)
    assert first.folder != second.folder
    # Of the one that was taken over itself, too.
    assert content(bench.reindex()) == content(first)
    assert bench.made == 1


def test_what_would_be_another_snapshot_is_made(bench: Bench) -> None:
    first = bench.reindex()
    assert len(bench.reindex(part_rows=30).parts) == 2
    assert bench.made == 2
    # As long as before, so that only its bytes tell.
    bench.inventory.write_text(bench.inventory.read_text().replace("red", "ret"))
    changed = bench.reindex(part_rows=30)
    assert bench.made == 3
    assert changed.summary.digest != first.summary.digest
    bench.reindex(part_rows=30, reuse_vectors=False)
    assert bench.made == 4


def test_one_that_was_pruned_is_made_again(bench: Bench) -> None:
    first = bench.reindex()
    (first.folder / "manifest.json").unlink()
    assert bench.reindex().summary.digest == first.summary.digest
    assert bench.made == 2
