"""The options of lists, as `search` and `recommend` take them."""

import csv
import json
from pathlib import Path

import pytest

from tests.cli.conftest import Command


def keyphrases(out: str) -> list[str]:
    return [row["keyphrase"] for row in json.loads(out)]


def test_search_with_every_option_off_is_search(live: Command) -> None:
    plain = json.loads(live("search", "red shoes", "--json").out)
    off = ("--fallback", 0, "--rerank", 0, "--diversity", 0, "--volume-weight", 0)
    assert json.loads(live("search", "red shoes", *off, "--json").out) == plain
    assert {key for row in plain for key in row} == {"keyphrase", "score", "payload"}


def test_search_leaves_out_falls_back_and_explains(live: Command) -> None:
    leaf = ("--category", "Electronics > Phones > Cases")
    assert keyphrases(live("search", "iphone", *leaf, "--json").out) == ["iphone 13 case"]
    rows = json.loads(live("search", "iphone", *leaf, "--fallback", 2, "--explain", "--json").out)
    assert [(row["keyphrase"], row.get("fallback")) for row in rows] == [
        ("iphone 13 case", None),
        ("iphone 13", "Electronics > Phones"),
    ]
    assert rows[1]["explanation"]["category"] == "Electronics > Phones"
    assert rows[1]["explanation"]["ranks"] == {"retrieved": 2}
    assert keyphrases(live("search", "iphone", "--exclude", "iPhone  13", "--json").out)[:1] != ["iphone 13"]
    shown = live("search", "iphone", *leaf, "--fallback", 2, "--explain").out
    assert "fallback" in shown.splitlines()[0]
    assert "retrieved 2" in shown


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (("--rerank", 5), "rerank is 5, fewer than the 10 keyphrases asked for; raise it to 10"),
        (("--candidates", 5), "candidates is 5, fewer than the 10"),
        (("--diversity", 2), "2.0 is not in the range"),
        (("--min-score", "high"), "not a valid float"),
    ],
)
def test_options_that_cannot_be_are_refused(live: Command, options: tuple[object, ...], message: str) -> None:
    result = live("search", "iphone", *options)
    assert result.status == 2
    assert message in result.err


def test_reranking_without_an_assistant_is_one_line(live: Command) -> None:
    result = live("search", "iphone", "--rerank", 10)
    assert (result.status, len(result.err.splitlines())) == (2, 1)
    assert "reranking needs an assistant; give --assistant, or set KEYDISTILL_ASSISTANT" in result.err


def test_recommend_writes_what_the_options_found_out(live: Command, tmp_path: Path) -> None:
    items, bids, out = tmp_path / "items.csv", tmp_path / "bids.csv", tmp_path / "out.csv"
    items.write_text("item_id,title,category_path,site\n1,iphone 13 clear case,Electronics > Phones > Cases,US\n")
    bids.write_text("item_id,keyphrase,site\n1,IPHONE 13 cases,US\n1,usb c cable,DE\n")
    common = (items, "--out", out, "--match-category", "leaf", "--fallback", 3, "--explain", "--json")
    summary = json.loads(live("recommend", *common).out)
    assert (summary["items"], summary["recommendations"], summary["short"], summary["reused"]) == (1, 2, 1, 0)
    with out.open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert [(row["keyphrase"], row["fallback"]) for row in rows] == [
        ("iphone 13 case", ""),
        ("iphone 13", "Electronics > Phones"),
    ]
    assert json.loads(rows[0]["ranks"]) == {"retrieved": 1}
    assert len(rows[0]["score"]) <= 9
    summary = json.loads(live("recommend", *common, "--exclude", bids, "--merge-variants").out)
    with out.open(newline="") as file:
        assert [row["keyphrase"] for row in csv.DictReader(file)] == ["iphone 13"]
