"""Who may read what is written, in a home and elsewhere."""

import grp
import os
import stat
import subprocess
import sys
from pathlib import Path

# In a process of its own, which keeps its homes to itself from then on.
WRITE = """
import sys
from pathlib import Path
from keydistill.files import protect_home, replace_json, whole_folder
home, elsewhere, group = sys.argv[1:]
protect_home(Path(home), group or None)
replace_json(Path(home) / "runs" / "run.json", {})
(Path(home) / "history.jsonl").write_text("")
with whole_folder(Path(home) / "models" / "a") as folder:
    (folder / "weights").write_bytes(b"1")
replace_json(Path(elsewhere) / "out.json", {})
with whole_folder(Path(elsewhere) / "report") as folder:
    (folder / "index.html").write_text("")
"""


def write(home: Path, elsewhere: Path, group: str = "") -> str:
    done = subprocess.run(
        [sys.executable, "-c", WRITE, str(home), str(elsewhere), group],
        capture_output=True,
        text=True,
        check=False,
        umask=0o022,
    )
    return done.stderr


def modes(folder: Path) -> set[tuple[str, int]]:
    return {
        ("folder" if path.is_dir() else "file", stat.S_IMODE(path.stat().st_mode))
        for path in (folder, *folder.rglob("*"))
    }


def test_a_home_is_its_owners_alone_and_outputs_are_as_usual(tmp_path: Path) -> None:
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    elsewhere.chmod(0o755)
    assert write(tmp_path / "home", elsewhere) == ""
    assert modes(tmp_path / "home") == {("folder", 0o700), ("file", 0o600)}
    assert modes(elsewhere) == {("folder", 0o755), ("file", 0o644)}


def test_a_group_may_read_a_new_home(tmp_path: Path) -> None:
    group = grp.getgrgid(os.getgid())
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    elsewhere.chmod(0o755)
    assert write(tmp_path / "home", elsewhere, group.gr_name) == ""
    assert {(kind, mode & 0o777) for kind, mode in modes(tmp_path / "home")} == {("folder", 0o750), ("file", 0o640)}
    assert {path.stat().st_gid for path in (tmp_path / "home").rglob("*")} == {group.gr_gid}
    assert modes(elsewhere) == {("folder", 0o755), ("file", 0o644)}


def test_a_group_that_is_not_there_is_named(tmp_path: Path) -> None:
    error = write(tmp_path / "home", tmp_path, "nobodys-group")
    assert "home_group is 'nobodys-group', and there is no such group here" in error
    assert not (tmp_path / "home").exists()


def test_commands_keep_their_home_to_themselves(tmp_path: Path) -> None:
    home = tmp_path / "home"

    def command(*arguments: str, status: int = 0) -> None:
        whole = [sys.executable, "-m", "keydistill.cli.main", "--home", str(home), *arguments]
        ended = subprocess.run(whole, capture_output=True, check=False, umask=0o022)
        assert ended.returncode == status, ended.stderr

    command("settings")
    command("collections", "hold", "keyphrases", "--why", "a test", status=2)
    assert not home.exists()
    home.mkdir(mode=0o700)
    command("collections", "hold", "keyphrases", "--why", "a test")
    assert (home / "history.jsonl").is_file()
    assert modes(home) == {("folder", 0o700), ("file", 0o600)}
