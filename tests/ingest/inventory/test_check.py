import json
from dataclasses import dataclass
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from keydistill.errors import InputError
from keydistill.ingest.inventory import InventoryReport, check_inventory
from tests.support.heard_progress import HeardProgress


@dataclass(frozen=True)
class Limits:
    max_reject_share: float = 0.5
    max_keyphrase_chars: int = 40
    memory_mb: int = 64


def check(*files: Path, categories: Path | None = None, limits: Limits | None = None) -> InventoryReport:
    return check_inventory(files, limits or Limits(), categories=categories)


def csv_file(folder: Path, *lines: str, name: str = "inventory.csv") -> Path:
    path = folder / name
    path.write_bytes("\n".join(lines).encode("utf-8", "surrogateescape") + b"\n")
    return path


def jsonl_file(folder: Path, *rows: object, name: str = "inventory.jsonl") -> Path:
    path = folder / name
    path.write_text("".join(f"{row if isinstance(row, str) else json.dumps(row)}\n" for row in rows), encoding="utf-8")
    return path


def parquet_file(folder: Path, name: str = "inventory.parquet", **columns: object) -> Path:
    path = folder / name
    pq.write_table(pa.table(columns), path)
    return path


def only_reject(report: InventoryReport) -> tuple[str, str | None, int, int | None]:
    assert report.rows_rejected == len(report.examples) == 1
    (reject,) = report.examples
    assert report.rejects_by_reason == {reject.reason: 1}
    return str(reject.reason), reject.column, reject.row, reject.line


def test_counts(tmp_path: Path) -> None:
    path = csv_file(
        tmp_path,
        "keyphrase,category_path,site",
        "red shoes,A > B,US",
        "Red  SHOES,,US",
        "red shoes,,",
        "x,,",
        ",,UK",
        ",,",
        " , ,",
    )
    report = check(path)
    assert (report.rows_read, report.rows_rejected, report.rows_merged, report.rows) == (5, 1, 1, 3)
    assert report.without_category == 2
    assert report.without_category_share == pytest.approx(2 / 3)
    assert report.longest_keyphrase == "red shoes"
    assert sorted(report.sample) == ["red shoes"] * 3 + ["x"]
    assert report.reject_share == 0.2
    assert report.passes
    assert not check(path, limits=Limits(max_reject_share=0.1)).passes
    assert json.loads(json.dumps(report.as_dict()))["examples"][0]["reason"] == "empty"


def test_several_files_count_as_one_list(tmp_path: Path) -> None:
    first = csv_file(tmp_path, "keyphrase", "a", "b")
    second = jsonl_file(tmp_path, {"keyphrase": "B"}, {"keyphrase": "c"})
    third = parquet_file(tmp_path, keyphrase=["c", "d"])
    report = check(first, second, third)
    assert (report.rows_read, report.rows_merged, report.rows) == (6, 2, 4)


def test_rejects_in_all_formats_have_the_same_reason(tmp_path: Path) -> None:
    rows = [{"keyphrase": "good", "search_volume": "1"}, {"keyphrase": "bad", "search_volume": "1,200"}]
    rejects = {
        only_reject(check(csv_file(tmp_path, "keyphrase,search_volume", "good,1", 'bad,"1,200"')))[:3],
        only_reject(check(csv_file(tmp_path, "keyphrase\tsearch_volume", "good\t1", "bad\t1,200", name="a.tsv")))[:3],
        only_reject(check(jsonl_file(tmp_path, *rows)))[:3],
        only_reject(check(parquet_file(tmp_path, keyphrase=["good", "bad"], search_volume=["1", "1,200"])))[:3],
    }
    assert rejects == {("bad_number", "search_volume", 2)}


@pytest.mark.parametrize(
    ("row", "reason", "column"),
    [
        ({"keyphrase": ""}, "empty", "keyphrase"),
        ({"keyphrase": " \u200b\t"}, "empty", "keyphrase"),
        ({"keyphrase": None}, "empty", "keyphrase"),
        ({}, "empty", "keyphrase"),
        ({"keyphrase": "x" * 41}, "too_long", "keyphrase"),
        ({"keyphrase": "\ufdfa" * 3}, "too_long", "keyphrase"),
        ({"keyphrase": "ok", "site": "s" * 201}, "too_long", "site"),
        ({"keyphrase": "ok", "note": "n" * 65_537}, "too_long", "payload"),
        ({"keyphrase": "ok", "category_ids": ["c" * 1_001]}, "too_long", "category_ids"),
        ({"keyphrase": "ok", "category_path": " > ".join(["c" * 300] * 4)}, "too_long", "category_path"),
        ({"keyphrase": 12}, "not_text", "keyphrase"),
        ({"keyphrase": ["a"]}, "not_text", "keyphrase"),
        ({"keyphrase": {"a": 1}}, "not_text", "keyphrase"),
        ({"keyphrase": True}, "not_text", "keyphrase"),
        ({"keyphrase": "ok", "site": True}, "not_text", "site"),
        ({"keyphrase": "ok", "language": ["en"]}, "not_text", "language"),
        ({"keyphrase": "a\x00b"}, "control_character", "keyphrase"),
        ({"keyphrase": "ok", "site": "\x1b[31m"}, "control_character", "site"),
        ({"keyphrase": "ok", "category_ids": "a\x07"}, "control_character", "category_ids"),
        ({"keyphrase": "\ud800"}, "bad_encoding", "keyphrase"),
        ({"keyphrase": "caf\ufffd"}, "bad_encoding", "keyphrase"),
        ({"keyphrase": "ok", "note": "\udce9"}, "bad_encoding", "note"),
        ({"keyphrase": "ok", "\udce9": "x"}, "bad_encoding", "payload"),
        ({"keyphrase": "ok", "search_volume": "1e3"}, "bad_number", "search_volume"),
        ({"keyphrase": "ok", "search_volume": "-1"}, "bad_number", "search_volume"),
        ({"keyphrase": "ok", "search_volume": "٣"}, "bad_number", "search_volume"),
        ({"keyphrase": "ok", "search_volume": -1}, "bad_number", "search_volume"),
        ({"keyphrase": "ok", "search_volume": 1.5}, "bad_number", "search_volume"),
        ({"keyphrase": "ok", "search_volume": True}, "bad_number", "search_volume"),
        ({"keyphrase": "ok", "search_volume": 1 << 63}, "bad_number", "search_volume"),
        ({"keyphrase": "ok", "search_volume": [1]}, "bad_number", "search_volume"),
        ('{"keyphrase": "ok", "bid": 1e999}', "bad_number", "bid"),
        ({"keyphrase": "ok", "category_path": "A > > B"}, "bad_category", "category_path"),
        ({"keyphrase": "ok", "category_path": "A > B |"}, "bad_category", "category_path"),
        ({"keyphrase": "ok", "category_path": [["A"]]}, "bad_category", "category_path"),
        ({"keyphrase": "ok", "category_path": {"A": "B"}}, "bad_category", "category_path"),
        ({"keyphrase": "ok", "category_ids": "1||2"}, "bad_category", "category_ids"),
        ({"keyphrase": "ok", "category_ids": 1.5}, "bad_category", "category_ids"),
        ({"keyphrase": "ok", "category_ids": [True]}, "bad_category", "category_ids"),
        ({"keyphrase": "ok", "category_ids": {"a": 1}}, "bad_category", "category_ids"),
        ({"keyphrase": "ok", "category_ids": [["a"]]}, "bad_category", "category_ids"),
        ({"keyphrase": "ok", "category_ids": ["a", None]}, "bad_category", "category_ids"),
        ({"keyphrase": "ok", "note": {"a": 1}}, "bad_payload", "note"),
        ({"keyphrase": "ok", "gtin": 10**29}, "bad_number", "gtin"),
        ({"keyphrase": "ok", "gtin": 1 << 63}, "bad_number", "gtin"),
        ({"keyphrase": "ok", "gtin": [1, -(1 << 63) - 1]}, "bad_number", "gtin"),
        ({"keyphrase": "ok", "note": [[1]]}, "bad_payload", "note"),
        ("{", "malformed_row", None),
        ("[1]", "malformed_row", None),
        ("null", "malformed_row", None),
        ('{"keyphrase": "a", "keyphrase": "b"}', "malformed_row", None),
        ('{"keyphrase": "a", "bid": NaN}', "malformed_row", None),
        ('{"keyphrase": "a\x01"}', "malformed_row", None),
        ('{"keyphrase": "a", "n": ' + "9" * 5_000 + "}", "malformed_row", None),
        ("[" * 100_000, "malformed_row", None),
        ('{"keyphrase": "' + "a" * (1 << 20) + '"}', "malformed_row", None),
    ],
    ids=lambda value: repr(value)[:40],
)
def test_each_bad_row_is_one_reject(tmp_path: Path, row: object, reason: str, column: str | None) -> None:
    path = jsonl_file(tmp_path, {"keyphrase": "first"}, row, {"keyphrase": "last"})
    report = check(path)
    assert only_reject(report) == (reason, column, 2, 2)
    assert report.rows == 2
    assert len(report.examples[0].value or "") <= 81
    assert (report.examples[0].value or "").isprintable()


@pytest.mark.parametrize("volume", [12, 12.0, "12", "12.0", " 12 ", "12.", None, "", (1 << 63) - 1])
def test_search_volumes_that_are_fine(tmp_path: Path, volume: int | float | str | None) -> None:
    assert check(jsonl_file(tmp_path, {"keyphrase": "a", "search_volume": volume})).rows_rejected == 0


def test_rows_after_a_stray_quote_are_kept(tmp_path: Path) -> None:
    path = csv_file(
        tmp_path,
        "keyphrase,site",
        "one,US",
        '"two,US',
        "three,US",
        'four ""x"",US',
        '"five ""5"" lines",US',
        '"a line\nbreak",US',
        '"six" x,US',
        "seven,US",
    )
    report = check(path)
    assert [(reject.reason, reject.line) for reject in report.examples] == [
        ("malformed_row", line) for line in (3, 7, 8, 9)
    ]
    assert sorted(report.sample) == ['five "5" lines', 'four ""x""', "one", "seven", "three"]


def test_a_quote_that_is_never_closed_costs_one_row(tmp_path: Path) -> None:
    rows = [f"keyphrase {number},US" for number in range(20_000)]
    report = check(csv_file(tmp_path, "keyphrase,site", '"open,US', *rows))
    assert only_reject(report) == ("malformed_row", None, 1, 2)
    assert report.rows == 20_000


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        ("a,b,c", "malformed_row"),
        ("a", "malformed_row"),
        ('a,"b', "malformed_row"),
        ("a," + "b" * 131_073, "malformed_row"),
        ("a," + "b" * (1 << 21), "malformed_row"),
        ("," * 2_000_000, "malformed_row"),
        ("a\x00,US", "control_character"),
        ("caf\udce9,US", "bad_encoding"),
        (",US", "empty"),
    ],
    ids=lambda value: value[:15],
)
def test_bad_csv_rows(tmp_path: Path, line: str, reason: str) -> None:
    report = check(csv_file(tmp_path, "keyphrase,site", "x,US", line, "", "y,US"))
    assert only_reject(report)[0] == reason
    assert only_reject(report)[2:] == (2, 3)
    assert sorted(report.sample) == ["x", "y"]


@pytest.mark.parametrize("ending", ["\n", "\r\n", "\r"])
def test_line_endings_and_byte_order_mark(tmp_path: Path, ending: str) -> None:
    path = tmp_path / "inventory.csv"
    path.write_bytes(b"\xef\xbb\xbf" + ending.join(["keyphrase,note", "a,x", "", 'b,"y', 'z"']).encode())
    report = check(path)
    assert (report.rows_rejected, sorted(report.sample)) == (0, ["a", "b"])
    path.write_bytes(b"\xef\xbb\xbf" + ending.join(["keyphrase,site", "a,US", "", '"b', 'c",US', "d,US"]).encode())
    report = check(path)
    assert [reject.line for reject in report.examples] == [4, 5]
    assert sorted(report.sample) == ["a", "d"]


def test_parquet_text_that_is_not_utf8_costs_its_row(tmp_path: Path) -> None:
    broken = pa.array([b"good", b"caf\xe9", b"fine"], pa.binary())
    text = pa.Array.from_buffers(pa.string(), 3, broken.buffers())
    report = check(parquet_file(tmp_path, keyphrase=text))
    assert only_reject(report) == ("bad_encoding", "keyphrase", 2, None)
    assert check(parquet_file(tmp_path, keyphrase=broken)).rejects_by_reason == {"bad_encoding": 1}


def test_a_tree_gives_unknown_categories_away(tmp_path: Path) -> None:
    tree = csv_file(tmp_path, "category_id,parent_id", "1,", "2,1", name="tree.csv")
    path = jsonl_file(tmp_path, {"keyphrase": "a", "category_ids": [2]}, {"keyphrase": "b", "category_ids": "2|9"})
    assert only_reject(check(path, categories=tree)) == ("bad_category", "category_ids", 2, 2)


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        (["1,2", "2,3", "3,1"], r"is its own ancestor \(.* > .* > .*\)"),
        (["1,1"], "is its own ancestor"),
        (["2,1"], "has the parent '1', which has no row"),
        (["1,", "2,", "3,1", "3,2"], "row 4: category '3' has the parents '1' and '2'"),
        ([",1"], "row 1: category_id is empty"),
        (["1"], "row 1: has 1 field"),
        (["a\x00,"], "row 1: a category has the control character"),
        ([f"{n},{n + 1}" for n in range(101)] + ["101,"], "more than 100 levels"),
    ],
)
def test_a_broken_tree_is_refused(tmp_path: Path, rows: list[str], message: str) -> None:
    tree = csv_file(tmp_path, "category_id,parent_id", *rows, name="tree.csv")
    with pytest.raises(InputError, match=rf"tree.csv.*{message}"):
        check(csv_file(tmp_path, "keyphrase", "a"), categories=tree)


def test_progress_knows_the_total_of_parquet(tmp_path: Path) -> None:
    progress = HeardProgress()
    path = parquet_file(tmp_path, keyphrase=[f"k {n}" for n in range(20_000)])
    check_inventory([path], Limits(), progress=progress)
    assert (progress.totals, progress.counts) == ([("inventory", 20_000)], [8_192, 8_192, 3_616])
    check_inventory([csv_file(tmp_path, "keyphrase", "a")], Limits(), progress=progress)
    assert (progress.totals[-1], progress.counts[-1]) == (("inventory", None), 1)
