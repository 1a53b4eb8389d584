"""The service as its callers see it: a process of its own, asked over HTTP."""

import json
import socket
from concurrent.futures import ThreadPoolExecutor
from typing import Any
from urllib.parse import urlsplit

import httpx
import numpy as np
import pytest

from keydistill.retrieval import Generation, Item, item_filter
from keydistill.vectorstore import AnyOf, Condition, Equals, Filter, Range
from tests.serve.conftest import EXACT, KEYPHRASES, TITLES, Home, swap
from tests.support.service_process import ServiceProcess


def library(home: Home, name: str = "a") -> Generation:
    return Generation.of(home.engine, home.engine.info(home.names[name]), home.students[name])


def texts(answer: httpx.Response, place: int = 0) -> list[str]:
    assert answer.status_code == 200, answer.text
    return [hit["keyphrase"] for hit in answer.json()["results"][place]["keyphrases"]]


def test_an_item_gets_what_the_library_finds(http: httpx.Client, home: Home) -> None:
    answer = http.post("/v1/recommend", json={"items": [{"id": "a1", "title": TITLES[0]}], "limit": 5})
    assert answer.status_code == 200, answer.text
    (hits,) = library(home).recommend(TITLES[:1], 5)
    assert answer.json() == {
        "generation": {"collection": home.names["a"], "student_version": home.students["a"].version},
        "results": [
            {
                "id": "a1",
                "keyphrases": [
                    {"keyphrase": hit.keyphrase, "score": pytest.approx(hit.score, abs=1e-4), "payload": hit.payload}
                    for hit in hits
                ],
            }
        ],
    }


def test_requests_that_come_together_get_each_its_own(http: httpx.Client, home: Home) -> None:
    """Of different sizes, limits and filters: whatever batches they are embedded in."""
    generation = library(home)

    def ask(number: int) -> tuple[int, list[list[str]]]:
        titles = [TITLES[(number + place) % len(TITLES)] for place in range(1 + number % 3)]
        items = [{"title": title, "site": "us" if number % 2 else None} for title in titles]
        answer = http.post("/v1/recommend", json={"items": items, "limit": 1 + number % 4})
        return number, [texts(answer, place) for place in range(len(titles))]

    with ThreadPoolExecutor(8) as pool:
        answers = list(pool.map(ask, range(40)))
    for number, lists in answers:
        titles = [TITLES[(number + place) % len(TITLES)] for place in range(1 + number % 3)]
        filters = [item_filter(Item("", title, None, "us" if number % 2 else None)) for title in titles]
        right = generation.recommend(titles, 1 + number % 4, filters)
        assert lists == [[hit.keyphrase for hit in hits] for hits in right]


LEAF, PARENT = {"match_category": "leaf"}, {"match_category": "parent"}


@pytest.mark.parametrize(
    ("item", "filters", "right"),
    [
        ({"category_path": "Goods > lamp"}, LEAF, Equals("category_ids", "Goods > lamp")),
        ({"category_path": "Goods >  lamp"}, LEAF, Equals("category_ids", "Goods > lamp")),
        ({"category_id": "Goods > lamp"}, LEAF, Equals("category_ids", "Goods > lamp")),
        ({"category_path": "Goods > lamp", "site": "de"}, PARENT, Equals("site", "de")),
        ({}, {"category": "Goods > bag"}, Equals("category_ids", "Goods > bag")),
        ({"site": "us"}, {"site": "de"}, Equals("site", "de")),
        ({}, {"min_search_volume": 300}, Range("search_volume", gte=300)),
        ({}, {"where": [{"field": "brand", "equals": "b1"}]}, Equals("brand", "b1")),
        ({}, {"where": [{"field": "brand", "any_of": ["b1", "b2"]}]}, AnyOf("brand", ("b1", "b2"))),
        ({}, {"where": [{"field": "search_volume", "lt": 50, "gte": 20}]}, Range("search_volume", gte=20, lt=50)),
        ({}, {"where": [{"field": "no_such", "equals": 1}]}, Equals("no_such", 1)),
        ({}, {"where": [{"field": "no_such", "equals": True}]}, Equals("no_such", True)),
    ],
)
def test_filters_are_those_of_the_library(
    http: httpx.Client, home: Home, item: dict[str, Any], filters: dict[str, Any], right: Condition
) -> None:
    answer = http.post("/v1/recommend", json={"items": [{"title": TITLES[2], **item}], "limit": 40, "filters": filters})
    hits = library(home).query(library(home).embed([TITLES[2]]), 40, [Filter((right,))], params=EXACT)[0]
    assert sorted(texts(answer)) == sorted(hit.payload["keyphrase"] for hit in hits)
    assert len(hits) < len(KEYPHRASES)


def test_vectors_are_the_students_and_name_their_collection(http: httpx.Client, home: Home) -> None:
    answer = http.post("/v1/embed", json={"items": [{"id": "x", "title": TITLES[3]}, {"title": TITLES[4]}]}).json()
    assert answer["generation"] == {
        "collection": home.names["a"],
        "student_version": home.students["a"].version,
    }
    assert [result["id"] for result in answer["results"]] == ["x", None]
    vectors = np.array([result["vector"] for result in answer["results"]])
    assert vectors.shape == (2, answer["dimension"])
    np.testing.assert_allclose(vectors, home.students["a"].embed_items(TITLES[3:5]), atol=1e-4)


LONG = "x" * 1_001


def filtered(filters: str) -> str:
    return f'{{"items": [{{"title": "a"}}], "filters": {filters}}}'


def condition(fields: str) -> str:
    return filtered(f'{{"where": [{{"field": {fields}}}]}}')


BAD: list[tuple[str, str, int, str]] = [
    ("/v1/recommend", "{", 400, "malformed"),
    ("/v1/recommend", '{"items": [{"title": "\\ud800"}]}', 400, "malformed"),
    ("/v1/recommend", "[]", 422, "invalid"),
    ("/v1/recommend", "{}", 422, "invalid"),
    ("/v1/recommend", '{"items": []}', 422, "invalid"),
    ("/v1/recommend", '{"items": [{"title": "  "}]}', 422, "invalid"),
    ("/v1/recommend", '{"items": [{"title": 7}]}', 422, "invalid"),
    ("/v1/recommend", '{"items": [{"title": "a", "colour": "b"}]}', 422, "invalid"),
    ("/v1/recommend", '{"items": [{"title": "a", "category_path": "A > > B"}]}', 422, "invalid"),
    ("/v1/recommend", '{"items": [{"title": "a", "site": "u\\u0000s"}]}', 422, "invalid"),
    ("/v1/recommend", json.dumps({"items": [{"title": LONG}]}), 422, "invalid"),
    ("/v1/recommend", json.dumps({"items": [{"title": "a"}] * 101}), 422, "invalid"),
    ("/v1/recommend", '{"items": [{"title": "a"}], "limit": 0}', 422, "invalid"),
    ("/v1/recommend", '{"items": [{"title": "a"}], "limit": 201}', 422, "invalid"),
    ("/v1/recommend", '{"items": [{"title": "a"}], "limit": 1e99}', 422, "invalid"),
    ("/v1/recommend", condition('"a"'), 422, "invalid"),
    ("/v1/recommend", condition('"a[", "equals": 1'), 422, "invalid"),
    ("/v1/recommend", condition('"a", "any_of": []'), 422, "invalid"),
    ("/v1/recommend", condition('"a", "any_of": ["b", 1]'), 422, "invalid"),
    ("/v1/recommend", condition('"a", "gte": NaN'), 422, "invalid"),
    ("/v1/recommend", filtered('{"min_search_volume": 99999999999999999999}'), 422, "invalid"),
    ("/v1/recommend", filtered('{"category": "A", "match_category": "leaf"}'), 422, "invalid"),
    ("/v1/recommend", condition('"a", "any_of": [true]'), 422, "invalid"),
    ("/v1/recommend", condition('"a", "equals": 1, "gte": 2'), 422, "invalid"),
    ("/v1/recommend", condition('"a", "equals": 9223372036854775808'), 422, "invalid"),
    ("/v1/embed", '{"items": [{"title": "a"}], "limit": 3}', 422, "invalid"),
    ("/v1/embed", f'{{"items": [{{"title": "a"}}]{" " * (1 << 20)}}}', 413, "too-large"),
    ("/v1/nothing", "{}", 404, "not-found"),
    ("/livez", "{}", 405, "method-not-allowed"),
]  # fmt: skip


@pytest.mark.parametrize(("path", "body", "status", "kind"), BAD)
def test_what_is_wrong_is_a_problem_that_says_where(
    http: httpx.Client, path: str, body: str, status: int, kind: str
) -> None:
    answer = http.post(path, content=body, headers={"Content-Type": "application/json", "X-Request-Id": "mine-1"})
    assert (answer.status_code, answer.headers["content-type"]) == (status, "application/problem+json"), answer.text
    problem = answer.json()
    assert problem["type"] == f"urn:keydistill:problem:{kind}"
    assert (problem["status"], problem["request_id"], answer.headers["x-request-id"]) == (status, "mine-1", "mine-1")
    assert problem["title"]
    assert "\n" not in problem["detail"]
    if status == 422:
        assert all(place["detail"] for place in problem["errors"])
        assert LONG not in answer.text
    if status == 405:
        assert answer.headers["allow"] == "GET"


@pytest.mark.parametrize(
    "headers",
    [{}, {"Content-Type": "text/plain"}, {"Content-Type": "application/json", "Content-Encoding": "gzip"}],
)
def test_a_body_that_is_not_plain_json_is_refused(http: httpx.Client, headers: dict[str, str]) -> None:
    answer = http.post("/v1/embed", content=b'{"items": [{"title": "a"}]}', headers=headers)
    assert answer.status_code == 415
    assert answer.json()["type"] == "urn:keydistill:problem:media-type"


def test_a_body_in_chunks_is_cut_off_at_the_limit(http: httpx.Client) -> None:
    answer = http.post(
        "/v1/embed", content=(b" " * 65_536 for _ in range(64)), headers={"Content-Type": "application/json"}
    )
    assert answer.status_code == 413


@pytest.mark.parametrize("header", ["0", "-5", "soon", "1e3", "1.5", "٣", "99999999999999999999"])
def test_a_timeout_that_is_none_is_refused(http: httpx.Client, header: str) -> None:
    body = {"items": [{"title": "a"}]}
    answer = http.post("/v1/embed", json=body, headers={b"X-Timeout-Ms": header.encode()})
    assert answer.status_code == 400, answer.text


def test_a_body_that_does_not_come_is_given_up(service: ServiceProcess) -> None:
    place = urlsplit(service.url)
    with socket.create_connection((place.hostname, place.port or 0), timeout=30) as connection:
        head = "POST /v1/embed HTTP/1.1\r\nHost: a\r\nContent-Type: application/json\r\nContent-Length: 50\r\n"
        connection.sendall(f"{head}X-Timeout-Ms: 50\r\n\r\n{{".encode())
        assert b" 408 " in connection.recv(4_096).partition(b"\r\n")[0]


@pytest.mark.parametrize(
    ("given", "kept"), [("abc-1.2:3_4", True), ("a b", False), ("x" * 129, False), ("<script>", False)]
)
def test_a_request_id_is_kept_if_it_is_safe(http: httpx.Client, given: str, kept: bool) -> None:
    answer = http.get("/livez", headers={"X-Request-Id": given})
    assert (answer.headers["x-request-id"] == given) == kept
    assert len(answer.headers["x-request-id"]) <= 128


def test_the_log_has_the_generation_and_no_title(http: httpx.Client, service: ServiceProcess, home: Home) -> None:
    secret = "a title that nobody may read"
    http.post("/v1/recommend", json={"items": [{"title": secret}]}, headers={"X-Request-Id": "logged"})
    http.post("/v1/recommend", json={"items": [{"title": secret, "site": 4.5}]}, headers={"X-Request-Id": "refused"})
    # The answer is on its way before the line is.
    while not any(line["request_id"] == "refused" for line in service.requests()):
        assert service.process.poll() is None
    (line,) = [line for line in service.requests() if line["request_id"] == "logged"]
    assert (line["status"], line["path"], line["items"]) == (200, "/v1/recommend", 1)
    assert (line["generation"], line["student_version"]) == (home.names["a"], home.students["a"].version)
    assert line["wait_ms"] >= 0
    assert line["embed_ms"] > 0
    assert line["search_ms"] > 0
    assert secret not in "".join(service.lines)
    assert all(text.startswith("{") for text in service.lines)


def test_metrics_follow_the_conventions(http: httpx.Client) -> None:
    http.post("/v1/embed", json={"items": [{"title": "a"}]})
    http.get("/this/is/no/path")
    text = http.get("/metrics").text
    values = dict(line.rsplit(" ", 1) for line in text.splitlines() if not line.startswith("#"))
    assert float(values["keydistill_queue_items"]) == 0
    assert float(values["keydistill_ready_processes"]) == 1
    assert float(values["keydistill_generation_age_seconds"]) > 0
    assert float(values['keydistill_rejections_total{reason="not-found"}']) >= 1
    assert (
        float(values['keydistill_http_request_duration_seconds_count{method="POST",path="/v1/embed",status="200"}'])
        >= 1
    )
    for name in ("embed_duration_seconds", "search_duration_seconds", "queue_wait_seconds", "batch_size_items"):
        assert float(values[f"keydistill_{name}_count"]) > 0
    # A path that anybody may invent is no label.
    assert "this/is/no" not in text


def test_a_swap_is_followed_without_a_restart(http: httpx.Client, home: Home) -> None:
    body = {"items": [{"title": TITLES[1]}], "limit": 5}
    assert http.get("/v1/generation").json()["generation"]["collection"] == home.names["a"]
    swap(home.engine, home.names["b"])
    try:
        generation = {"collection": home.names["b"], "student_version": home.students["b"].version}
        while (answer := http.post("/v1/recommend", json=body)).json()["generation"] != generation:
            assert answer.status_code == 200, answer.text
        (hits,) = library(home, "b").recommend(TITLES[1:2], 5)
        assert texts(answer) == [hit.keyphrase for hit in hits]
        while "keydistill_generation_swaps_total 1.0" not in http.get("/metrics").text:
            pass
    finally:
        swap(home.engine, home.names["a"])
    while http.get("/v1/generation").json()["generation"]["collection"] != home.names["a"]:
        pass


def test_lists_are_what_the_options_make_of_them(http: httpx.Client) -> None:
    def keyphrases(**body: Any) -> list[list[dict[str, Any]]]:
        answer = http.post("/v1/recommend", json={"items": [{"title": TITLES[0]}], "limit": 5, **body})
        assert answer.status_code == 200, answer.text
        return [item["keyphrases"] for item in answer.json()["results"]]

    plain = keyphrases()
    assert {name for hits in plain for hit in hits for name in hit} == {"keyphrase", "score", "payload"}
    assert keyphrases(options={"diversity": 0, "merge_variants": False}) == plain
    best, second = (hit["keyphrase"] for hit in plain[0][:2])
    left = keyphrases(items=[{"title": TITLES[0], "exclude": [best.upper()]}, {"title": TITLES[0]}])
    assert left[0][0]["keyphrase"] == second
    assert left[1] == plain[0]
    explained = keyphrases(options={"volume_weight": 1, "explain": True})[0]
    assert explained[0]["explanation"]["value"] >= explained[1]["explanation"]["value"]
    assert set(explained[0]["explanation"]["ranks"]) == {"retrieved", "blended"}
    filters = {"category": "Goods > lamp", "site": "us"}
    few = keyphrases(filters=filters, options={"fallback": 5})[0]
    assert [hit.get("fallback") for hit in few] == [None] * 3 + ["Goods"] * 2


@pytest.mark.parametrize(
    ("body", "pointer"),
    [
        ({"options": {"rerank": 20}}, "/options/rerank"),
        ({"options": {"candidates": 3}}, "/options"),
        ({"options": {"diversity": 1.5}}, "/options/diversity"),
        ({"options": {"diverse": 1}}, "/options/diverse"),
        ({"items": [{"title": "x", "exclude": ["a", "b\u0000"]}]}, "/items/0/exclude/1"),
        ({"items": [{"title": "x", "exclude": ["a"] * 1_001}]}, "/items/0/exclude"),
    ],
)
def test_options_that_cannot_be_are_named(http: httpx.Client, body: dict[str, Any], pointer: str) -> None:
    answer = http.post("/v1/recommend", json={"items": [{"title": "x"}], **body})
    assert answer.status_code == 422
    assert pointer in [place["pointer"] for place in answer.json()["errors"]]
