"""UBI logs as people have them: exports of dashboards, pages, clients that count from 0, ids with two texts."""

import json
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest

from keydistill.distillation.signals import ImportTarget
from keydistill.distillation.signals.importers import UbiOptions, import_ubi
from keydistill.errors import InputError, TooManyRejectsError

Shown = dict[tuple[str, str, int | None], tuple[int, int]]


def query(query_id: str, words: str, *hits: str, **more: Any) -> dict[str, Any]:
    return {"query_id": query_id, "user_query": words, "query_response_hit_ids": list(hits), **more}


def event(action: str, query_id: str, item: str, ordinal: int | None = None, **more: Any) -> dict[str, Any]:
    position = {} if ordinal is None else {"position": {"ordinal": ordinal}}
    return {
        "action_name": action,
        "query_id": query_id,
        "event_attributes": {"object": {"object_id": item}, **position},
        **more,
    }


def lines(*rows: object) -> str:
    return "".join(json.dumps(row) + "\n" for row in rows)


class Import:
    """An import of one file with the items 7 to 11."""

    def __init__(self, folder: Path) -> None:
        self.out = folder / "out"
        self.items = folder / "items.csv"
        self.items.write_text("item_id,title\n" + "".join(f"{item},item {item}\n" for item in range(7, 12)))
        self.folder = folder

    def run(self, text: str, name: str = "log.jsonl", share: float = 0.05, **options: Any) -> Shown:
        source = self.folder / name
        source.write_text(text)
        target = ImportTarget(self.out, force=True, max_reject_share=share)
        self.summary = import_ubi([source], target, items=[self.items], options=UbiOptions(**options))
        return {
            (row["keyphrase"], row["item_id"], row["position"]): (row["impressions"], row["clicks"])
            for row in pq.read_table(self.out / "clicks.parquet").to_pylist()
        }

    def rejects(self) -> list[tuple[int, str, str]]:
        rows = pq.read_table(self.out / "rejects.parquet").to_pylist()
        return sorted((row["row"], row["column"], row["reason"]) for row in rows)


@pytest.fixture
def ubi(tmp_path: Path) -> Import:
    return Import(tmp_path)


HEADER = (
    '"action_name","query_id","user_query","query_response_hit_ids",'
    '"event_attributes.object.object_id","event_attributes.position.ordinal"\n'
)
DASHBOARD = f"""{HEADER}"-","q1","red shoes","7, 8, 9","-","-"
"click","q1","-","-","8","2"
"""
LOGGED = [query("q1", "red shoes", "7", "8", "9"), event("click", "q1", "8", 2)]
HITS = [{"_index": "ubi", "_id": str(number), "_source": row} for number, row in enumerate(LOGGED)]
FIELDS = [
    {
        "_id": "a",
        "fields": {"query_id": ["q1"], "user_query": ["red shoes"], "query_response_hit_ids": ["7", "8", "9"]},
    },
    {
        "_id": "b",
        "fields": {
            "action_name": ["click"],
            "query_id": ["q1"],
            "event_attributes.object.object_id": ["8"],
            "event_attributes.position.ordinal": [2],
        },
    },
]


@pytest.mark.parametrize(
    ("text", "name"),
    [
        (DASHBOARD, "dashboard.csv"),
        (
            DASHBOARD.replace('"query_id"', '"query_id.keyword"').replace('"user_query"', '"_source.user_query"'),
            "a.csv",
        ),
        (DASHBOARD.replace("7, 8, 9", "['7', '8', '9']"), "python.csv"),
        (lines(*HITS), "hits.jsonl"),
        (lines({"took": 3, "hits": {"total": {"value": 2}, "hits": HITS}}), "response.jsonl"),
        (lines({"responses": [{"hits": {"hits": HITS[:1]}}, {"hits": {"hits": HITS[1:]}}]}), "msearch.jsonl"),
        (lines(*FIELDS), "fields.jsonl"),
        (lines({"hits": {"hits": FIELDS}}), "fields-response.jsonl"),
        (
            "query_id,user_query,query_response_hit_ids,action_name,event_attributes\n"
            "q1,red shoes,\"['7', '8', '9']\",,\n"
            "q1,,,click,\"{'object': {'object_id': '8'}, 'position': {'ordinal': 2}}\"\n",
            "pandas.csv",
        ),
    ],
)
def test_exported_forms_read_right(ubi: Import, text: str, name: str) -> None:
    shown = ubi.run(text, name)
    assert shown == {("red shoes", "7", 1): (1, 0), ("red shoes", "8", 2): (1, 1), ("red shoes", "9", 3): (1, 0)}
    assert (ubi.summary.rows_read, ubi.summary.rows_rejected, ubi.summary.ignored) == (2 + 5, 0, {})


def test_what_numpy_writes_is_not_read_as_one_id(ubi: Import) -> None:
    with pytest.raises(TooManyRejectsError, match="is a list that is no JSON"):
        ubi.run(DASHBOARD.replace("7, 8, 9", "['7' '8' '9']"), "numpy.csv")


@pytest.mark.parametrize(
    ("logged", "rejected"),
    [
        # Nobody knows which of the texts the click followed.
        ([query("q1", "red shoes", "7"), query("q1", "blue shoes", "11"), event("click", "q1", "7", 1)], [1, 2, 3]),
        ([query("q1", "red shoes", "7"), event("click", "q1", "7", 1, user_query="blue shoes")], [2]),
        ([event("click", "q1", "7", 1, user_query=text) for text in ("red shoes", "blue shoes")], [1, 2]),
    ],
)
def test_one_query_id_with_two_texts_is_a_reject(
    ubi: Import, logged: list[dict[str, Any]], rejected: list[int]
) -> None:
    fine = [query("q2", "Red Shoes", "8"), query("q2", "red  shoes", "8"), event("click", "q2", "8", 1)]
    shown = ubi.run(lines(*logged, *fine), share=0.9)
    assert ("red shoes", "8", 1) in shown
    assert not any(keyphrase == "blue shoes" or item == "11" for keyphrase, item, _ in shown)
    assert ubi.rejects() == [(row, "query_id", "contradiction") for row in rejected]


def test_the_second_page_of_a_query_goes_on_where_the_first_ends(ubi: Import) -> None:
    pages = [query("q1", "shoes", "7", "8"), query("q1", "shoes", "9", "10"), query("q1", "shoes", "7", "8")]
    shown = ubi.run(lines(*pages, event("click", "q1", "9", 3)))
    assert {(item, position) for _, item, position in shown} == {("7", 1), ("8", 2), ("9", 3), ("10", 4)}
    pages = [
        query("q1", "shoes", "9", "10", timestamp="2026-11-28T10:00:09Z"),
        query("q1", "shoes", "7", "8", timestamp="2026-11-28T10:00:00Z"),
    ]
    assert ubi.run(lines(*pages, event("click", "q1", "9", 3))) == shown


def test_a_page_whose_first_page_was_not_logged_keeps_the_positions_of_its_clicks(ubi: Import) -> None:
    shown = ubi.run(lines(query("q1", "shoes", "9", "10"), event("click", "q1", "10", 4)))
    assert {(item, position) for _, item, position in shown} == {("9", 3), ("10", 4)}
    # A result above the list, as an advertisement, is no page.
    shown = ubi.run(lines(query("q1", "shoes", "9", "10"), event("click", "q1", "10", 3)))
    assert {(item, position) for _, item, position in shown} == {("9", 1), ("10", 2)}


def zero_based(application: str | None = None) -> list[dict[str, Any]]:
    of_application = {} if application is None else {"application": application}
    return [
        query("q0", "shoes"),
        *(event("impression", "q0", str(7 + ordinal), ordinal, **of_application) for ordinal in range(5)),
        event("click", "q0", "7", 0, **of_application),
    ]


def test_a_log_that_counts_from_0_is_recognised(ubi: Import) -> None:
    bulk = [line for row in zero_based() for line in ({"index": {"_index": "ubi"}}, row)]
    for rows in (zero_based(), bulk):
        with pytest.raises(
            InputError, match=r"counts from 0; give --first-position 0, or --first-position 1 to reject"
        ):
            ubi.run(lines(*rows), share=0.9)
    assert ubi.run(lines(*bulk), first_position=0)["shoes", "7", 1] == (1, 1)
    with pytest.raises(TooManyRejectsError, match=r"2 of 12 rows .* is ordinal 0; if this client counts from 0"):
        ubi.run(lines(*bulk), first_position=1)


def test_each_application_may_count_from_its_own_position(ubi: Import) -> None:
    web = [query("q1", "hats"), *(event("impression", "q1", "8", ordinal, application="web") for ordinal in (1, 1))]
    rows = [*zero_based("app"), *web]
    with pytest.raises(InputError, match=r"of application 'app' .* --first-position app=0"):
        ubi.run(lines(*rows))
    shown = ubi.run(lines(*rows), first_positions={"app": 0})
    assert (shown["shoes", "7", 1], shown["hats", "8", 1]) == ((1, 1), (1, 0))


def test_ignored_rows_are_named_and_do_not_thin_out_the_rejects(ubi: Import) -> None:
    others = [event("add_to_cart", "q1", "8") for _ in range(90)] + [event("view", "q1", "8") for _ in range(3)]
    stray = event("click", "nowhere", "8", 1)
    with pytest.raises(TooManyRejectsError, match="1 of 8 rows were rejected"):
        ubi.run(lines(*LOGGED, *others, stray))
    ubi.run(lines(*LOGGED, *others))
    assert ubi.summary.ignored == {"events with the action 'add_to_cart'": 90, "events with the action 'view'": 3}


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        (
            [query("q1", "shoes", "7"), event("item_click", "q1", "7", 1)],
            r"no result was clicked.*'item_click'.*--click-a",
        ),
        (
            [query("q1", "shoes", "x7"), event("click", "q1", "x7", 1)],
            "none of the items of 1 pairs is one of the 5 items",
        ),
    ],
)
def test_an_import_without_a_click_or_an_item_is_no_success(ubi: Import, rows: list[Any], message: str) -> None:
    with pytest.raises(InputError, match=message):
        ubi.run(lines(*rows))
    assert not ubi.out.exists()
