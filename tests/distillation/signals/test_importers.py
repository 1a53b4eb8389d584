import json
import multiprocessing
import os
import re
import signal
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from keydistill.distillation.signals import ImportTarget, SignalFiles, check_signals
from keydistill.distillation.signals.importers import (
    UbiOptions,
    import_beir,
    import_esci,
    import_qrels,
    import_ubi,
    import_wands,
)
from keydistill.errors import InputError, TooManyRejectsError
from keydistill.files import file_sha256
from keydistill.tables import Categories, leaf_category
from tests.support.places import ROOT

Importer = Callable[[ImportTarget], object]
DOCS = ROOT / "docs" / "signals.md"


def jsonl(path: Path, *rows: dict[str, Any]) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return path


def parquet(path: Path, *rows: dict[str, Any]) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    pq.write_table(pa.Table.from_pylist(list(rows)), path)
    return path


def rows(folder: Path, table: str) -> list[dict[str, Any]]:
    return list(pq.read_table(folder / f"{table}.parquet").to_pylist())


def shown(folder: Path) -> dict[tuple[str, str, int | None], tuple[int, int]]:
    return {
        (row["keyphrase"], row["item_id"], row["position"]): (row["impressions"], row["clicks"])
        for row in rows(folder, "clicks")
    }


def query(query_id: str, words: str | None, *hits: str) -> dict[str, Any]:
    return {"query_id": query_id, "user_query": words, "query_response_hit_ids": list(hits)}


def event(action: str, query_id: str | None, item: str, ordinal: int | None = None, **more: Any) -> dict[str, Any]:
    position = {} if ordinal is None else {"position": {"ordinal": ordinal}}
    return {
        "action_name": action,
        "query_id": query_id,
        "event_attributes": {"object": {"object_id": item}, **position},
        **more,
    }


@pytest.fixture
def out(tmp_path: Path) -> Path:
    return tmp_path / "out"


def titles(folder: Path) -> Path:
    """A file of items that are called "item a" and so on."""
    path = folder / "titles.csv"
    path.write_text("item_id,title\n" + "".join(f"{item},item {item}\n" for item in "abcxyz123456789"))
    return path


def ubi(tmp_path: Path, *logged: dict[str, Any], share: float = 1.0, **options: Any) -> Path:
    out = tmp_path / "ubi"
    target = ImportTarget(out, force=True, max_reject_share=share)
    import_ubi(
        [jsonl(tmp_path / "log.jsonl", *logged)], target, items=[titles(tmp_path)], options=UbiOptions(**options)
    )
    return out


def test_ubi_lists_are_impressions_where_there_are_no_impression_events(tmp_path: Path) -> None:
    folder = ubi(
        tmp_path,
        query("q1", "Red Shoes", "a", "b", "c"),
        query("q2", "red  shoes", "b", "a"),
        event("click", "q1", "b", 2),
        event("click", "q1", "b", 2),
        event("click", "q2", "z", 9),
    )
    assert shown(folder) == {
        ("red shoes", "a", 1): (1, 0),
        ("red shoes", "b", 2): (1, 1),
        ("red shoes", "c", 3): (1, 0),
        ("red shoes", "b", 1): (1, 0),
        ("red shoes", "a", 2): (1, 0),
        # Clicked, so it was shown, though the list does not name it.
        ("red shoes", "z", 9): (1, 1),
    }
    assert rows(folder, "inventory") == [
        {"keyphrase": "red shoes", "category_path": None, "site": None, "search_volume": 2}
    ]


def test_ubi_impression_events_are_all_that_was_shown(tmp_path: Path) -> None:
    folder = ubi(
        tmp_path,
        query("q1", "desk", "a", "b", "c"),
        event("impression", "q1", "a", 4),
        event("impression", "q1", "b"),
        event("impression", "q1", "b"),
        event("click_through", "q1", "b", 7),
        event("click", "q1", "c"),
        event("purchase", "q1", "b"),
        event("purchase", "q1", "b"),
        event("purchase", "q2", "a"),
        {"action_name": "purchase", "query_id": "q1"},
    )
    # Of what was shown for a query, once; what is bought besides is nobody's.
    assert [row["sales"] for row in rows(folder, "clicks")] == [1.0, 0.0, 0.0]
    assert json.loads((folder / "signals.json").read_text())["ignored"] == {"sales without query_id or item": 1}
    # The event's own ordinal, otherwise the place in the list.
    assert shown(folder) == {("desk", "a", 4): (1, 0), ("desk", "b", 2): (1, 1), ("desk", "c", 3): (1, 1)}


def test_ubi_other_spellings_and_actions(tmp_path: Path) -> None:
    folder = ubi(
        tmp_path,
        query("q1", "desk"),
        event("seen", "q1", "a", 0),
        event("seen", "q1", "b", 1),
        event("buy", "q1", "b", 1),
        event("click", "q1", "a", 0),
        click_actions=("buy",),
        impression_actions=("seen",),
        first_position=0,
        site=" US ",
    )
    assert shown(folder) == {("desk", "a", 1): (1, 0), ("desk", "b", 2): (1, 1)}
    assert {row["site"] for row in rows(folder, "clicks")} == {"US"}
    assert json.loads((folder / "signals.json").read_text())["ignored"] == {"events with the action 'click'": 1}


def test_ubi_rows_that_cannot_be_used(tmp_path: Path) -> None:
    folder = ubi(
        tmp_path,
        query("q1", "desk", "a"),
        query("q2", "x" * 300, "a"),
        query("q3", None),
        event("click", "q1", "a", 0),
        event("click", "nowhere", "a", 1),
        event("click", "q2", "a", 1),
        event("click", "q3", "a", 1),
        event("click", None, "a", 1),
        event("click", "q1", "", 1),
        {"action_name": "click", "query_id": "q1", "event_attributes": "{broken"},
        event("click", "q1", "a", 1),
    )
    rejects = [(row["row"], row["column"], row["reason"]) for row in rows(folder, "rejects")]
    assert sorted(rejects) == [
        (2, "user_query", "too_long"),
        (4, "event_attributes.position.ordinal", "bad_number"),
        (5, "query_id", "unknown_reference"),
        (6, "query_id", "unknown_reference"),
        (9, "event_attributes.object.object_id", "empty"),
        (10, "event_attributes", "malformed_row"),
    ]
    manifest = json.loads((folder / "signals.json").read_text())
    assert manifest["rows_read"] == 11 + 15  # with those of the items
    assert manifest["ignored"] == {
        "queries without user_query": 1,
        "events without query_id": 1,
        "events of queries without user_query": 1,
    }


def test_ubi_as_flat_csv_nested_parquet_json_text_and_bulk_is_the_same(tmp_path: Path) -> None:
    logged = [query("q1", "desk", "a", "b"), event("impression", "q1", "a", 1), event("click", "q1", "a", 1)]
    expected = shown(ubi(tmp_path, *logged))
    assert expected == {("desk", "a", 1): (1, 1)}

    bulk = [line for row in logged for line in ({"index": {"_index": "ubi", "_id": "1"}}, row)]
    documents = [{"_index": "ubi", "_id": "1", "_source": row} for row in logged]
    flat = tmp_path / "events.csv"
    flat.write_text(
        "action_name,query_id,event_attributes.object.object_id,event_attributes.position.ordinal\n"
        "impression,q1,a,1\nclick,q1,a,1\n"
    )
    queries = tmp_path / "queries.csv"
    queries.write_text('query_id,user_query,query_response_object_ids\nq1,desk,"[""a"", ""b""]"\n')
    text = [{**row, "event_attributes": json.dumps(row["event_attributes"])} for row in logged[1:]]
    layouts = {
        "bulk": [jsonl(tmp_path / "bulk.ndjson", *bulk)],
        "documents": [jsonl(tmp_path / "documents.jsonl", *documents)],
        "csv": [flat, queries],
        "json text": [queries, jsonl(tmp_path / "text.jsonl", *text)],
        "parquet": [parquet(tmp_path / "q.parquet", logged[0]), parquet(tmp_path / "e.parquet", *logged[1:])],
    }
    for name, files in layouts.items():
        out = tmp_path / name
        summary = import_ubi(files, ImportTarget(out), items=[titles(tmp_path)])
        assert shown(out) == expected, name
        assert summary.rows_rejected == 0, name


@pytest.mark.parametrize("form", ["flat.csv", "text.csv", "nested.parquet", "log.jsonl"])
def test_ubi_ids_that_lost_digits_are_rejected(tmp_path: Path, out: Path, form: str) -> None:
    long = 9007199254740993
    logged = [query("q1", "desk"), event("click", "q1", "a", 1)]
    damaged = [event("click", "q1", "x", 2), event("click", "q1", "y", 3)]
    cut: dict[str, Any] = {"object_id": float(long)}
    if form == "log.jsonl":
        damaged[0]["event_attributes"]["object"] = cut
        text = "".join(json.dumps(row) + "\n" for row in [*logged, *damaged])
        (tmp_path / form).write_text(text.replace('"y"', "4.00638E+12"))
    elif form == "nested.parquet":
        kind = pa.struct([("object", pa.struct([("object_id", pa.float32())]))])
        events = [{"object": {"object_id": value}} for value in (7, float(1 << 24), float(1 << 25))]
        columns = {"action_name": ["click"] * 3, "query_id": ["q1"] * 3, "user_query": ["desk"] * 3}
        pq.write_table(pa.table({**columns, "event_attributes": pa.array(events, kind)}), tmp_path / form)
    else:
        name = "event_attributes" if form == "text.csv" else "event_attributes.object.object_id"
        cells = ["a", "4.00638E+12", "9.00719925474099E+15"]
        if form == "text.csv":
            cells = [cells[0].replace("a", '""a""'), *cells[1:]]
            cells = [f'"{{""object"": {{""object_id"": {cell}}}}}"' for cell in cells]
        lines = [f"action_name,query_id,user_query,{name}", *(f"click,q1,desk,{cell}" for cell in cells)]
        (tmp_path / form).write_text("\n".join(lines) + "\n")
    import_ubi([tmp_path / form], ImportTarget(out, max_reject_share=0.9), items=[titles(tmp_path)])
    assert [row["item_id"] for row in rows(out, "clicks")] == ["7" if form == "nested.parquet" else "a"]
    assert [row["reason"] for row in rows(out, "rejects")] == ["bad_number"] * 2


def test_ubi_events_may_bring_query_and_title_themselves(tmp_path: Path) -> None:
    click = event("click", "q9", "a", 1, user_query="Oak Desk")
    click["event_attributes"]["object"]["description"] = "A  desk of oak"
    folder = tmp_path / "out"
    import_ubi([jsonl(tmp_path / "log.jsonl", click)], ImportTarget(folder))
    assert shown(folder) == {("oak desk", "a", 1): (1, 1)}
    assert rows(folder, "items") == [{"item_id": "a", "title": "A desk of oak", "category_path": None, "site": None}]


def original_esci(folder: Path) -> Path:
    def example(words: Any, product: Any, label: Any, split: Any = "train", locale: Any = "us") -> dict[str, Any]:
        other_columns = {"example_id": 1, "query_id": 1, "small_version": 1, "large_version": 1}
        return {
            "query": words,
            "product_id": product,
            "product_locale": locale,
            "esci_label": label,
            "split": split,
            **other_columns,
        }

    parquet(
        folder / "shopping_queries_dataset_examples.parquet",
        example("Oak Desk", "p1", "E"),
        example("Oak Desk", "p2", "S"),
        example("lamp", "p2", "I"),
        example("sofa", "p1", "C", split="test"),
        example("mesa", "p3", "E", locale="es"),
    )
    parquet(
        folder / "shopping_queries_dataset_products.parquet",
        {"product_id": "p1", "product_title": "Desk of oak", "product_locale": "us", "product_description": "<p>"},
        {"product_id": "p2", "product_title": "Desk of steel", "product_locale": "us", "product_description": None},
    )
    return folder


def test_esci_original_layout(tmp_path: Path, out: Path) -> None:
    import_esci([original_esci(tmp_path / "esci")], ImportTarget(out))
    judgments = [
        (row["keyphrase"], row["item_id"], row["site"], row["grade"], row["label"]) for row in rows(out, "judgments")
    ]
    assert judgments == [
        ("oak desk", "p1", "us", 3, True),
        ("oak desk", "p2", "us", 2, False),
        ("lamp", "p2", "us", 0, False),
        ("sofa", "p1", "us", 1, False),
        ("mesa", "p3", "es", 3, True),
    ]
    assert [(row["site"], row["keyphrase"]) for row in rows(out, "inventory")] == [
        ("us", "oak desk"),
        ("us", "lamp"),
        ("us", "sofa"),
        ("es", "mesa"),
    ]
    manifest = json.loads((out / "signals.json").read_text())
    assert manifest["unknown_item_share"] == 0.2
    assert {Path(source["path"]).name: source["sha256"] for source in manifest["sources"]} == {
        path.name: file_sha256(path) for path in (tmp_path / "esci").iterdir()
    }


def test_esci_split_grade_and_locale(tmp_path: Path, out: Path) -> None:
    folder = original_esci(tmp_path / "esci")
    import_esci([folder], ImportTarget(out), split="train", locale="us", relevant_grade=2)
    assert [(row["item_id"], row["label"]) for row in rows(out, "judgments")] == [
        ("p1", True),
        ("p2", True),
        ("p2", False),
    ]


def test_esci_layout_with_categories_and_titled_pairs(tmp_path: Path, out: Path) -> None:
    pair = {"query": "oak desk", "item_id": "1", "label": "E", "grade": 3}
    files = [
        parquet(tmp_path / "judgments.parquet", {**pair, "split": "train"}, {**pair, "item_id": "2", "split": "test"}),
        parquet(tmp_path / "extra.parquet", {**pair, "item_id": "3", "title": "Desk", "category_path": "Home>Desks"}),
        parquet(tmp_path / "items.parquet", {"item_id": "1", "title": "Oak desk", "category_path": ""}),
        parquet(tmp_path / "keyphrases.parquet", {"keyphrase": "lamp", "category_path": "Home > Lamps"}),
    ]
    import_esci(files, ImportTarget(out), split="train")
    assert [row["item_id"] for row in rows(out, "judgments")] == ["1", "3"]
    assert {row["item_id"]: row["category_path"] for row in rows(out, "items")} == {"3": "Home > Desks", "1": None}
    assert {row["keyphrase"]: row["category_path"] for row in rows(out, "inventory")} == {
        "lamp": "Home > Lamps",
        "oak desk": None,
    }


def test_esci_keeps_what_shoppers_ask_for(tmp_path: Path, out: Path) -> None:
    """Both layouts have brand and colour; what else is to be kept is named."""
    pair = {"query": "oak desk", "item_id": "1", "label": "E"}
    item = {"item_id": "1", "title": "Oak desk", "brand": "Acme", "color": None, "bullet_points": "sturdy\nbig"}
    files = [parquet(tmp_path / "judgments.parquet", pair), parquet(tmp_path / "items.parquet", item)]
    import_esci(files, ImportTarget(out, fields=("bullet_points",)))
    assert rows(out, "items") == [
        {
            "item_id": "1",
            "title": "Oak desk",
            "category_path": None,
            "site": None,
            "brand": "Acme",
            "bullet_points": "sturdy big",
        }
    ]
    original = original_esci(tmp_path / "esci")
    products = original / "shopping_queries_dataset_products.parquet"
    pq.write_table(pq.read_table(products).append_column("product_color", pa.array(["white", None])), products)
    import_esci([original], ImportTarget(out, force=True))
    assert [row["color"] for row in rows(out, "items")] == ["white", None]


def text(path: Path, *lines: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")


def wands_with_brand(folder: Path) -> Importer:
    text(folder / "query.csv", "query_id\tquery\tquery_class", "0\tsalon chair\tChairs")
    columns = "product_id\tproduct_name\tproduct_class\tcategory hierarchy\tbrand"
    text(folder / "product.csv", columns, '1\tsalon chair\tChairs\tHome / Chairs\t"Acme\nLtd"')
    text(folder / "label.csv", "id\tquery_id\tproduct_id\tlabel", "0\t0\t1\tExact")
    return partial(import_wands, folder)


def beir_with_brand(folder: Path) -> Importer:
    jsonl(folder / "corpus.jsonl", {"_id": "1", "title": "salon chair", "brand": "Acme\nLtd"})
    jsonl(folder / "queries.jsonl", {"_id": "0", "text": "salon chair"})
    text(folder / "qrels" / "test.tsv", "query-id\tcorpus-id\tscore", "0\t1\t1")
    return partial(import_beir, folder)


def ubi_with_brand(folder: Path) -> Importer:
    log = [
        jsonl(folder / "queries.jsonl", query("0", "salon chair", "1")),
        jsonl(folder / "events.jsonl", event("click", "0", "1", 1)),
    ]
    items = jsonl(folder / "items.jsonl", {"item_id": "1", "title": "salon chair", "brand": "Acme\nLtd"})
    return partial(import_ubi, log, items=[items])


@pytest.mark.parametrize("source", [wands_with_brand, beir_with_brand, ubi_with_brand])
def test_named_columns_of_items_are_kept(source: Callable[[Path], Importer], tmp_path: Path, out: Path) -> None:
    do_import = source(tmp_path / "source")
    do_import(ImportTarget(out, fields=("brand",)))
    assert [row["brand"] for row in rows(out, "items")] == ["Acme Ltd"]
    assert json.loads((out / "signals.json").read_text())["options"]["fields"] == ["brand"]


def test_fields_hide_no_other_problem(tmp_path: Path, out: Path) -> None:
    do_import = wands_with_brand(tmp_path / "source")
    text(tmp_path / "source" / "product.csv", "product_id\tproduct_name\tbrand", "1\t\tAcme")
    with pytest.raises(TooManyRejectsError, match="title is empty"):
        do_import(ImportTarget(out, fields=("brand",)))
    log = jsonl(tmp_path / "queries.jsonl", query("0", "salon chair", "1"))
    with pytest.raises(InputError, match="give the file of items that has them with --items"):
        import_ubi([log], ImportTarget(out, fields=("brand",)))
    with pytest.raises(InputError, match="'grade' cannot be kept as a field: the import reads it"):
        import_esci([original_esci(tmp_path / "esci")], ImportTarget(out, fields=("grade",)))


@pytest.mark.parametrize(
    ("name", "problem"),
    [
        ("brnad", "none of 1 items has anything in a column 'brnad'"),
        ("title", "cannot be kept"),
        ("class", "the import reads it as something else"),
        ("a}b", "cannot be kept"),
    ],
)
def test_a_column_that_cannot_be_kept_is_named(name: str, problem: str, tmp_path: Path, out: Path) -> None:
    do_import = wands_with_brand(tmp_path / "source")
    with pytest.raises(InputError, match=problem):
        do_import(ImportTarget(out, fields=(name,)))
    assert not out.exists()


def test_wands_grades_and_categories(tmp_path: Path, out: Path) -> None:
    folder = tmp_path / "wands"
    folder.mkdir()
    (folder / "query.csv").write_text("query_id\tquery\tquery_class\n0\tSofa, red\tSofas\n1\tlamp\tNone such\n")
    (folder / "product.csv").write_text(
        "product_id\tproduct_name\tproduct_class\tcategory hierarchy\tproduct_description\n"
        '1\tred "velvet" sofa\tSofas\tFurniture / Sofas & More / Sofas\t"two\nlines"\n'.replace(
            'red "velvet" sofa', '"red ""velvet"" sofa"'
        )
        + "2\tchair\tChairs\t\t\n"
    )
    (folder / "label.csv").write_text(
        "id\tquery_id\tproduct_id\tlabel\n0\t0\t1\tExact\n1\t0\t2\tPartial\n2\t1\t2\tIrrelevant\n3\t9\t2\tExact\n4\t0\t1\tGood\n"
    )
    import_wands(folder, ImportTarget(out, max_reject_share=0.5))
    judgments = [(row["keyphrase"], row["item_id"], row["grade"], row["label"]) for row in rows(out, "judgments")]
    assert judgments == [("sofa, red", "1", 3, True), ("sofa, red", "2", 2, False), ("lamp", "2", 0, False)]
    assert rows(out, "items")[0] == {
        "item_id": "1",
        "title": 'red "velvet" sofa',
        "category_path": "Furniture > Sofas & More > Sofas",
        "site": None,
    }
    assert [row["category_path"] for row in rows(out, "inventory")] == ["Furniture > Sofas & More > Sofas", None]
    assert [(row["line"], row["reason"]) for row in rows(out, "rejects")] == [
        (5, "unknown_reference"),
        (6, "bad_label"),
    ]


def beir(folder: Path) -> Path:
    jsonl(folder / "corpus.jsonl", {"_id": "d1", "title": "Desk", "text": "x"}, {"_id": "d2", "text": "a " * 900})
    jsonl(folder / "queries.jsonl", {"_id": "q1", "text": "Desk", "metadata": {}}, {"_id": "q2", "text": "lamp"})
    (folder / "qrels").mkdir()
    (folder / "qrels" / "train.tsv").write_text("query-id\tcorpus-id\tscore\nq1\td1\t2\n")
    (folder / "qrels" / "test.tsv").write_text("query-id\tcorpus-id\tscore\nq2\td2\t1\nq2\td1\t0\n")
    return folder


def test_beir_all_splits_and_one(tmp_path: Path, out: Path) -> None:
    folder = beir(tmp_path / "beir")
    import_beir(folder, ImportTarget(out))
    graded = {(row["keyphrase"], row["item_id"]): (row["grade"], row["label"]) for row in rows(out, "judgments")}
    assert graded == {("desk", "d1"): (2, True), ("lamp", "d2"): (1, True), ("lamp", "d1"): (0, False)}
    assert len(rows(out, "items")[1]["title"]) <= 500
    import_beir(folder, ImportTarget(out, force=True), split="train", relevant_grade=3)
    assert [row["label"] for row in rows(out, "judgments")] == [False]
    with pytest.raises(InputError, match=r"has no qrels/dev\.tsv"):
        import_beir(folder, ImportTarget(out), split="dev")


def test_trec_qrels(tmp_path: Path, out: Path) -> None:
    folder = beir(tmp_path / "beir")
    qrels = tmp_path / "qrels.dl19"
    qrels.write_text("q1 0 d1 4\n\nq1\tQ0\td2\t-2\nq2 0 d1\nq3 0 d1 1\nq2 0 d1 high\n")
    queries = tmp_path / "topics.csv"
    queries.write_text("query_id,query\nq1,Desk\nq2,lamp\n")
    import_qrels(
        [qrels],
        ImportTarget(out, max_reject_share=0.9),
        queries=[queries],
        corpus=[folder / "corpus.jsonl"],
        grades={4: 3},
        site="US",
    )
    judgments = [
        (row["keyphrase"], row["item_id"], row["site"], row["grade"], row["label"]) for row in rows(out, "judgments")
    ]
    assert judgments == [("desk", "d1", "US", 3, True), ("desk", "d2", "US", 0, False)]
    assert [(row["row"], row["line"], row["reason"]) for row in rows(out, "rejects")] == [
        (3, 4, "malformed_row"),
        (4, 5, "unknown_reference"),
        (5, 6, "bad_label"),
    ]


def test_grades_of_another_scale_are_refused_until_they_are_mapped(tmp_path: Path, out: Path) -> None:
    folder = beir(tmp_path / "beir")
    judged = ["q1 d1 50", "q1 d2 8", "q2 d1 8", "q2 d2 -1"]
    qrels = tmp_path / "grades.txt"
    qrels.write_text("".join(line.replace(" ", " 0 ", 1) + "\n" for line in judged))
    lines = ["query-id corpus-id score", *judged]
    (folder / "qrels" / "dev.tsv").write_text("".join(line.replace(" ", "\t") + "\n" for line in lines))
    imported = partial(import_qrels, queries=[folder / "queries.jsonl"], corpus=[folder / "corpus.jsonl"])
    message = r"grades above 3 among 50 \(1 rows\), 8 \(2 rows\), -1 \(1 rows\); .* --grades 50=3,8=2"
    for target in (ImportTarget(out), ImportTarget(out, dry_run=True)):
        with pytest.raises(InputError, match=message):
            imported([qrels], target)
        with pytest.raises(InputError, match=message):
            import_beir(folder, target, split="dev")
    with pytest.raises(InputError, match=r"--grades 8=3"):
        imported([qrels], ImportTarget(out), grades={50: 3})
    with pytest.raises(InputError, match="grade 50 is mapped to 4; expected a grade from 0 to 3"):
        imported([qrels], ImportTarget(out), grades={50: 4, 8: 2})
    assert not out.exists()
    imported([qrels], ImportTarget(out), grades={50: 3, 8: 1}, relevant_grade=2)
    graded = {(row["keyphrase"], row["item_id"]): (row["grade"], row["label"]) for row in rows(out, "judgments")}
    assert graded == {
        ("desk", "d1"): (3, True),
        ("desk", "d2"): (1, False),
        ("lamp", "d1"): (1, False),
        ("lamp", "d2"): (0, False),
    }
    assert json.loads((out / "signals.json").read_text())["options"]["grades"] == {"50": 3, "8": 1}
    import_beir(folder, ImportTarget(out, force=True), split="dev", grades={50: 3, 8: 2, -1: 1})
    assert sorted(row["grade"] for row in rows(out, "judgments")) == [1, 2, 2, 3]


def test_what_is_written_is_read_back_and_is_the_same_each_time(tmp_path: Path, out: Path) -> None:
    folder = original_esci(tmp_path / "esci")
    import_esci([folder], ImportTarget(out))
    before = {path.name: file_sha256(path) for path in out.iterdir()}
    import_esci([folder], ImportTarget(out, force=True))
    assert {path.name: file_sha256(path) for path in out.iterdir()} == before
    report = check_signals(SignalFiles.of_folder(out))
    assert report.passes
    assert report.tables["judgments"].rows == 5
    assert report.tables["judgments"].unknown_item_share == 0.2


def test_nothing_is_overwritten_unasked(tmp_path: Path, out: Path) -> None:
    folder = original_esci(tmp_path / "esci")
    import_esci([folder], ImportTarget(out))
    with pytest.raises(InputError, match="is not empty; name another folder, or replace a signals folder with --force"):
        import_esci([folder], ImportTarget(out))
    with pytest.raises(InputError, match="is not empty"):
        import_esci([folder], ImportTarget(out, dry_run=True))
    mine = tmp_path / "mine"
    mine.mkdir()
    (mine / "thesis.txt").write_text("years of work")
    with pytest.raises(InputError, match=r"holds no signals\.json"):
        import_esci([folder], ImportTarget(mine, force=True))
    assert (mine / "thesis.txt").read_text() == "years of work"


def test_a_dry_run_writes_nothing(tmp_path: Path, out: Path) -> None:
    folder = original_esci(tmp_path / "esci")
    before = sorted(tmp_path.rglob("*"))
    summary = import_esci([folder], ImportTarget(out, dry_run=True))
    assert summary.rows["judgments"] == 5
    assert summary.out is None
    assert sorted(tmp_path.rglob("*")) == before


def test_too_many_rejects_write_no_folder_and_keep_the_rejects(tmp_path: Path, out: Path) -> None:
    bad = [event("click", "nowhere", str(n), 1) for n in range(3)]
    log = jsonl(tmp_path / "log.jsonl", query("q1", "desk", "a"), *bad)
    with pytest.raises(TooManyRejectsError, match=r"3 of 4 rows were rejected \(75\.00%\)") as error:
        import_ubi([log], ImportTarget(out))
    assert not out.exists()
    rejects_copy = tmp_path / "out.rejects.parquet"
    assert str(rejects_copy) in str(error.value)
    assert [row["row"] for row in pq.read_table(rejects_copy).to_pylist()] == [2, 3, 4]
    assert sorted(path.name for path in tmp_path.iterdir()) == ["log.jsonl", "out.rejects.parquet"]


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda path: import_esci([path], ImportTarget(path / "out")), "no judged pairs"),
        (lambda path: import_esci([path / "x.parquet"], ImportTarget(path / "out")), "does not exist"),
        (lambda path: import_wands(path, ImportTarget(path / "out")), r"has no query\.csv"),
        (lambda path: import_beir(path, ImportTarget(path / "out")), r"has no qrels/\*\.tsv"),
        (
            lambda path: import_beir(beir(path), ImportTarget(path / "out"), site="x" * 300),
            "the site has 300 characters",
        ),
        (
            lambda path: import_ubi([jsonl(path / "a.jsonl", query("q", "desk"))], ImportTarget(path / "out")),
            "no pair of a keyphrase and an item",
        ),
    ],
)
def test_mistakes_are_one_line(tmp_path: Path, make: Any, message: str) -> None:
    with pytest.raises(InputError, match=message) as error:
        make(tmp_path)
    assert "\n" not in str(error.value)
    assert not (tmp_path / "out").exists()


def _die_while_writing(folder: Path, out: Path) -> None:
    written = 0
    real = pq.write_table

    def write(*args: Any, **options: Any) -> None:
        nonlocal written
        real(*args, **options)
        written += 1
        if written == 2:
            os.kill(os.getpid(), signal.SIGKILL)

    pq.write_table = write
    import_esci([folder], ImportTarget(out, force=True))


def test_a_killed_import_leaves_what_was_there(tmp_path: Path, out: Path) -> None:
    folder = original_esci(tmp_path / "esci")
    import_esci([folder], ImportTarget(out), split="train")
    before = {path.name: file_sha256(path) for path in out.iterdir()}
    process = multiprocessing.get_context("spawn").Process(target=_die_while_writing, args=(folder, out))
    process.start()
    process.join(60)
    assert process.exitcode == -signal.SIGKILL
    assert {path.name: file_sha256(path) for path in out.iterdir()} == before
    import_esci([folder], ImportTarget(out, force=True))
    assert len(rows(out, "judgments")) == 5


def test_the_examples_of_the_documentation(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    from keydistill.cli.main import main

    text = DOCS.read_text(encoding="utf-8")
    for name, content in re.findall(r"^`([\w./]+)`:\n\n```\w*\n(.*?)```", text, re.M | re.S):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(content, encoding="utf-8")
    original_esci(tmp_path / "esci-data")
    monkeypatch.chdir(tmp_path)
    examples = re.findall(r"^\$ keydistill (signals import [^\n]*)\n(.*?)```", text, re.M | re.S)
    assert len(examples) == 5
    for arguments, expected in examples:
        monkeypatch.setattr("sys.argv", ["keydistill", *arguments.split()])
        with pytest.raises(SystemExit) as ended:
            main()
        printed = capsys.readouterr()
        assert (ended.value.code, printed.err) == (0, ""), arguments
        assert printed.out == expected, arguments


@pytest.mark.parametrize("topics", ["101\tdesk lamp\n102\toak desk\n", "qid,query_text\n101,desk lamp\n102,oak desk\n"])
@pytest.mark.parametrize(
    "qrels",
    [
        "101 0 d1 2\n102 0 d1 0\n",
        "query-id\tcorpus-id\tscore\n101\td1\t2\n102\td1\t0\n",
        "query_id,docid,rating\n101,d1,2\n102,d1,0\n",
    ],
)
def test_topics_and_qrels_with_and_without_headers(tmp_path: Path, out: Path, topics: str, qrels: str) -> None:
    (tmp_path / "topics.txt").write_text(topics)
    (tmp_path / "qrels.txt").write_text(qrels)
    (tmp_path / "corpus.tsv").write_text("d1\tOak desk\n")
    import_qrels(
        [tmp_path / "qrels.txt"],
        ImportTarget(out),
        queries=[tmp_path / "topics.txt"],
        corpus=[tmp_path / "corpus.tsv"],
    )
    assert {(row["keyphrase"], row["item_id"], row["grade"]) for row in rows(out, "judgments")} == {
        ("desk lamp", "d1", 2),
        ("oak desk", "d1", 0),
    }
    assert [row["title"] for row in rows(out, "items")] == ["Oak desk"]


def test_separators_in_names_of_categories_mean_the_same_in_all_tables(tmp_path: Path, out: Path) -> None:
    wands = tmp_path / "wands"
    wands.mkdir()
    (wands / "query.csv").write_text("query_id\tquery\tquery_class\n0\tbed\tBeds\n1\tdvd stand\tTV\n")
    (wands / "product.csv").write_text(
        "product_id\tproduct_name\tproduct_class\tcategory hierarchy\n"
        "1\tbunk bed\tBeds\tFurniture / Kids > Teens / Beds &amp; more\n2\tdvd rack\tTV\tMedia / TV | Video\n"
    )
    (wands / "label.csv").write_text("id\tquery_id\tproduct_id\tlabel\n0\t0\t1\tExact\n1\t1\t2\tExact\n")
    import_wands(wands, ImportTarget(out))
    expected = {r"Furniture > Kids \> Teens > Beds & more", r"Media > TV \| Video"}
    for table in ("items", "inventory"):
        paths = [row["category_path"] for row in rows(out, table)]
        assert set(paths) == expected
        # Read again, each is the leaf of itself.
        assert [leaf_category(None, path) for path in paths] == paths
        assert all(path in Categories().of(None, path) for path in paths)


def test_a_path_of_esci_is_one_path(tmp_path: Path, out: Path) -> None:
    parquet(tmp_path / "keyphrases.parquet", {"keyphrase": "dvd stand", "category_path": "Media > TV | Video"})
    pair = {"query": "dvd stand", "item_id": "2", "label": "E", "title": "rack", "category_path": "Media > TV | Video"}
    parquet(tmp_path / "pairs.parquet", pair)
    import_esci([tmp_path], ImportTarget(out))
    for table in ("items", "inventory"):
        assert [row["category_path"] for row in rows(out, table)] == [r"Media > TV \| Video"]
