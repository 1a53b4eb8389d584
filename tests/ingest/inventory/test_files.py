import gzip
import os
import threading
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from keydistill.errors import InputChangedError, InputError
from keydistill.ingest.inventory import InventoryReport, check_inventory
from keydistill.progress import NO_PROGRESS, Progress
from tests.support.heard_progress import HeardProgress


@dataclass(frozen=True)
class Limits:
    max_reject_share: float = 0.5
    max_keyphrase_chars: int = 200
    memory_mb: int = 64


def check(*files: Path, progress: Progress = NO_PROGRESS) -> InventoryReport:
    return check_inventory(files, Limits(), progress=progress)


def refuses(path: Path, message: str) -> None:
    with pytest.raises(InputError, match=message) as error:
        check(path)
    assert str(path) in str(error.value)
    assert "\n" not in str(error.value)


@pytest.fixture
def parquet(tmp_path: Path) -> Path:
    path = tmp_path / "inventory.parquet"
    pq.write_table(
        pa.table({"keyphrase": [f"keyphrase number {n}" for n in range(50_000)]}), path, row_group_size=10_000
    )
    return path


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("a.csv", b"", "is empty"),
        ("a.csv", b"keyphrase\n", "no rows"),
        ("a.csv", b"\n\n", "no header line"),
        ("a.csv", b"phrase,site\na,US\n", r"no column 'keyphrase' \(or query, .*\); found: phrase, site$"),
        ("a.csv", b"red shoes,12\n", "found: red shoes, 12; if that is a row, a header is missing: add a first line"),
        ("a.csv", b"sep=;\nkeyphrase,site\na,US\n", "no column 'keyphrase'.*; found: keyphrase,site"),
        ("a.csv", b"sep=;\n", "no header line"),
        ("a.txt", b"red shoes\n", "a header is missing"),
        ("a.json", b"[1, 2", "is no JSON document"),
        ("a.json", b"3", "is no JSON document"),
        ("a.json", b'[{"phrase": "a"}]', "no column 'keyphrase'"),
        ("a.csv", b"keyphrase,site,site\na,b,c\n", "column 'site' more than once"),
        ("a.csv", b"keyphrase,\na,b\n", "column 2 has no name"),
        ("a.csv", b"keyphrase,tokens\na,b\n", "column name 'tokens' is taken"),
        ("a.csv", b"keyphrase,point_id\na,b\n", "column name 'point_id' is taken"),
        ("a.csv", b'keyphrase,"x\na,b\n', "header cannot be read"),
        ("a.csv", b"keyphrase,caf\xe9\na,b\n", "header is not UTF-8"),
        ("a.csv", "keyphrase\na\n".encode("utf-16"), "is UTF-16, not csv; save it as UTF-8"),
        ("a.csv", "keyphrase\na\n".encode("utf-16-le"), "is UTF-16 or binary, not csv"),
        ("a.csv", gzip.compress(b"keyphrase\na\n", mtime=0), "is gzip, not csv; name it with .gz"),
        ("a.csv", b"PK\x03\x04" + bytes(range(1, 100)), "zip archive"),
        ("a.csv", b"PAR1" + b"x" * 50, "is Parquet, not csv; name it .parquet"),
        ("a.csv.gz", b"keyphrase\na\n", "truncated or damaged"),
        ("a.csv.gz", gzip.compress(b"", mtime=0), "no header"),
        ("a.jsonl", b"\n\n", "no rows"),
        ("a.jsonl", b'{"phrase": "a"}\n', "no column 'keyphrase'.*; found: phrase"),
        ("a.jsonl", b'{"keyphrase": "a", "text_hash": "b"}\n', "column name 'text_hash' is taken"),
        ("a.jsonl", '{"keyphrase": "a"}\n'.encode("utf-16"), "is UTF-16"),
        ("a.parquet", b"PAR1", "truncated or damaged"),
        ("a.parquet", b"keyphrase\na\n", "truncated or damaged"),
        ("a.parquet.gz", b"x", "compressed inside"),
        ("a.xlsx", b"x", "unknown extension; expected .csv"),
        ("a.csv.zst", b"x", "unknown extension"),
    ],
)
def test_a_file_that_is_not_what_it_should_be(tmp_path: Path, name: str, content: bytes, message: str) -> None:
    path = tmp_path / name
    path.write_bytes(content)
    refuses(path, message)


def test_no_such_file(tmp_path: Path) -> None:
    refuses(tmp_path / "a.csv", "does not exist")
    (tmp_path / "b.csv").mkdir()
    refuses(tmp_path / "b.csv", "is a folder")
    os.mkfifo(tmp_path / "c.csv")
    refuses(tmp_path / "c.csv", "no regular file")
    (tmp_path / "d.csv").symlink_to(tmp_path / "nowhere")
    refuses(tmp_path / "d.csv", "does not exist")
    with pytest.raises(InputError, match="no inventory file"):
        check()


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")
def test_a_file_that_may_not_be_read(tmp_path: Path) -> None:
    path = tmp_path / "a.csv"
    path.write_text("keyphrase\na\n")
    path.chmod(0)
    refuses(path, "cannot be read: Permission denied")


@pytest.mark.parametrize("kept", [0.1, 0.5, 0.9, 0.999])
def test_a_truncated_file(tmp_path: Path, parquet: Path, kept: float) -> None:
    whole = parquet.read_bytes()
    parquet.write_bytes(whole[: int(len(whole) * kept)])
    refuses(parquet, "truncated or damaged")
    path = tmp_path / "a.jsonl.gz"
    packed = gzip.compress(b"".join(b'{"keyphrase": "%x"}\n' % hash(str(n)) for n in range(20_000)))
    path.write_bytes(packed[: int(len(packed) * kept)])
    refuses(path, "gzip data is truncated or damaged")


def test_a_damaged_parquet_page(parquet: Path) -> None:
    whole = bytearray(parquet.read_bytes())
    middle = len(whole) // 2
    whole[middle : middle + 2_000] = b"\xff" * 2_000
    parquet.write_bytes(whole)
    with pytest.raises(InputError):
        check(parquet)


@pytest.mark.parametrize(
    ("column", "message"),
    [
        ({"keyphrase": pa.array([1])}, "'keyphrase' has the type int64; expected text"),
        ({"keyphrase": pa.array(["a"]), "x": pa.array([{"a": 1}])}, "'x' has the type struct"),
        ({"keyphrase": pa.array(["a"]), "x": pa.array([1], pa.duration("s"))}, "'x' has the type duration"),
        ({"keyphrase": pa.array([], pa.string())}, "no rows"),
        ({"other": pa.array(["a"])}, "no column 'keyphrase'.*; found: other"),
    ],
)
def test_parquet_columns_that_cannot_be_used(tmp_path: Path, column: dict[str, pa.Array], message: str) -> None:
    path = tmp_path / "a.parquet"
    pq.write_table(pa.table(column), path)
    refuses(path, message)


def test_the_same_parquet_column_twice(tmp_path: Path) -> None:
    path = tmp_path / "a.parquet"
    pq.write_table(pa.table([pa.array(["a"]), pa.array(["b"])], names=["keyphrase", "keyphrase"]), path)
    refuses(path, "column 'keyphrase' more than once")


def test_gzip_reads_the_same(tmp_path: Path) -> None:
    text = b"keyphrase,site\nred shoes,US\nblue,\n"
    (tmp_path / "a.csv").write_bytes(text)
    # Two members, as `cat a.gz b.gz` makes them.
    (tmp_path / "b.csv.gz").write_bytes(gzip.compress(text[:20]) + gzip.compress(text[20:]))
    plain, packed = check(tmp_path / "a.csv"), check(tmp_path / "b.csv.gz")
    assert set(plain.sample) == {"red shoes", "blue"}
    assert packed.sample == plain.sample


def append(path: Path) -> None:
    with path.open("ab") as file:
        file.write(b"one more\n")


def truncate(path: Path) -> None:
    os.truncate(path, 100)


def replace(path: Path) -> None:
    draft = path.with_name("draft")
    draft.write_bytes(path.read_bytes())
    draft.replace(path)


def rewrite(path: Path) -> None:
    content = path.read_bytes()
    path.write_bytes(content[:-2] + content[-2:][::-1])
    os.utime(path, ns=(0, 0))


@pytest.mark.parametrize("change", [append, truncate, replace, rewrite, Path.unlink])
@pytest.mark.parametrize("suffix", ["csv", "csv.gz", "jsonl", "parquet"])
def test_a_file_that_changes_under_the_reader(
    tmp_path: Path, parquet: Path, change: Callable[[Path], object], suffix: str
) -> None:
    path = tmp_path / f"inventory.{suffix}"
    if suffix != "parquet":
        form = '{{"keyphrase": "keyphrase number {}"}}\n' if suffix == "jsonl" else "keyphrase number {}\n"
        text = ("keyphrase\n" if suffix != "jsonl" else "") + "".join(form.format(n) for n in range(50_000))
        path.write_bytes(gzip.compress(text.encode()) if suffix.endswith("gz") else text.encode())

    changed = threading.Event()

    def change_once() -> None:
        if not changed.is_set():
            changed.set()
            change(path)

    with pytest.raises(InputChangedError, match="changed while it was being read"):
        check(path, progress=HeardProgress(change_once))


def test_nothing_is_left_behind(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    scratch = tmp_path / "scratch"
    scratch.mkdir()
    monkeypatch.setattr("tempfile.tempdir", str(scratch))
    path = tmp_path / "a.csv"
    path.write_text("keyphrase\na\n")
    check(path)
    path.write_text("x\na\n")
    with pytest.raises(InputError):
        check(path)
    assert list(scratch.iterdir()) == []
