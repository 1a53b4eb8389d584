"""Quotes and inch marks in CSV and TSV: no row is swallowed, and no row is made of parts of others."""

from collections.abc import Sequence
from contextlib import closing
from pathlib import Path

import pytest

from keydistill.distillation.signals import ImportTarget, load_clicks, load_items
from keydistill.distillation.signals.importers import import_qrels
from keydistill.errors import InputError
from keydistill.retrieval.items import read_items
from keydistill.tables import RejectLog, open_source, read_rows

Read = tuple[list[dict[str, object]], list[tuple[int, int | None]]]


def read(path: Path, *lines: str, known: Sequence[str] = ("keyphrase", "search_volume"), **options: object) -> Read:
    """Rows as they were read, and (row, line) of those that were not."""
    delimiter = "\t" if path.suffix == ".tsv" else ","
    path.write_text("".join(line.replace(",", delimiter) + "\n" for line in lines))
    rows: list[dict[str, object]] = []
    malformed: list[tuple[int, int | None]] = []
    multiline = options.get("multiline", ())
    assert isinstance(multiline, tuple)
    with (
        open_source(path) as source,
        closing(read_rows(source, known=known, required=("keyphrase",), multiline=multiline)) as batches,
    ):
        for batch in batches:
            cells = [dict(zip(known, row, strict=True)) for row in zip(*batch.columns.values(), strict=True)]
            extras = batch.extras or [{}] * len(cells)
            rows += [{**row, **extra} for row, extra in zip(cells, extras, strict=True)]
            malformed += [(each.row, each.line) for each in batch.malformed]
    return rows, malformed


@pytest.mark.parametrize("name", ["a.csv", "a.tsv"])
def test_rows_between_a_stray_quote_and_an_inch_mark_are_read(tmp_path: Path, name: str) -> None:
    lines = ["desk,1", '"monitor 24,2', "lamp,3", "", "rug,4", 'screen 40",5', "sofa,6"]
    rows, malformed = read(tmp_path / name, "keyphrase,search_volume", *lines)
    assert [row["keyphrase"] for row in rows] == ["desk", "lamp", "rug", "sofa"]
    assert [row["search_volume"] for row in rows] == ["1", "3", "4", "6"]
    # The two ends are known to be damaged and not how: "screen 40" may be the end of "monitor 24".
    assert malformed == [(2, 3), (5, 7)]


def test_rows_of_one_column(tmp_path: Path) -> None:
    rows, malformed = read(tmp_path / "a.csv", "keyphrase", "desk", '"monitor 24', "lamp", 'screen 40"', "sofa")
    assert [row["keyphrase"] for row in rows] == ["desk", "lamp", "sofa"]
    assert malformed == [(2, 3), (4, 5)]


def test_a_keyphrase_on_two_lines_leaves_no_part_of_itself(tmp_path: Path) -> None:
    rows, malformed = read(tmp_path / "a.csv", "keyphrase,search_volume", '"red', 'shoes",5', "lamp,6")
    assert [row["keyphrase"] for row in rows] == ["lamp"]
    assert malformed == [(1, 2), (2, 3)]
    rows, malformed = read(tmp_path / "b.csv", "keyphrase,search_volume", '"red', 'shoes",5,7', "lamp,6")
    assert [row["keyphrase"] for row in rows] == ["lamp"]
    assert malformed == [(1, 2), (2, 3)]
    # A number on two lines, and the rest of it that would be a row.
    rows, malformed = read(tmp_path / "c.csv", "keyphrase,search_volume", 'shoes,"5', 'red,7"', "lamp,6")
    assert [row["keyphrase"] for row in rows] == ["lamp"]
    assert malformed == [(1, 2), (2, 3)]


def test_a_free_field_may_have_lines(tmp_path: Path) -> None:
    lines = ['shoes,5,"soft, and', "", 'red"', 'lamp,6,"one line"']
    rows, malformed = read(tmp_path / "a.csv", "keyphrase,search_volume,note", *lines)
    assert [row["note"] for row in rows] == ["soft, and\n\nred", "one line"]
    assert malformed == []


def test_a_free_field_that_may_be_rows_is_none_of_both(tmp_path: Path) -> None:
    lines = ["desk,1,x", 'monitor,2,"24', "lamp,3,y", 'screen,4,40"', "sofa,6,z"]
    rows, malformed = read(tmp_path / "a.csv", "keyphrase,search_volume,size", *lines)
    assert [row["keyphrase"] for row in rows] == ["desk", "sofa"]
    assert malformed == [(2, 3), (3, 4), (4, 5)]


def test_a_known_column_may_be_one_with_lines(tmp_path: Path) -> None:
    lines = ['shoes,"5', '6"', "lamp,7"]
    rows, malformed = read(tmp_path / "a.csv", "keyphrase,search_volume", *lines, multiline=("search_volume",))
    assert [row["search_volume"] for row in rows] == ["5\n6", "7"]
    assert malformed == []


def test_a_header_that_swallows_rows_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="the header goes on to line 3, because a quote opens in it"):
        read(tmp_path / "a.csv", 'keyphrase,"size', "monitor,24", 'screen,40"', "sofa,9")
    rows, _ = read(tmp_path / "b.csv", 'keyphrase,"price', 'in EUR"', "sofa,9")
    assert rows == [{"keyphrase": "sofa", "search_volume": None, "price\nin EUR": "9"}]


def test_items_and_clicks(tmp_path: Path) -> None:
    items = tmp_path / "items.csv"
    items.write_text('item_id,title\n1,desk\n2,"monitor 24\n3,lamp\n4,screen 40"\n5,sofa\n')
    with RejectLog() as rejects:
        assert load_items([items], rejects)["item_id"].to_pylist() == ["1", "3", "5"]
        assert [item.item_id for batch in read_items([items], rejects) for item in batch] == ["1", "3", "5"]
    assert [reject.line for reject in rejects.examples] == [3, 5, 3, 5]
    assert "has a line break in 'title', up to line 5" in rejects.examples[0].detail
    clicks = tmp_path / "clicks.tsv"
    rows = ["item_id\tkeyphrase\timpressions\tclicks", *(f"{item}\tlamp\t9\t1" for item in ('"1', "2", '3"', "4"))]
    clicks.write_text("".join(f"{row}\n" for row in rows))
    with RejectLog() as rejects:
        assert load_clicks([clicks], rejects)["item_id"].to_pylist() == ["2", "4"]
    assert rejects.count == 2


def test_queries_and_documents_of_qrels(tmp_path: Path) -> None:
    (tmp_path / "queries.tsv").write_text('query_id\tquery\nq1\tdesk\nq2\t"monitor 24\nq3\tlamp\nq4\tscreen 40"\n')
    (tmp_path / "corpus.csv").write_text('doc_id,text\nd1,"A desk.\nOf oak."\nd2,A lamp\n')
    (tmp_path / "qrels.txt").write_text("q1 0 d1 1\nq3 0 d2 1\nq2 0 d2 1\n")
    target = ImportTarget(tmp_path / "out", max_reject_share=0.9)
    summary = import_qrels(
        [tmp_path / "qrels.txt"], target, queries=[tmp_path / "queries.tsv"], corpus=[tmp_path / "corpus.csv"]
    )
    assert (summary.rows["judgments"], summary.rows["items"]) == (2, 2)
    assert summary.rejects_by_reason == {"malformed_row": 2, "unknown_reference": 1}
