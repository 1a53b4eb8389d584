"""`keydistill backup` and `restore`: what is lost with a disk comes back, on either engine, and nothing is replaced."""

import dataclasses
import errno
import json
import shutil
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from keydistill.backup import Archive, Manifest, points
from keydistill.backup.records import at_rest
from keydistill.distillation.registry import Lineage, Registry
from keydistill.errors import CollectionNotFoundError, StorageError
from keydistill.execution import Reindexer
from keydistill.runs import Kind, State, open_store
from keydistill.settings import load_settings
from keydistill.vectorstore import open_engine
from keydistill.vectorstore.edge.engine import EmbeddedEngine
from tests.cli.conftest import Command
from tests.runs.records import NEW_RUNS
from tests.support.front_process import FrontProcess
from tests.support.redis_server import RedisServer

TITLES = ("red shoes", "case for iphone 13", "usb cable", "blue running")
ENGINES = ("embedded", "server")


@pytest.fixture(scope="module")
def front(tmp_path_factory: pytest.TempPathFactory) -> Iterator[FrontProcess]:
    with FrontProcess(tmp_path_factory.mktemp("front")) as process:
        yield process


class Installations:
    """Homes on either engine, one at a time; each has the servers' aliases to itself by its name."""

    def __init__(self, command: Command, front: FrontProcess, monkeypatch: pytest.MonkeyPatch, folder: Path) -> None:
        self.command, self._front, self._patch, self._folder = command, front, monkeypatch, folder

    def use(self, name: str, engine: str) -> Path:
        home = self._folder / name
        self._patch.setenv("KEYDISTILL_HOME", str(home))
        self._patch.setenv("KEYDISTILL_ENGINE", engine)
        self._patch.setenv("KEYDISTILL_QDRANT_URL", self._front.url)
        self._patch.setenv("KEYDISTILL_GRACE_SECONDS", "0")
        return home

    def answers(self) -> list[Any]:
        results = [self.command("search", title, "--json") for title in TITLES]
        assert [result.status for result in results] == [0] * len(TITLES), results[0].err
        return [[(hit["keyphrase"], hit["score"]) for hit in json.loads(result.out)] for result in results]

    def history(self) -> Any:
        return json.loads(self.command("collections", "history", "--json").out)

    def empty_server(self) -> None:
        settings = load_settings(engine="server", qdrant_url=self._front.url)
        engine = open_engine(settings)
        for name in engine.collections():
            engine._client.delete_collection(name)  # type: ignore[attr-defined]  # past the guard of what is live
        engine.close()


@pytest.fixture
def homes(
    keydistill: Command, front: FrontProcess, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> Iterator[Installations]:
    installations = Installations(keydistill, front, monkeypatch, tmp_path)
    yield installations
    installations.empty_server()


@pytest.fixture(scope="module")
def original(tmp_path_factory: pytest.TempPathFactory, tiny_folder: Path) -> Path:
    """A home with a live collection and one for a rollback, and beside it their inventory; tests leave it as it is."""
    folder = tmp_path_factory.mktemp("original")
    inventory = folder / "inventory.csv"
    rows = ["red running shoes,900,US", "blue running shoes,50,US", "iphone 13 case,5000,US", "usb c cable,100,DE"]
    settings = load_settings(home=folder / "home", student=str(tiny_folder))
    with closing(open_engine(settings)) as engine:
        for _ in range(2):
            inventory.write_text("\n".join(["keyphrase,search_volume,site", *rows, ""]))
            assert Reindexer(settings, engine).start([inventory]).state == "live"
            rows.append("garden hose,40,US")
    return folder


@pytest.fixture
def backed_up(homes: Installations, original: Path, tmp_path: Path) -> Path:
    """A backup of the original, which is in use."""
    (tmp_path / "first").symlink_to(original / "home")
    homes.use("first", "embedded")
    result = homes.command("backup", tmp_path / "backups", "--json")
    assert result.status == 0, result.err
    assert sorted(json.loads(result.out)["collections"].values()) == [4, 5]
    return tmp_path / "backups"


@pytest.fixture
def inventory(original: Path, tmp_path: Path) -> Path:
    return Path(shutil.copy(original / "inventory.csv", tmp_path))


@pytest.mark.parametrize("engine", ENGINES)
def test_a_restore_into_an_empty_installation_answers_the_same(
    homes: Installations, backed_up: Path, engine: str, inventory: Path, tmp_path: Path
) -> None:
    answers, history = homes.answers(), homes.history()
    runs = homes.command("runs", "list", "--json").out
    home = homes.use("second", engine)
    assert homes.command("restore", backed_up).status == 0
    assert homes.answers() == answers
    assert homes.history() == history
    assert homes.command("runs", "list", "--json").out == runs
    assert homes.command("status").status == 0
    assert not (home / "restoring.json").exists()
    # It goes on as if nothing had happened: a sync has its snapshot, a rollback its collection.
    inventory.write_text(inventory.read_text() + "drill bits,7,US\n")
    result = homes.command("sync", inventory)
    assert result.status == 0, result.err
    assert homes.command("collections", "rollback", "--why", "to see").status == 0
    if engine == "embedded":
        return
    # And back to the engine where it came from.
    answers = homes.answers()
    assert homes.command("backup", tmp_path / "moved").status == 0
    homes.use("third", "embedded")
    assert homes.command("restore", tmp_path / "moved").status == 0
    assert homes.answers() == answers


def test_what_never_changes_is_not_written_again(homes: Installations, backed_up: Path) -> None:
    second = json.loads(homes.command("backup", backed_up, "--json").out)
    assert second["written"] == 0
    listed = json.loads(homes.command("backup", backed_up, "--list", "--json").out)
    assert [row["points"] for row in listed] == [9, 9]


def test_only_needed_files_stay(homes: Installations, backed_up: Path) -> None:
    orphan = Archive(str(backed_up)).keep_bytes(b"of a backup that was killed")
    draft = backed_up / "blobs" / orphan[:2] / f".{orphan}.4711"
    draft.write_bytes(b"half of ")
    blobs = {path.name for path in (backed_up / "blobs").rglob("*") if path.is_file()}
    result = json.loads(homes.command("backup", backed_up, "--keep", "1", "--verify", "--json").out)
    assert len(result["dropped"]) == 1
    assert result["verified"]
    assert blobs - {path.name for path in (backed_up / "blobs").rglob("*") if path.is_file()} == {*(orphan, draft.name)}


def test_an_installation_that_is_not_empty_is_refused_and_force_replaces_nothing(
    homes: Installations, backed_up: Path, tmp_path: Path
) -> None:
    homes.use("other", "embedded")
    other = tmp_path / "other.csv"
    other.write_text("keyphrase,search_volume,site\ngarden chair,5,US\ngarden table,9,US\n")
    assert homes.command("reindex", other).status == 0
    names = {row["name"] for row in json.loads(homes.command("collections", "list", "--json").out)}
    mixed = homes.command("backup", backed_up)
    assert mixed.status == 1
    assert "another installation" in mixed.err
    refused = homes.command("restore", backed_up)
    assert refused.status == 1
    assert "not empty: 1 runs" in refused.err
    assert homes.answers()[0][0][0].startswith("garden")
    result = homes.command("restore", backed_up, "--force")
    assert result.status == 0, result.err
    assert homes.answers()[0][0][0] == "red running shoes"
    kept = {row["name"] for row in json.loads(homes.command("collections", "list", "--json").out)}
    assert names < kept
    # The way back is in the log.
    assert homes.history()[0]["why"].startswith("restored from backup")


def test_a_restore_that_was_killed_goes_on(
    homes: Installations, backed_up: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    answers = homes.answers()
    homes.use("second", "embedded")

    def killed(*_: object) -> None:
        raise KeyboardInterrupt

    for method in ("finish", "swap_alias"):
        with monkeypatch.context() as patch:
            patch.setattr(EmbeddedEngine, method, killed)
            assert homes.command("restore", backed_up).status == 130
    assert homes.command("restore", backed_up).status == 0
    assert homes.answers() == answers


def test_what_a_restore_has_not_brought_back_is_not_backed_up_over_it(
    homes: Installations, backed_up: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    homes.use("second", "embedded")
    with monkeypatch.context() as patch:
        patch.setattr(EmbeddedEngine, "finish", lambda *_: (_ for _ in ()).throw(KeyboardInterrupt))
        assert homes.command("restore", backed_up).status == 130
    refused = homes.command("backup", backed_up, "--keep", "1")
    assert refused.status == 1
    assert "did not end" in refused.err
    assert homes.command("restore", backed_up).status == 0
    assert homes.command("backup", backed_up, "--keep", "1").status == 0


def test_a_lost_disk_with_the_registry_on_it(homes: Installations, tmp_path: Path, tiny_folder: Path) -> None:
    home = homes.use("lost", "embedded")
    trained = Path(shutil.copytree(tiny_folder, tmp_path / "trained"))
    # A manifest of the registry names hidden files, too.
    (trained / ".gitattributes").write_text("*.safetensors filter=lfs\n")
    version = Registry(home / "models").publish("student", trained, lineage=Lineage(), metrics={})
    Registry(home / "models").promote(version)
    rows = ["keyphrase,search_volume,site", "red running shoes,900,US", "usb c cable,100,DE"]
    file = tmp_path / "inventory.csv"
    for row in ("garden hose,40,US", "drill bits,7,US"):
        rows.append(row)
        file.write_text("\n".join([*rows, ""]))
        assert homes.command("reindex", file, "--student", "promoted").status == 0
    answers, backups = homes.answers(), tmp_path / "backups"
    (home / "judgments").mkdir()
    # The last line is being written.
    (home / "judgments" / "judgments.jsonl").write_text('{"a": 1}\n{"b"')
    whole = json.loads(homes.command("backup", backups, "--json").out)["backup"]
    # The only backup with the student as it was is not deleted for one with another, or without.
    losses: list[Callable[[], None]] = [
        (version.folder / ".gitattributes").unlink,
        lambda: shutil.rmtree(version.folder),
    ]
    for lose in losses:
        lose()
        result = homes.command("backup", backups, "--keep", "1")
        assert (result.status, "no earlier backup was deleted" in result.err) == (3, True)
    shutil.rmtree(home)
    shutil.rmtree(trained)
    elsewhere = homes.use("elsewhere", "embedded")
    assert homes.command("restore", backups, "--backup", whole).status == 0
    assert homes.answers() == answers
    assert homes.command("models", "verify").status == 0
    assert (elsewhere / "judgments" / "judgments.jsonl").read_text() == '{"a": 1}\n'
    assert homes.command("collections", "rollback").status == 0
    assert homes.command("reindex", file, "--student", "promoted").status == 0


def test_a_full_disk_of_the_home_is_not_said_of_the_backup(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    archive = Archive(str(tmp_path / "archive"))
    digest = archive.keep_bytes(b"contents")

    def full(*_: object, **__: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr("fsspec.implementations.local.LocalFileSystem.get_file", full)
    with pytest.raises(StorageError, match=r"home/file cannot be written \(No space left on device\); make room there"):
        archive.fetch(digest, tmp_path / "home" / "file")


def test_places_that_keep_nothing_are_refused(homes: Installations, tmp_path: Path) -> None:
    home = homes.use("first", "embedded")
    home.mkdir()
    for place, reason in (("", "the address is empty"), (home / "backups", "lost with it"), ("s3x://a", "not known")):
        result = homes.command("backup", place)
        assert result.status == 1
        assert reason in result.err


def test_a_backup_that_was_killed_is_none_and_the_next_goes_on(
    homes: Installations, backed_up: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def killed(*_: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(Archive, "add", killed)
        assert homes.command("backup", tmp_path / "new").status == 130
    assert "no backups" in homes.command("backup", tmp_path / "new", "--list").out
    assert homes.command("restore", tmp_path / "new").status == 1
    assert json.loads(homes.command("backup", tmp_path / "new", "--json").out)["written"] == 0


def test_a_collection_that_goes_while_it_is_read_is_read_for_again(
    homes: Installations, backed_up: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    keep_points, reads = points.keep_points, []

    def gone_at_first(engine: EmbeddedEngine, name: str, *rest: Any) -> Any:
        reads.append(name)
        if len(reads) == 2:
            raise CollectionNotFoundError(f"no collection {name!r}")
        return keep_points(engine, name, *rest)

    monkeypatch.setattr("keydistill.backup.writing.keep_points", gone_at_first)
    result = homes.command("backup", tmp_path / "new", "--verify", "--json")
    assert result.status == 0, result.err
    # What was read already is not read again.
    assert len(reads) == 3
    assert sorted(json.loads(result.out)["collections"].values()) == [4, 5]


@pytest.mark.parametrize("damage", ["missing", "changed"])
def test_damage_is_named_and_nothing_is_restored_from_it(
    homes: Installations, backed_up: Path, tmp_path: Path, damage: str
) -> None:
    manifest = Archive(str(backed_up)).manifest()
    (digest, *_) = [part.digest for saved in manifest.collections.values() for part in saved.parts]
    blob = backed_up / "blobs" / digest[:2] / digest
    if damage == "missing":
        blob.unlink()
    else:
        blob.write_bytes(blob.read_bytes()[::-1])
    home = homes.use("second", "embedded")
    for options in (["--dry-run"], []):
        result = homes.command("restore", backed_up, *options)
        assert result.status == 1
        assert digest in result.err or "cannot be read" in result.err
        assert len(result.err.splitlines()) == 1
    assert open_store(load_settings(home=home)).history() == []


def test_a_newer_manifest_is_refused_by_name(homes: Installations, backed_up: Path) -> None:
    (path,) = (backed_up / "backups").glob("*.json")
    path.write_text(json.dumps({**json.loads(path.read_text()), "format": 99, "written_by": "9.9"}))
    homes.use("second", "embedded")
    result = homes.command("restore", backed_up)
    assert result.status == 1
    assert "newer keydistill (9.9, format 99" in result.err


@pytest.mark.parametrize("field", ["snapshots", "unreadable", "promotions", "collections", "place"])
def test_names_in_a_manifest_that_lead_elsewhere_are_refused(tmp_path: Path, field: str) -> None:
    values: dict[str, Any] = {
        **{"id": "1", "created_at": "", "installation": "", "engine": "embedded", "runs": "", "history": ""},
        **{name: {} for name in ("aliases", "collections", "promotions", "snapshots", "settings", "unreadable")},
        **{"models": [], "paused": []},
    }
    assert Manifest.parse(json.dumps(values).encode(), "x").id == "1"
    collection = {"key": "", "spec": {}, "metadata": {}, "points": 0, "parts": []}
    evil = {"snapshots": {}, "unreadable": "", "promotions": "", "collections": collection}
    model: dict[str, Any] = {"source": "a", "place": "student/../..", "version": None, "files": {}}
    values |= {"models": [model]} if field == "place" else {field: {"../evil": evil[field]}}
    with pytest.raises(StorageError, match="leads out of its folder"):
        Manifest.parse(json.dumps(values).encode(), "x")


def test_secrets_are_in_no_file_of_a_backup(
    homes: Installations, backed_up: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("KEYDISTILL_QDRANT_API_KEY", "hush-hush-hush")
    assert homes.command("backup", backed_up).status == 0
    files = [path for path in backed_up.rglob("*") if path.is_file()]
    assert not [path for path in files if b"hush-hush-hush" in path.read_bytes()]


def test_a_name_that_leads_out_of_its_folder_is_refused(tmp_path: Path) -> None:
    archive = Archive(str(tmp_path / "archive"))
    digest = archive.keep_bytes(b"evil")
    with pytest.raises(StorageError, match="outside of its folder"):
        archive.fetch_folder({"../../evil": digest}, tmp_path / "a" / "b")
    assert not (tmp_path / "evil").exists()


def test_urls_of_any_driver(homes: Installations, backed_up: Path, tmp_path: Path) -> None:
    url = f"memory://{tmp_path.name}"
    assert homes.command("backup", url, "--verify", "--keep", "1").status == 0
    second = json.loads(homes.command("backup", url, "--keep", "1", "--json").out)
    assert (second["written"], len(second["dropped"])) == (0, 1)
    plan = json.loads(homes.command("restore", url, "--dry-run", "--json").out)
    assert (plan["backup"], len(plan["keep"]), plan["make"]) == (second["backup"], 2, {})


def test_one_backup_at_a_time(homes: Installations, backed_up: Path, original: Path) -> None:
    store = open_store(load_settings(home=original / "home"))
    with store.lease("backup", "backup"):
        result = homes.command("backup", backed_up)
    assert result.status == 1
    assert "another backup or restore" in result.err


def test_runs_log_and_pauses_that_redis_kept(
    homes: Installations, backed_up: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    history, runs = homes.history(), homes.command("runs", "list", "--json").out
    monkeypatch.setenv("KEYDISTILL_SCHEDULES", '{"nightly": {"cron": "0 3 * * *", "task": "prune"}}')
    with RedisServer(tmp_path / "redis") as redis:
        monkeypatch.setenv("KEYDISTILL_REDIS_URL", redis.url)
        homes.use("shared", "embedded")
        assert homes.command("restore", backed_up).status == 0
        assert homes.command("schedule", "pause", "nightly").status == 0
        assert homes.command("backup", tmp_path / "second").status == 0
        redis.flush()
        homes.use("again", "embedded")
        assert homes.command("restore", tmp_path / "second").status == 0
        assert homes.history() == history
        assert homes.command("runs", "list", "--json").out == runs
        assert json.loads(homes.command("schedule", "list", "--json").out)[0]["next"] is None


@pytest.mark.parametrize(
    ("kind", "state", "restored"),
    [("sync", "applying", "failed"), ("sync", "planned", "cancelled"), ("reindex", "building", "cancelled")],
)
def test_what_was_under_way_is_not_where_it_is_restored(kind: Kind, state: State, restored: State) -> None:
    run = dataclasses.replace(NEW_RUNS[kind](), state=state)
    assert at_rest(run, "b").state == restored
    over = dataclasses.replace(NEW_RUNS["reindex"](), state="live")
    assert at_rest(over, "b") == over
