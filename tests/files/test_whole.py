"""What appears whole or not at all, and who may write it."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from keydistill.errors import InputError, StorageError
from keydistill.files import FolderKind, lock_handle, replace_json, whole_file, whole_folder

KIND = FolderKind("report", "report.json")


def fill(folder: Path, text: str) -> None:
    (folder / KIND.manifest).write_text(text)


def interrupted(file: Path) -> None:
    file.write_text("half")
    raise KeyboardInterrupt


def test_a_file_is_replaced_whole_or_stays(tmp_path: Path) -> None:
    path = tmp_path / "new" / "table.csv"
    with whole_file(path) as draft:
        assert draft.suffix == ".csv"
        draft.write_text("old")
        assert not path.exists()
    with pytest.raises(KeyboardInterrupt), whole_file(path) as draft:
        interrupted(draft)
    with whole_file(path):
        pass
    assert path.read_text() == "old"
    assert [entry.name for entry in path.parent.iterdir()] == ["table.csv"]
    with pytest.raises(TypeError):
        replace_json(path, object())
    assert path.read_text() == "old"


def test_a_folder_is_replaced_only_by_its_kind_and_force(tmp_path: Path) -> None:
    out = tmp_path / "out"
    with whole_folder(out, KIND) as folder:
        fill(folder, "first")
    with pytest.raises(InputError, match="not empty"), whole_folder(out, KIND):
        pass
    with pytest.raises(StorageError, match="is there already and is never overwritten"), whole_folder(out):
        pass
    with pytest.raises(KeyboardInterrupt), whole_folder(out, KIND, force=True) as folder:
        interrupted(folder / KIND.manifest)
    assert (out / KIND.manifest).read_text() == "first"
    with whole_folder(out, KIND, force=True) as folder:
        fill(folder, "second")
    assert (out / KIND.manifest).read_text() == "second"
    assert [entry.name for entry in tmp_path.iterdir()] == ["out"]


def test_what_a_killed_process_left_goes_with_the_next_one(tmp_path: Path) -> None:
    code = (
        "import os, sys; from pathlib import Path; from keydistill.files import whole_folder\n"
        "with whole_folder(Path(sys.argv[1])) as folder: (folder / 'half').touch(); os.kill(os.getpid(), 9)"
    )
    out = tmp_path / "out"
    assert subprocess.run([sys.executable, "-c", code, str(out)], check=False).returncode == -signal.SIGKILL
    assert [entry.name for entry in tmp_path.iterdir()] == [".out.partial"]
    with whole_folder(out) as folder:
        assert list(folder.iterdir()) == []
        with pytest.raises(StorageError, match="another process is writing"), whole_folder(out):
            pass
    assert [entry.name for entry in tmp_path.iterdir()] == ["out"]


def test_a_folder_that_cannot_be_made_is_one_line(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with (
        pytest.raises(StorageError, match=r"cannot be made \(Not a directory\)"),
        whole_folder(tmp_path / "file" / "x"),
    ):
        pass


def test_a_lock_is_on_what_the_name_says_now(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = tmp_path / "folder"
    with pytest.raises(FileNotFoundError):
        lock_handle(folder)
    folder.mkdir()
    handle = lock_handle(folder)
    with pytest.raises(BlockingIOError):
        lock_handle(folder)
    os.close(handle)
    os.close(lock_handle(folder))
    opened = os.open

    def open_and_replace(path: Path, flags: int) -> int:
        handle = opened(path, flags)
        folder.rename(tmp_path / "elsewhere")
        folder.mkdir()
        return handle

    monkeypatch.setattr(os, "open", open_and_replace)
    with pytest.raises(FileNotFoundError, match="replaced while it was being locked"):
        lock_handle(folder)
