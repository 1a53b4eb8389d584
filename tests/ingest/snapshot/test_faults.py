"""A snapshot is there completely or not at all, whatever happens while it is written."""

import errno
import fcntl
import os
import signal
import subprocess
import sys
import textwrap
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from keydistill.errors import InputChangedError, StorageError
from keydistill.ingest.snapshot import Snapshot, SnapshotSettings, build_snapshot
from keydistill.ingest.snapshot.parts import PartWriter
from tests.support.heard_progress import HeardProgress

SETTINGS = SnapshotSettings(part_rows=1_000, max_reject_share=0.05, max_keyphrase_chars=200, memory_mb=64)
ROWS = 20_000


def count_tokens(texts: Sequence[str]) -> list[int]:
    return [len(text.split()) + 2 for text in texts]


@pytest.fixture
def inventory(tmp_path: Path) -> Path:
    path = tmp_path / "inventory.csv"
    path.write_text("keyphrase\n" + "".join(f"keyphrase number {n}\n" for n in range(ROWS)))
    return path


def build(inventory: Path, out: Path, **options: Any) -> Snapshot:
    return build_snapshot([inventory], out, SETTINGS, count_tokens, **options)


def beside(inventory: Path) -> list[str]:
    return sorted(path.name for path in inventory.parent.iterdir() if path != inventory)


class Stop(BaseException):
    """As Ctrl-C comes: not an `Exception`."""


def failing_at(call: int, kind: type[BaseException], *details: object) -> Callable[..., object]:
    calls = 0

    def fail(*arguments: Any) -> object:
        nonlocal calls
        calls += 1
        if calls == call:
            raise kind(*details)
        return original(*arguments)

    original = PartWriter._write_part
    return fail


@pytest.mark.parametrize("call", [1, 7])
def test_an_interruption_leaves_nothing(
    inventory: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, call: int
) -> None:
    monkeypatch.setattr(PartWriter, "_write_part", failing_at(call, Stop))
    with pytest.raises(Stop):
        build(inventory, tmp_path / "out")
    assert beside(inventory) == []


@pytest.mark.parametrize(
    ("details", "message"),
    [
        ((errno.ENOSPC, "No space left on device"), "the disk that holds .* is full"),
        (("[Errno 28] Error writing bytes to file. Detail: No space left on device",), "is full"),
        ((errno.EDQUOT, "Disk quota exceeded"), "is full"),
        ((errno.EROFS, "Read-only file system"), "cannot be written"),
    ],
)
def test_a_full_disk_is_one_line_and_leaves_nothing(
    inventory: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, details: tuple[object, ...], message: str
) -> None:
    monkeypatch.setattr(PartWriter, "_write_part", failing_at(3, OSError, *details))
    with pytest.raises(StorageError, match=message) as raised:
        build(inventory, tmp_path / "out")
    assert "\n" not in str(raised.value)
    assert beside(inventory) == []


def test_a_defect_is_not_taken_for_a_full_disk(
    inventory: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(PartWriter, "_write_part", failing_at(1, OSError, errno.EIO, "Input/output error"))
    with pytest.raises(OSError, match="Input/output"):
        build(inventory, tmp_path / "out")


def test_a_write_limit_of_the_system(inventory: Path, tmp_path: Path) -> None:
    # The one way to run out of room for real without a file system of one's own.
    code = f"""
        import resource, signal, sys
        from pathlib import Path
        from keydistill.ingest.snapshot import SnapshotSettings, build_snapshot
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, 20_000))
        build_snapshot([Path({str(inventory)!r})], Path({str(tmp_path / "out")!r}),
                       SnapshotSettings(1_000, 0.05, 200, 64), lambda texts: [1] * len(texts))
    """
    done = subprocess.run([sys.executable, "-c", textwrap.dedent(code)], capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert "File too large" in done.stderr
    assert beside(inventory) == []


def test_an_input_that_changes_leaves_nothing(inventory: Path, tmp_path: Path) -> None:
    def change() -> None:
        os.utime(inventory, ns=(1, 1))

    with pytest.raises(InputChangedError):
        build(inventory, tmp_path / "out", progress=HeardProgress(change))
    assert beside(inventory) == []


KILLED = """
    import os, signal, sys
    from pathlib import Path
    from keydistill.ingest.snapshot import SnapshotSettings, build_snapshot, parts, snapshot

    place, inventory, out = sys.argv[1:]
    seen = 0

    def die(*_):
        os.kill(os.getpid(), signal.SIGKILL)

    def count_tokens(texts):
        if place == "reading":
            die()
        return [len(text.split()) + 2 for text in texts]

    original = parts.PartWriter._write_part

    def write_part(self, rows):
        original(self, rows)
        if place == "writing" and len(self.parts) == 5:
            die()

    parts.PartWriter._write_part = write_part
    if place == "manifest":
        snapshot.os.replace = die
    if place == "rename":
        os.rename = die
    build_snapshot([Path(inventory)], Path(out), SnapshotSettings(1_000, 0.05, 200, 64), count_tokens)
"""


@pytest.mark.parametrize("place", ["reading", "writing", "manifest", "rename"])
def test_a_killed_build_is_made_again(inventory: Path, tmp_path: Path, place: str) -> None:
    out = tmp_path / "out"
    command = [sys.executable, "-c", textwrap.dedent(KILLED), place, str(inventory), str(out)]
    assert subprocess.run(command, check=False).returncode == -signal.SIGKILL
    assert beside(inventory) == [".out.partial"]
    built = build(inventory, out)
    assert beside(inventory) == ["out"]
    assert sorted(path.name for path in out.iterdir()) == sorted(
        ["manifest.json", "rejects.parquet", *(part.path.name for part in built.parts)]
    )
    assert Snapshot.open(out).summary.rows == ROWS
    fresh = build(inventory, tmp_path / "fresh")
    assert fresh.parts[3].sha256 == built.parts[3].sha256


def test_two_builds_of_one_snapshot_do_not_mix(inventory: Path, tmp_path: Path) -> None:
    partial = tmp_path / ".out.partial"
    partial.mkdir()
    (partial / "theirs").touch()
    handle = os.open(partial, os.O_RDONLY)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX)
        with pytest.raises(StorageError, match="another process is writing"):
            build(inventory, tmp_path / "out")
        assert (partial / "theirs").exists()
    finally:
        os.close(handle)
    build(inventory, tmp_path / "out")


def test_more_rows_than_the_memory_of_the_sort(tmp_path: Path) -> None:
    # 64 MB sort 76 MB of text, through the spill folder.
    path = tmp_path / "big.parquet"
    words = [f"{n:x}" * 20 for n in range(4_000)]
    with pq.ParquetWriter(path, pa.schema([("keyphrase", pa.string())])) as writer:
        for start in range(16):
            texts = [f"{words[(n * 7 + start) % 4_000][:80]} {n}-{start}".ljust(180, "y") for n in range(25_000)]
            writer.write_table(pa.table({"keyphrase": texts}))
    limits = SnapshotSettings(100_000, 0, 200, 64)
    built = build_snapshot([path], tmp_path / "out", limits, lambda texts: [1] * len(texts))
    assert built.summary.rows == 400_000


def test_a_manifest_is_the_last_file(inventory: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    seen = []

    def replace(source: Path, target: Path) -> None:
        seen.append(sorted(path.name for path in Path(target).parent.iterdir()))
        original(source, target)

    original = os.replace
    monkeypatch.setattr(os, "replace", replace)
    built = build(inventory, tmp_path / "out")
    assert len(seen) == 1
    assert "manifest.json" not in seen[0]
    assert {part.path.name for part in built.parts} < set(seen[0])
