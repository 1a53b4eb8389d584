"""A small Parquet file that would take much memory is refused, or read in little."""

import subprocess
import sys
from contextlib import closing
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from keydistill.errors import InputError
from keydistill.tables import open_source, parquet_reader, read_rows
from keydistill.tables.parquet_pages import MAX_PAGE_BYTES


def written(path: Path, values: list[Any], **options: Any) -> Path:
    pq.write_table(pa.table({"keyphrase": values}), path, compression="zstd", **options)
    return path


def rows_of(path: Path) -> list[object]:
    with (
        open_source(path) as source,
        closing(read_rows(source, known=["keyphrase"], required=["keyphrase"])) as batches,
    ):
        return [cell for batch in batches for cell in batch.columns["keyphrase"]]


@pytest.mark.parametrize("options", [{}, {"use_dictionary": False}, {"data_page_version": "2.0"}])
@pytest.mark.parametrize("kind", [pa.string(), pa.large_string(), pa.binary()])
def test_a_cell_that_is_too_large_is_refused(tmp_path: Path, kind: pa.DataType, options: dict[str, Any]) -> None:
    cells = pa.array([*(["lens"] * 2_000), "b" * (MAX_PAGE_BYTES + 1)], kind)
    path = written(tmp_path / "cell.parquet", cells, **options)
    assert path.stat().st_size < 20_000
    with pytest.raises(InputError, match=r"column 'keyphrase' has a page of 67,.* write smaller pages"):
        rows_of(path)


def test_a_cell_of_a_column_that_nobody_reads_does_no_harm(tmp_path: Path) -> None:
    path = tmp_path / "other.parquet"
    table = pa.table({"keyphrase": ["lens"], "other": ["b" * (MAX_PAGE_BYTES + 1)]})
    pq.write_table(table, path, compression="zstd")
    with (
        open_source(path) as source,
        closing(read_rows(source, known=["keyphrase"], required=["keyphrase"], extras=False)) as batches,
    ):
        assert [batch.columns["keyphrase"] for batch in batches] == [["lens"]]
    with pytest.raises(InputError, match="column 'other'"):
        rows_of(path)


@pytest.mark.parametrize(
    "options", [{}, {"use_dictionary": False}, {"data_page_version": "2.0"}, {"row_group_size": 7}]
)
@pytest.mark.parametrize(
    "values", [["lens", None, "", "é" * 300] * 5_000, [None] * 20, [f"k{n}" for n in range(9_000)]]
)
def test_usual_files_are_read_as_before(tmp_path: Path, values: list[Any], options: dict[str, Any]) -> None:
    if options.get("row_group_size"):
        values = values[:60]
    path = written(tmp_path / "usual.parquet", pa.array(values, pa.string()), **options)
    assert rows_of(path) == values


@pytest.mark.parametrize("values", [["b" * 1_000_000] * 4_000, [f"{n}{'b' * 3_000_000}" for n in range(100)]])
def test_long_cells_that_repeat_or_fill_pages_of_their_own_take_little(tmp_path: Path, values: list[str]) -> None:
    """They are 4 GB and 300 MB."""
    distinct = list(dict.fromkeys(values))
    indices = pa.array([distinct.index(value) for value in values] if len(distinct) > 1 else [0] * len(values))
    column = pa.DictionaryArray.from_arrays(indices, distinct) if len(distinct) == 1 else pa.array(values)
    pages = {"write_batch_size": 1, "data_page_size": 1} if len(distinct) > 1 else {}
    path = written(tmp_path / "long.parquet", column, use_dictionary=len(distinct) == 1, **pages)
    code = (
        "import resource, sys; from pathlib import Path; from contextlib import closing\n"
        "from keydistill.tables import open_source, read_rows\n"
        "before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss\n"
        "with open_source(Path(sys.argv[1])) as source:\n"
        "    with closing(read_rows(source, known=['keyphrase'], required=['keyphrase'])) as batches:\n"
        "        print(sum(len(batch.columns['keyphrase']) for batch in batches))\n"
        "print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before)\n"
    )
    ended = subprocess.run([sys.executable, "-c", code, str(path)], capture_output=True, text=True, check=True)
    rows, kilobytes = map(int, ended.stdout.split())
    assert rows == len(values)
    assert kilobytes < 700_000


def test_values_that_share_their_beginning_are_read_a_few_at_a_time(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A page of as many bytes as one value can hold any number of them; a batch must not."""
    monkeypatch.setattr(parquet_reader, "MAX_PAGE_BYTES", 1 << 20)
    values = [f"{'b' * 20_000}{number}" for number in range(1_000)]
    path = written(
        tmp_path / "shared.parquet", values, use_dictionary=False, column_encoding={"keyphrase": "DELTA_BYTE_ARRAY"}
    )
    assert path.stat().st_size < 100_000
    with (
        open_source(path) as source,
        closing(read_rows(source, known=["keyphrase"], required=["keyphrase"])) as batches,
    ):
        sizes = [[len(str(cell)) for cell in batch.columns["keyphrase"]] for batch in batches]
    assert sum(map(len, sizes)) == 1_000
    assert max(map(sum, sizes)) <= 1 << 20


def test_a_damaged_header_of_a_page_is_one_line(tmp_path: Path) -> None:
    path = written(tmp_path / "damaged.parquet", ["lens"] * 10)
    data = bytearray(path.read_bytes())
    data[4:12] = b"\xff" * 8
    path.write_bytes(data)
    with pytest.raises(InputError, match="damaged"):
        rows_of(path)


@pytest.mark.parametrize("compression", ["none", "snappy", "gzip", "brotli", "lz4", "zstd"])
@pytest.mark.parametrize(
    ("values", "long"),
    [
        (["lens"] * 20, False),
        ([f"lens {n}" for n in range(2_000)], False),
        (["", "a", None, "\0\0\0", "é" * 300, *(f"k{n}" for n in range(2_000))], False),
        (["", *(f"k{n}" for n in range(2_000)), "b" * 8_192], False),
        ([*(f"k{n}" for n in range(2_000)), "b" * 8_193, "lens"], True),
        (["\x01\0\0\0a" * 2_000, "lens"], True),
    ],
)
def test_only_columns_with_long_values_are_read_as_dictionaries(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, values: list[Any], long: bool, compression: str
) -> None:
    path = tmp_path / "column.parquet"
    pq.write_table(pa.table({"keyphrase": values}), path, compression=compression)
    opened: list[Any] = []
    original = pq.ParquetFile

    def watched(*args: Any, **options: Any) -> Any:
        opened.append(options.get("read_dictionary"))
        return original(*args, **options)

    monkeypatch.setattr(pq, "ParquetFile", watched)
    assert rows_of(path) == values
    assert (["keyphrase"] in opened) == long
