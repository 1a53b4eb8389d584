import os
import signal
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from keydistill.errors import StorageError
from keydistill.storage import SharedStorage


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    made = tmp_path / "made"
    (made / "sub").mkdir(parents=True)
    (made / "a.txt").write_text("first")
    (made / "sub" / "b.bin").write_bytes(os.urandom(100_000))
    return made


@pytest.fixture(params=["path", "url", "memory"])
def storage(request: pytest.FixtureRequest, tmp_path: Path) -> SharedStorage:
    url = {"path": str(tmp_path / "shared"), "url": f"file://{tmp_path}/shared", "memory": f"memory://{tmp_path}"}
    return SharedStorage(url[request.param], tmp_path / "home")


def files(folder: Path) -> dict[str, bytes]:
    return {str(file.relative_to(folder)): file.read_bytes() for file in folder.rglob("*") if file.is_file()}


def test_what_is_put_is_fetched(storage: SharedStorage, folder: Path, tmp_path: Path) -> None:
    assert not storage.has("snapshots/x")
    storage.put_folder(folder, "snapshots/x")
    assert storage.has("snapshots/x")
    assert files(storage.fetch_folder("snapshots/x", tmp_path / "got" / "x")) == files(folder)


def test_what_is_there_never_changes(storage: SharedStorage, folder: Path, tmp_path: Path) -> None:
    storage.put_folder(folder, "x")
    before = files(folder)
    (folder / "a.txt").write_text("other")
    storage.put_folder(folder, "x")
    assert files(storage.fetch_folder("x", tmp_path / "got")) == before


def test_two_fetch_at_once(storage: SharedStorage, folder: Path, tmp_path: Path) -> None:
    storage.put_folder(folder, "x")
    threads = [threading.Thread(target=storage.fetch_folder, args=("x", tmp_path / "got")) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert files(tmp_path / "got") == files(folder)
    assert [path.name for path in tmp_path.glob(".got*")] == []


def test_what_is_not_whole_is_refused(folder: Path, tmp_path: Path) -> None:
    storage = SharedStorage(str(tmp_path / "shared"), tmp_path / "home")
    storage.put_folder(folder, "x")
    (tmp_path / "shared" / "x" / "a.txt").write_text("furst")
    with pytest.raises(StorageError, match=r"a.txt of x .* is not what was put there"):
        storage.fetch_folder("x", tmp_path / "got")
    next((tmp_path / "shared" / "x").glob("manifest*")).unlink()
    with pytest.raises(StorageError, match="has no x, or not the whole of it"):
        storage.fetch_folder("x", tmp_path / "got")
    assert not (tmp_path / "got").exists()


@pytest.mark.parametrize("step", ["put", "fetch"])
def test_killed_in_the_middle(folder: Path, tmp_path: Path, step: str) -> None:
    storage = SharedStorage(str(tmp_path / "shared"), tmp_path / "home")
    if step == "fetch":
        storage.put_folder(folder, "x")
    code = f"""
import os, signal
from pathlib import Path
from fsspec.implementations.local import LocalFileSystem
from keydistill.storage import SharedStorage
original = LocalFileSystem.{step[:3]}_file
def once(self, a, b, **options):
    if "sub" in a:
        os.kill(os.getpid(), signal.SIGKILL)
    return original(self, a, b, **options)
LocalFileSystem.{step[:3]}_file = once
storage = SharedStorage({str(tmp_path / "shared")!r}, Path({str(tmp_path / "home")!r}))
storage.put_folder(Path({str(folder)!r}), "x")
storage.fetch_folder("x", Path({str(tmp_path / "got")!r}))
"""
    code = code.replace("fet_file", "get_file")
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == -signal.SIGKILL
    assert not (tmp_path / "got").exists()
    assert storage.has("x") == (step == "fetch")
    storage.put_folder(folder, "x")
    assert files(storage.fetch_folder("x", tmp_path / "got")) == files(folder)
    assert [path.name for path in tmp_path.glob(".got*")] == []


def test_errors_are_one_line_without_secrets(tmp_path: Path) -> None:
    with pytest.raises(StorageError) as caught:
        SharedStorage("nothing://user:secret@host/bucket", tmp_path)
    assert "nothing://host/bucket cannot be reached (Protocol not known: nothing)" in str(caught.value)
    assert "secret" not in str(caught.value)
    (tmp_path / "file").touch()
    with pytest.raises(StorageError, match="cannot be reached"):
        SharedStorage(str(tmp_path / "file" / "below"), tmp_path).check()
