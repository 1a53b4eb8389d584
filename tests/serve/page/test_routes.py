"""The page's files and routes: nothing from elsewhere, limits as everywhere, the compared generation bounded."""

import asyncio
import re
import threading
from dataclasses import replace
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest

from keydistill.errors import RunError
from keydistill.runs import AliasChange, ReindexRun
from keydistill.serve.page import overview
from keydistill.serve.page.routes import _ASSETS
from keydistill.vectorstore.edge.engine import EmbeddedEngine
from tests.runs.records import reindex_run
from tests.serve.conftest import EXACT, TITLES, Bench, OpenBench
from tests.support.places import ROOT
from tests.support.stub_students import StubStudent

FOLDER = ROOT / "keydistill" / "serve" / "page" / "assets"
OWN = {"Origin": "http://service"}
FILES = sorted(FOLDER.iterdir())


async def compare(bench: Bench, collection: str, **fields: Any) -> httpx.Response:
    body = {"items": [{"title": TITLES[0]}], "collection": collection, **fields}
    return await bench.http.post("/v1/page/compare", json=body, headers=OWN)


def test_every_file_is_served_with_a_strict_policy(open_bench: OpenBench) -> None:
    assert {name for name, _ in _ASSETS.values()} == {file.name for file in FILES}

    async def run() -> None:
        async with open_bench(keys_required=True) as bench:
            for path, (name, media_type) in _ASSETS.items():
                answer = await bench.http.get(path)
                assert (answer.status_code, answer.headers["content-type"]) == (200, media_type)
                assert answer.content == (FOLDER / name).read_bytes()
                policy = answer.headers["content-security-policy"]
                assert policy.startswith("default-src 'none'; script-src 'self'; style-src 'self';")
                assert "unsafe" not in policy
                assert "frame-ancestors 'none'" in policy
                assert answer.headers["x-content-type-options"] == "nosniff"
                again = await bench.http.get(path, headers={"If-None-Match": answer.headers["etag"]})
                assert (again.status_code, again.content) == (304, b"")
            assert (await bench.http.get("/page/none.js")).status_code == 404
            document = (await bench.http.get("/openapi.json")).json()
            assert not any("page" in path for path in document["paths"])

    asyncio.run(run())


@pytest.mark.parametrize("file", FILES, ids=[file.name for file in FILES])
def test_no_file_names_anything_elsewhere_or_makes_markup_of_texts(file: Path) -> None:
    text = file.read_text(encoding="utf-8").replace("http://www.w3.org/2000/svg", "")
    assert not re.search(r"https?://|@import|url\(", text)
    assert not re.search(r"innerHTML|outerHTML|insertAdjacent|document\.write|eval\(|new Function", text)
    for imported in re.findall(r'from "\./([\w.]+)"', text):
        assert (FOLDER / imported).is_file()
    if file.suffix == ".html":
        assert not re.search(r"<style|\son\w+=|\sstyle=|<script(?! type=\"module\" src=\"/page/)", text)
        assert set(re.findall(r'(?:src|href)="(/[^"]*)"', text)) <= set(_ASSETS)
        labelled = set(re.findall(r'for="([\w-]+)"', text))
        fields = set(re.findall(r'<(?:input|select|textarea) id="([\w-]+)"', text))
        assert fields == labelled


def test_it_can_be_turned_off(open_bench: OpenBench) -> None:
    async def run() -> None:
        async with open_bench(serve_page=False) as bench:
            for path in ("/", "/page/page.js", "/v1/page/overview"):
                assert (await bench.http.get(path)).status_code == 404
            for path in ("/page/login", "/v1/page/judgments", "/v1/page/compare"):
                assert (await bench.http.post(path, json={}, headers=OWN)).status_code == 404

    asyncio.run(run())


def test_the_overview(open_bench: OpenBench, stub_home: tuple[EmbeddedEngine, Path, dict[str, str]]) -> None:
    names = stub_home[2]

    async def run() -> None:
        async with open_bench() as bench:
            shown = (await bench.http.get("/v1/page/overview")).json()
            assert shown["live"]["collection"] == names["red"]
            assert {each["collection"] for each in shown["collections"]} == set(names.values())
            assert shown["gate"] == {}
            assert shown["history"] == []
            assert shown["limits"]["items"] == 100

    asyncio.run(run())


def test_the_last_gate_and_the_history_are_those_of_the_alias() -> None:
    def run(created_at: str, alias: str, verdict: str | None) -> ReindexRun:
        gate = {} if verdict is None else {"verdict": verdict}
        return replace(reindex_run(alias), created_at=created_at, gate=gate)

    first = run("2026-11-28T10:00:00+00:00", "keyphrases", "passed")
    runs = [
        run("2026-11-28T12:00:00+00:00", "keyphrases", None),
        first,
        run("2026-11-28T09:00:00+00:00", "keyphrases", "refused"),
        run("2026-11-28T13:00:00+00:00", "other", "refused"),
    ]
    shown = overview.last_gate(list(runs), "keyphrases")
    assert (shown["run"], shown["verdict"]) == (first.id, "passed")
    assert overview.last_gate([], "keyphrases") == {}
    changes = [AliasChange.made("swap", alias, None, name) for alias, name in (("a", "1"), ("b", "2"), ("a", "3"))]
    assert [each["after"] for each in overview.last_changes(changes, "a")] == ["3", "1"]


def test_a_part_that_cannot_be_read_does_not_take_the_others_along(
    open_bench: OpenBench, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def gone(*_: object) -> None:
        raise RunError("redis://secret does not answer")

    async def run() -> None:
        async with open_bench() as bench:
            monkeypatch.setattr(overview, "last_gate", gone)
            answer = await bench.http.get("/v1/page/overview")
            assert answer.json()["gate"] is None
            assert answer.json()["history"] == []
            assert "secret" not in answer.text

    asyncio.run(run())
    assert "the page cannot show its gate" in caplog.text


def test_another_generation_answers_as_the_library_does(open_bench: OpenBench) -> None:
    async def run() -> None:
        async with open_bench() as bench:
            answer = (await compare(bench, bench.names["blue"], limit=7, filters={"site": "us"})).json()
            assert answer["generation"]["collection"] == bench.names["blue"]
            assert answer["generation"]["student_version"] == StubStudent("blue").version
            rows = np.asarray(StubStudent("blue").embed_items([TITLES[0]]))
            hits = bench.engine.query_batch(bench.names["blue"], rows, 48, None, EXACT)[0]
            right = [hit.payload["keyphrase"] for hit in hits if hit.payload["site"] == "us"][:7]
            assert [each["keyphrase"] for each in answer["results"][0]["keyphrases"]] == right
            # The live one goes on by itself.
            live = await bench.http.post("/v1/recommend", json={"items": [{"title": TITLES[0]}]})
            assert live.json()["generation"]["collection"] == bench.names["red"]

    asyncio.run(run())


@pytest.fixture
def released(stub_home: tuple[EmbeddedEngine, Path, dict[str, str]], monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Names of the collections whose views the service lets go of."""
    names: list[str] = []
    release = EmbeddedEngine.release

    def noted(engine: EmbeddedEngine, name: str) -> None:
        names.append(name)
        release(engine, name)

    monkeypatch.setattr(EmbeddedEngine, "release", noted)
    return names


def test_one_other_generation_at_a_time(open_bench: OpenBench, released: list[str]) -> None:
    async def run() -> None:
        async with open_bench() as bench:
            page = bench.http._transport.app.state.page
            steps: list[tuple[str, list[str]]] = [("blue", []), ("red", ["blue"]), ("blue", ["blue"])]
            for name, let_go in steps:
                assert (await compare(bench, bench.names[name])).status_code == 200
                assert page.compared.collection == bench.names[name]
                # The view of the live one, which is red, stays open.
                assert released == [bench.names[each] for each in let_go]

    asyncio.run(run())


def test_it_is_released_after_a_while_and_loaded_again(open_bench: OpenBench, released: list[str]) -> None:
    async def run() -> None:
        async with open_bench(serve_compare_seconds=0.05) as bench:
            page = bench.http._transport.app.state.page
            for times in (1, 2):
                assert (await compare(bench, bench.names["blue"])).status_code == 200
                while page.compared.collection is not None or len(released) < times:
                    await asyncio.sleep(0.01)
                assert released == times * [bench.names["blue"]]

    asyncio.run(run())


def test_what_cannot_be_compared_is_refused(open_bench: OpenBench) -> None:
    async def run() -> None:
        async with open_bench(serve_items=2) as bench:
            for collection in ("none", "keyphrases", "other-20261128", ""):
                answer = await compare(bench, collection)
                assert answer.status_code == 422, collection
                assert answer.json()["errors"][0]["pointer"] == "/collection"
            blue = bench.names["blue"]
            for fields in (
                {"items": [{"title": "a"}] * 3},
                {"limit": 201},
                {"items": [{"title": "x" * 1_001}]},
                {"options": {"rerank": 5}},
                {"colour": 1},
            ):
                assert (await compare(bench, blue, **fields)).status_code == 422

    asyncio.run(run())


def test_comparisons_that_wait_are_bounded(open_bench: OpenBench, monkeypatch: pytest.MonkeyPatch) -> None:
    may_go_on = threading.Event()

    async def run() -> None:
        async with open_bench() as bench:
            retriever = bench.service.live.retriever
            assert retriever is not None
            beside = retriever.beside
            monkeypatch.setattr(retriever, "beside", lambda name: may_go_on.wait(60) and beside(name))
            waiting = [asyncio.create_task(compare(bench, bench.names["blue"])) for _ in range(9)]
            done, rest = await asyncio.wait(waiting, return_when=asyncio.FIRST_COMPLETED)
            refused = done.pop().result()
            assert refused.status_code == 429
            assert refused.headers["retry-after"]
            # Services do not wait behind people.
            live = await bench.http.post("/v1/recommend", json={"items": [{"title": TITLES[0]}]})
            assert live.status_code == 200
            may_go_on.set()
            assert {answer.status_code for answer in await asyncio.gather(*rest)} == {200}

    asyncio.run(run())


def test_one_that_is_slow_to_load_is_given_up_and_there_the_next_time(
    open_bench: OpenBench, monkeypatch: pytest.MonkeyPatch
) -> None:
    may_go_on = threading.Event()

    async def run() -> None:
        async with open_bench() as bench:
            retriever = bench.service.live.retriever
            assert retriever is not None
            beside = retriever.beside
            monkeypatch.setattr(retriever, "beside", lambda name: may_go_on.wait(60) and beside(name))
            body = {"items": [{"title": "a"}], "collection": bench.names["blue"]}
            headers = {**OWN, "X-Timeout-Ms": "50"}
            assert (await bench.http.post("/v1/page/compare", json=body, headers=headers)).status_code == 504
            may_go_on.set()
            assert (await compare(bench, bench.names["blue"])).status_code == 200

    asyncio.run(run())
