"""Mishaps of an operator: files that are gone, damaged or of another version. Nothing is deleted for them."""

import errno
import json
import shutil
from pathlib import Path
from typing import Any

import pytest

from keydistill.errors import InputError, RunBusyError
from keydistill.ingest.aliases import Adoption
from keydistill.ingest.snapshot import Snapshot
from keydistill.runs import open_store
from keydistill.runs.file_store import FileRunStore
from keydistill.settings import load_settings
from keydistill.vectorstore.edge import EmbeddedEngine
from tests.cli.conftest import Command


@pytest.fixture
def home(tmp_path: Path) -> Path:
    return tmp_path / "home"


@pytest.fixture
def twice(live: Command, inventory: Path, tmp_path: Path) -> Command:
    """The command, with two collections of which the second is live."""
    other = tmp_path / "other.csv"
    other.write_text(inventory.read_text(encoding="utf-8") + "straw hat,,5,US\n", encoding="utf-8")
    assert live("reindex", other).status == 0
    return live


def folders(home: Path) -> list[str]:
    return sorted(folder.name for folder in (home / "collections").iterdir() if folder.is_dir())


def catalog(home: Path) -> dict[str, Any]:
    values: dict[str, Any] = json.loads((home / "catalog.json").read_text())
    return values


def live_collection(home: Path) -> str:
    with EmbeddedEngine(home) as engine:
        (name,) = engine.aliases().values()
    return name


@pytest.mark.parametrize("damage", ["missing", "empty", "half"])
@pytest.mark.parametrize("with_cards", [True, False])
def test_a_lost_catalogue_is_refused_and_rebuilt_as_it_was(
    twice: Command, inventory: Path, home: Path, damage: str, with_cards: bool
) -> None:
    before, names = catalog(home), folders(home)
    assert twice("search", "hat", "--json").status == 0
    answers = twice("search", "hat", "--json").out
    path = home / "catalog.json"
    if not with_cards:  # of before there were any
        for name in names:
            shutil.rmtree(home / "collections" / name / "keydistill")
    if damage == "missing":
        path.unlink()
    else:
        path.write_text("" if damage == "empty" else path.read_text()[:40])
    for refused in (["status"], ["reindex", inventory], ["sync", inventory], ["collections", "prune", "--keep", "0"]):
        result = twice(*refused)
        assert result.status == 1
        assert "keydistill collections adopt" in result.err
    assert folders(home) == names
    assert twice("collections", "adopt", "--dry-run").out.endswith("dry run: nothing was changed\n")
    assert path.exists() == (damage != "missing")
    assert twice("collections", "adopt").status == 0
    after = catalog(home)
    assert after["aliases"] == before["aliases"]
    if with_cards:
        assert after == before
    assert len(list(home.glob("catalog.json.damaged-*"))) == (damage != "missing")
    assert twice("search", "hat", "--json").out == answers
    assert twice("collections", "rollback").status == 0
    assert twice("reindex", inventory).status == 0
    assert set(names) < set(folders(home))


def test_a_folder_that_nothing_names_goes_to_the_trash_for_the_grace_time(
    live: Command, inventory: Path, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    stranger = home / "collections" / "stranger"
    stranger.mkdir()
    (stranger / "kept.txt").write_text("kept")
    assert "stranger: no card and no run says what it is" in live("collections", "adopt").out
    assert live("reindex", inventory).status == 0
    assert not stranger.exists()
    (kept,) = (home / "trash").glob("stranger.*")
    assert (kept / "kept.txt").read_text() == "kept"
    kept.rename(kept.with_name("stranger.1"))
    assert live("reindex", inventory).status == 0
    assert list((home / "trash").iterdir()) == []


def test_a_collection_of_an_older_catalogue_can_be_adopted(twice: Command, home: Path) -> None:
    """A backup that lacks the last collection; until the next build its folder is where it was."""
    values = catalog(home)
    last = live_collection(home)
    first = (set(folders(home)) - {last}).pop()
    del values["collections"][last]
    values["aliases"] = {"keyphrases": first}
    (home / "catalog.json").write_text(json.dumps(values))
    assert twice("collections", "adopt").status == 0
    assert set(catalog(home)["collections"]) == {first, last}
    assert live_collection(home) == first


def test_a_newer_catalogue_is_named_and_left_alone(live: Command, inventory: Path, home: Path) -> None:
    path = home / "catalog.json"
    path.write_text(json.dumps({**catalog(home), "format": 2, "written_by": "9.1"}))
    before = path.read_bytes()
    for arguments in (["status"], ["reindex", inventory], ["collections", "adopt"], ["search", "shoes"]):
        result = live(*arguments)
        assert result.status == 1
        assert "was written by a newer keydistill (9.1, format 2" in result.err
    assert path.read_bytes() == before


@pytest.mark.parametrize("damage", ["gone", "segments gone", "config damaged"])
def test_a_live_collection_that_is_lost_is_named_and_replaced(
    twice: Command, inventory: Path, home: Path, damage: str
) -> None:
    lost = live_collection(home)
    folder = home / "collections" / lost
    if damage == "gone":
        shutil.rmtree(folder)
    elif damage == "segments gone":
        shutil.rmtree(folder / "segments")
    else:
        (folder / "edge_config.json").write_text("{")
    for arguments in (["search", "hat"], ["sync", inventory]):
        result = twice(*arguments)
        assert result.status == 1
        assert f"collection '{lost}' is lost" in result.err
        assert "keydistill collections rollback" in result.err
    assert f"collection '{lost}' is lost" in twice("status").out
    listed = json.loads(twice("collections", "list", "--json").out)
    assert {entry["state"] for entry in listed} == {"ready", "lost"}
    assert twice("collections", "prune", "--dry-run").status == 0
    assert twice("reindex", inventory).status == 0
    assert twice("search", "shoes").status == 0
    pruned = json.loads(twice("collections", "prune", "--json").out)
    assert (lost in pruned["drop"]) == (damage == "gone")
    assert len(pruned["kept"]) == (2 if damage == "gone" else 3)


def test_a_lost_collection_is_none_to_roll_back_to(twice: Command, inventory: Path, home: Path) -> None:
    second = live_collection(home)
    assert twice("reindex", inventory).status == 0
    shutil.rmtree(home / "collections" / second)
    (first,) = set(folders(home)) - {second, live_collection(home)}
    refused = twice("collections", "rollback", "--to", second)
    assert refused.status == 1
    assert "is lost" in refused.err
    assert twice("collections", "rollback").out.startswith(f"alias keyphrases names {first}")


def test_listing_does_not_open_what_another_process_builds(live: Command, home: Path) -> None:
    from keydistill.vectorstore import CollectionSpec

    with EmbeddedEngine(home) as builder:
        builder.create("elsewhere", CollectionSpec(4), {})
        for arguments in (["list"], ["prune", "--dry-run"], ["prune"]):
            assert live("collections", *arguments).status == 0
        (row,) = [line for line in live("collections", "list").out.splitlines() if line.startswith("elsewhere")]
        assert "building" in row
        assert live("status").status == 0


def test_a_record_of_the_future_is_named_once_and_stops_no_other(
    twice: Command, inventory: Path, home: Path, caplog: pytest.LogCaptureFixture
) -> None:
    store = open_store(load_settings(home=home))
    newest, oldest = store.all()
    path = home / "runs" / oldest.id / "run.json"
    values = json.loads(path.read_text())
    assert values["format"] == 1
    path.write_text(json.dumps({**values, "format": 2, "written_by": "9.1", "new_field": 1}))
    before = path.read_bytes()
    assert newest.id in twice("runs", "list").out
    assert twice("reindex", inventory).status == 0
    told = [record.message for record in caplog.records if oldest.id in record.message]
    assert len(told) == 1
    assert "was written by a newer keydistill (9.1, format 2; this one reads format 1)" in told[0]
    refused = twice("runs", "show", oldest.id)
    assert refused.status == 1
    assert "upgrade keydistill and leave it as it is" in refused.err
    assert "delete its" not in refused.err
    assert path.read_bytes() == before


@pytest.mark.parametrize("record", ["{", "[]", '{"kind": "reindex", "new_field": 1}', '{"format": "two"}'])
def test_no_record_is_to_be_deleted(live: Command, home: Path, record: str) -> None:
    path = home / "runs" / "20260101-000000-abcd" / "run.json"
    path.parent.mkdir()
    path.write_text(record)
    refused = live("runs", "show", "20260101-000000-abcd")
    assert refused.status == 1
    assert "no run record that this keydistill reads" in refused.err
    assert "delete its" not in refused.err
    assert live("status").status == 0


def test_lines_of_the_history(twice: Command, home: Path) -> None:
    path = home / "history.jsonl"
    before = path.read_bytes()
    assert json.loads(before.splitlines()[0])["format"] == 1
    path.write_bytes(b'{"at": \n\xff\xfe\n[1]\n' + before)
    assert len(json.loads(twice("collections", "history", "--json").out)) == 2
    line = json.dumps({**json.loads(before.splitlines()[0]), "format": 2, "written_by": "9.1"})
    path.write_bytes(before + line.encode() + b"\n")
    for command in (["prune", "--keep", "0"], ["rollback"], ["history"]):
        refused = twice("collections", *command)
        assert refused.status == 1
        assert "line 3, was written by a newer keydistill (9.1, format 2" in refused.err
    assert len(folders(home)) == 2


def test_runs_of_long_ago_are_forgotten_on_request(twice: Command, home: Path) -> None:
    values: dict[str, Any] = {}
    for record in home.glob("runs/*/run.json"):
        values = {**json.loads(record.read_text()), "updated_at": "2020-01-01T00:00:00+00:00"}
        record.write_text(json.dumps(values))
    old = home / "runs" / "20200101-000000-abcd" / "run.json"
    old.parent.mkdir()
    old.write_text(json.dumps({**values, "id": old.parent.name, "state": "cancelled", "collection": "gone"}))
    told = twice("runs", "prune", "--dry-run").out
    assert f"{old.parent.name}    would be forgotten" in told
    assert told.endswith("dry run: nothing was changed\n")
    assert old.exists()
    assert json.loads(twice("runs", "prune", "--json").out)["forget"] == [old.parent.name]
    assert not old.parent.exists()
    assert len(json.loads(twice("runs", "list", "--json").out)) == 2
    assert twice("collections", "rollback").status == 0


def test_adopting_twice_changes_nothing(twice: Command, home: Path) -> None:
    before = catalog(home)
    settings = load_settings(home=home)
    with EmbeddedEngine(home) as engine:
        plan = Adoption(settings, engine, open_store(settings)).adopt()
    assert (dict(plan.collections), dict(plan.aliases), plan.unknown) == ({}, {}, ())
    assert catalog(home) == before


def test_a_lease_needs_no_room_on_the_disk(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(path: Path, _: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device", str(path))

    store = FileRunStore(home)
    with monkeypatch.context() as patch:
        patch.setattr("keydistill.runs.file_store.replace_json", full)
        with store.lease("build:a", "one"), pytest.raises(RunBusyError), store.lease("build:a", "two"):
            pass
    with store.lease("build:a", "three"):
        assert store.holder("build:a") == "three"
    assert store.holder("build:a") is None


def test_a_newer_snapshot_is_named(live: Command, home: Path) -> None:
    (manifest,) = home.glob("runs/*/snapshot/manifest.json")
    manifest.write_text(json.dumps({**json.loads(manifest.read_text()), "format": 99}))
    with pytest.raises(InputError, match=r"was written by a newer keydistill .*format 99") as caught:
        Snapshot.open(manifest.parent)
    assert "build the snapshot again" not in str(caught.value)
