"""What a machine that works on a run needs of it, and gets from the machine that began it."""

import json
from pathlib import Path
from typing import Self, cast

import pytest

from keydistill.encoders import StudentFiles
from keydistill.errors import StorageError, StudentMismatchError
from keydistill.execution import Reindexer
from keydistill.execution.sources import shared_sources, snapshot_folder, student_folder
from keydistill.ingest.steps import ReindexSteps
from keydistill.runs import open_store
from keydistill.runs.file_store import FileRunStore
from keydistill.settings import load_settings
from keydistill.storage import SharedStorage
from keydistill.vectorstore import CollectionSpec, Engine
from keydistill.vectorstore.edge.engine import EmbeddedEngine
from tests.support.inventories import write_inventory

ROWS = 240


@pytest.fixture
def inventory(tmp_path: Path) -> Path:
    return write_inventory(tmp_path / "inventory.csv", ROWS)


def files(folder: Path) -> dict[str, bytes]:
    return {str(file.relative_to(folder)): file.read_bytes() for file in folder.rglob("*") if file.is_file()}


def test_a_machine_without_the_student_gets_it(tiny_folder: Path, tmp_path: Path, inventory: Path) -> None:
    settings = load_settings(home=tmp_path / "here", student=str(tiny_folder))
    shared = SharedStorage(str(tmp_path / "shared"), settings.home)

    class NoEngine:
        def aliases(self) -> dict[str, str]:
            return {}

        def patient(self, *_: object) -> Self:
            return self

        def cannot_do(self, spec: CollectionSpec) -> dict[str, str]:
            return {}

    run = ReindexSteps(settings, cast(Engine, NoEngine()), FileRunStore(settings.home)).new_run([inventory])
    assert student_folder(run, settings, shared) == str(tiny_folder)
    elsewhere = run.changed(student=f"/not/here/{tiny_folder.name}")
    with pytest.raises(StudentMismatchError, match=f"began with student {run.student_version}"):
        student_folder(elsewhere, settings, shared)
    shared.put_folder(tiny_folder, f"students/{run.student_version}")
    copy = student_folder(elsewhere, settings, shared)
    assert StudentFiles.find(copy).version == run.student_version

    with pytest.raises(StorageError, match=f"has no snapshots/{run.id}"):
        snapshot_folder(run.id, settings, shared)
    folder = tmp_path / "made"
    folder.mkdir()
    (folder / "manifest.json").write_text(json.dumps({}))
    shared.put_folder(folder, f"snapshots/{run.id}")
    assert files(snapshot_folder(run.id, settings, shared)) == files(folder)


def test_what_one_command_builds_others_can_work_with(tiny_folder: Path, tmp_path: Path, inventory: Path) -> None:
    settings = load_settings(home=tmp_path / "home", student=str(tiny_folder), shared=str(tmp_path / "shared"))
    with EmbeddedEngine(settings.home) as engine:
        sources = shared_sources(settings, open_store(settings))
        run = Reindexer(settings, engine, sources=sources).start([inventory])
    shared = SharedStorage(str(tmp_path / "shared"), tmp_path / "elsewhere")
    assert shared.has(f"students/{run.student_version}")
    assert shared.has(f"snapshots/{run.id}")
