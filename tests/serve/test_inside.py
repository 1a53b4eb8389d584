"""What only shows with a hand inside: overload, a dead part, an engine that is away, swaps under requests."""

import asyncio
import json
import logging
import threading
from collections.abc import Coroutine
from typing import Any

import pytest

from keydistill.encoders import ItemText
from keydistill.errors import CollectionNotFoundError, EngineUnavailableError, VectorStoreError
from keydistill.retrieval import Generation, LiveRetriever, generation, lists
from keydistill.serve import readiness
from keydistill.telemetry import JsonLines
from tests.serve.conftest import TITLES, OpenBench, swap
from tests.support.stub_students import StubStudent

BODY = {"items": [{"title": TITLES[0]}], "limit": 3}


async def soon(test: Coroutine[Any, Any, None]) -> None:
    """Many a test waits for what a defect may keep from coming."""
    async with asyncio.timeout(60):
        await test


def test_a_full_queue_is_429_with_retry_after(open_bench: OpenBench, monkeypatch: pytest.MonkeyPatch) -> None:
    go = threading.Event()
    embed_items = StubStudent.embed_items
    held_batches: list[Any] = []

    def held(self: StubStudent, titles: Any, *arguments: Any, **options: Any) -> Any:
        if any(title != "warm-up" for title in titles):
            held_batches.append(titles)
            assert go.wait(60)
        return embed_items(self, titles, *arguments, **options)

    async def run() -> None:
        async with open_bench(serve_queue_items=4) as bench:
            monkeypatch.setattr(StubStudent, "embed_items", held)
            requests = []
            # A request for each of the two threads, and then those that have to wait.
            for count in (1, 2):
                requests.append(asyncio.create_task(bench.http.post("/v1/recommend", json=BODY)))
                while len(held_batches) < count:
                    await asyncio.sleep(0.001)
            requests += [asyncio.create_task(bench.http.post("/v1/recommend", json=BODY)) for _ in range(10)]
            while sum(task.done() for task in requests) < 8:
                await asyncio.sleep(0.001)
            depth = (await bench.http.get("/metrics")).text
            go.set()
            answers = await asyncio.gather(*requests)
            refused = [answer for answer in answers if answer.status_code == 429]
            assert {answer.status_code for answer in answers} == {200, 429}
            assert len(refused) >= 8
            assert all(int(answer.headers["Retry-After"]) >= 1 for answer in refused)
            # True at the scrape, which was in the midst of it; the service itself may be among those that wait.
            (waiting,) = [line for line in depth.splitlines() if line.startswith("keydistill_queue_items ")]
            assert float(waiting.split()[1]) in (2, 3)
            assert (await bench.http.post("/v1/recommend", json=BODY)).status_code == 200

    asyncio.run(soon(run()))


def test_fields_of_an_item_reach_the_student(open_bench: OpenBench, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(StubStudent, "item_text", ItemText("{title} {brand}"))
    with_brand = {"title": TITLES[0], "fields": {"brand": "acme", "color": None}}
    titles = [with_brand, {"title": f"{TITLES[0]} acme"}, {"title": TITLES[0], "fields": {}}]

    async def run() -> None:
        async with open_bench(serve_title_chars=100) as bench:
            answer = (await bench.http.post("/v1/embed", json={"items": titles})).json()["results"]
            assert answer[0]["vector"] == answer[1]["vector"] != answer[2]["vector"]
            found = await bench.http.post("/v1/recommend", json={"items": titles, "limit": 40})
            lists = [result["keyphrases"] for result in found.json()["results"]]
            assert lists[0] == lists[1] != lists[2]
            for fields, place in (({"brand": "x" * 101}, "/items/0/fields"), ({"brand": 7}, "/items/0/fields/brand")):
                refused = await bench.http.post("/v1/embed", json={"items": [{"title": "a", "fields": fields}]})
                assert (refused.status_code, refused.json()["errors"][0]["pointer"]) == (422, place)

    asyncio.run(soon(run()))


def test_the_clients_deadline_is_kept(open_bench: OpenBench, monkeypatch: pytest.MonkeyPatch) -> None:
    go = threading.Event()
    embed_items = StubStudent.embed_items

    def held(self: StubStudent, titles: Any, *arguments: Any, **options: Any) -> Any:
        if any(title != "warm-up" for title in titles):
            assert go.wait(60)
        return embed_items(self, titles, *arguments, **options)

    async def run() -> None:
        async with open_bench(serve_timeout_seconds=30) as bench:
            monkeypatch.setattr(StubStudent, "embed_items", held)
            late = await bench.http.post("/v1/recommend", json=BODY, headers={"X-Timeout-Ms": "20"})
            assert (late.status_code, late.json()["type"]) == (504, "urn:keydistill:problem:timeout")
            go.set()
        async with open_bench(serve_timeout_seconds=0.02) as bench:
            go.clear()
            # More patience than ours is not taken.
            late = await bench.http.post("/v1/recommend", json=BODY, headers={"X-Timeout-Ms": "60000"})
            assert late.status_code == 504
            go.set()

    asyncio.run(soon(run()))


def test_before_the_first_answer_it_is_not_ready(open_bench: OpenBench, monkeypatch: pytest.MonkeyPatch) -> None:
    go = threading.Event()
    embed_items = StubStudent.embed_items

    def held(self: StubStudent, titles: Any, *arguments: Any, **options: Any) -> Any:
        assert go.wait(60)
        return embed_items(self, titles, *arguments, **options)

    monkeypatch.setattr(StubStudent, "embed_items", held)

    async def run() -> None:
        async with open_bench(warm=False) as bench:
            for path in ("/readyz", "/v1/generation"):
                answer = await bench.http.get(path)
                assert (answer.status_code, answer.headers["Retry-After"]) == (503, "1"), path
            assert (await bench.http.post("/v1/recommend", json=BODY)).status_code == 503
            assert (await bench.http.get("/livez")).status_code == 200
            go.set()
            while (await bench.http.get("/readyz")).status_code != 200:
                await asyncio.sleep(0.001)
            assert (await bench.http.post("/v1/recommend", json=BODY)).status_code == 200

    asyncio.run(soon(run()))


def test_where_nothing_is_live_it_waits_and_says_so(
    open_bench: OpenBench, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    async def run() -> None:
        async with open_bench(warm=False, alias="nothing-yet", alias_poll_seconds=0.01) as bench:
            while "names no collection yet" not in (answer := await bench.http.get("/readyz")).text:
                assert answer.status_code == 503
                await asyncio.sleep(0.001)
            bench.engine.swap_alias("nothing-yet", bench.names["red"], None)
            while (await bench.http.get("/readyz")).status_code != 200:
                await asyncio.sleep(0.001)

    asyncio.run(soon(run()))
    # Once, and not with every try.
    assert sum("names no collection yet" in record.getMessage() for record in caplog.records) <= 1


def test_ready_lapses_within_five_seconds() -> None:
    assert readiness._FRESH_SECONDS + readiness._PAUSE_SECONDS < 5


@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
@pytest.mark.parametrize("part", ["encoder", "engine", "watcher", "lane"])
def test_with_a_dead_part_it_is_not_ready(open_bench: OpenBench, monkeypatch: pytest.MonkeyPatch, part: str) -> None:
    monkeypatch.setattr(readiness, "_FRESH_SECONDS", 0.2)
    monkeypatch.setattr(readiness, "_PAUSE_SECONDS", 0.01)

    def broken(*_: Any, **__: Any) -> Any:
        raise RuntimeError("it is broken")

    def dead(*_: Any, **__: Any) -> Any:
        raise SystemExit

    async def run() -> None:
        async with open_bench() as bench:
            if part == "encoder":
                monkeypatch.setattr(StubStudent, "embed_items", broken)
            elif part == "engine":
                monkeypatch.setattr(Generation, "query", broken)
            elif part == "lane":
                monkeypatch.setattr(bench.service.batches, "_answer", dead)
            else:
                # As if it had died of something that nobody foresaw.
                monkeypatch.setattr(LiveRetriever, "_look", dead)
            while (answer := await bench.http.get("/readyz")).status_code == 200:
                await asyncio.sleep(0.001)
            assert answer.json()["type"] == "urn:keydistill:problem:not-ready"
            assert (await bench.http.post("/v1/recommend", json=BODY)).status_code == 503
            assert (await bench.http.get("/livez")).status_code == 200
            monkeypatch.undo()

    asyncio.run(soon(run()))


def test_while_the_engine_is_away_vectors_are_given_and_the_rest_is_503(
    open_bench: OpenBench, monkeypatch: pytest.MonkeyPatch
) -> None:
    query = Generation.query
    away = True

    def unreachable(self: Generation, vectors: Any, *arguments: Any, **options: Any) -> Any:
        if away:
            raise EngineUnavailableError("the server at inner-host does not answer")
        return query(self, vectors, *arguments, **options)

    async def run() -> None:
        nonlocal away
        async with open_bench() as bench:
            monkeypatch.setattr(Generation, "query", unreachable)
            refused, vectors = await asyncio.gather(
                bench.http.post("/v1/recommend", json=BODY),
                bench.http.post("/v1/embed", json={"items": BODY["items"]}),
            )
            assert vectors.status_code == 200
            assert (refused.status_code, refused.headers["Retry-After"]) == (503, "1")
            assert "inner-host" not in refused.text
            away = False
            assert (await bench.http.post("/v1/recommend", json=BODY)).status_code == 200

    asyncio.run(soon(run()))


def test_filters_that_the_engine_refuses_harm_nobody_else(
    open_bench: OpenBench, monkeypatch: pytest.MonkeyPatch
) -> None:
    query = Generation.query

    def refused(self: Generation, vectors: Any, limit: int, filters: Any = None, **options: Any) -> Any:
        if any(condition.field == "odd" for filter in filters or () if filter for condition in filter.must):
            raise VectorStoreError("querying: such a field cannot be")
        return query(self, vectors, limit, filters, **options)

    async def run() -> None:
        async with open_bench(serve_batch_wait_ms=50, serve_batch_items=3) as bench:
            monkeypatch.setattr(Generation, "query", refused)
            odd = {**BODY, "filters": {"where": [{"field": "odd", "equals": 1}]}}
            answers = await asyncio.gather(*(bench.http.post("/v1/recommend", json=body) for body in (BODY, odd, BODY)))
            assert [answer.status_code for answer in answers] == [200, 422, 200]

    asyncio.run(soon(run()))


def test_an_error_that_nobody_foresaw_is_a_500_without_its_text(
    open_bench: OpenBench, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def broken(*_: Any, **__: Any) -> Any:
        raise RuntimeError("inner secret")

    async def run() -> None:
        async with open_bench() as bench:
            monkeypatch.setattr(Generation, "query", broken)
            answer = await bench.http.post("/v1/recommend", json=BODY)
            assert (answer.status_code, answer.json()["type"]) == (500, "urn:keydistill:problem:internal")
            assert "inner secret" not in answer.text
            assert answer.json()["request_id"] in caplog.text

    asyncio.run(soon(run()))


def test_a_collection_that_is_deleted_in_the_midst_is_answered_by_the_next(
    open_bench: OpenBench, monkeypatch: pytest.MonkeyPatch
) -> None:
    query = Generation.query

    async def run() -> None:
        async with open_bench() as bench:
            red = bench.names["red"]

            def deleted(self: Generation, vectors: Any, *arguments: Any, **options: Any) -> Any:
                if self.collection == red:
                    if bench.engine.aliases()["keyphrases"] == red:
                        swap(bench.engine, bench.names["blue"])
                    raise CollectionNotFoundError(f"collection {red} is gone")
                return query(self, vectors, *arguments, **options)

            monkeypatch.setattr(Generation, "query", deleted)
            answer = await bench.http.post("/v1/recommend", json=BODY)
            assert answer.status_code == 200, answer.text
            assert answer.json()["generation"]["collection"] == bench.names["blue"]

    asyncio.run(soon(run()))


def test_swaps_under_requests_mix_nothing(open_bench: OpenBench) -> None:
    async def run() -> None:
        async with open_bench(serve_batch_wait_ms=1) as bench:
            right = {}
            for name in ("red", "blue"):
                stub = StubStudent(name)
                info = bench.engine.info(bench.names[name])
                generation = Generation.of(bench.engine, info, stub)  # type: ignore[arg-type]
                lists = generation.recommend(TITLES, 3)
                right[info.name] = [stub.version, [[hit.keyphrase for hit in hits] for hits in lists]]
            seen: list[str] = []
            over = False

            async def ask() -> None:
                while not over:
                    body = {"items": [{"title": title} for title in TITLES], "limit": 3}
                    content = (await bench.http.post("/v1/recommend", json=body)).json()
                    name = content["generation"]["collection"]
                    lists = [[hit["keyphrase"] for hit in item["keyphrases"]] for item in content["results"]]
                    assert [content["generation"]["student_version"], lists] == right[name]
                    seen.append(name)

            asking = [asyncio.create_task(ask()) for _ in range(4)]
            for swaps in range(6):
                target = bench.names[("blue", "red")[swaps % 2]]
                await asyncio.to_thread(swap, bench.engine, target)
                while not seen or seen[-1] != target:
                    await asyncio.sleep(0.001)
                    assert not any(task.done() for task in asking)
            over = True
            await asyncio.gather(*asking)
            assert len(set(seen)) == 2

    asyncio.run(soon(run()))


def test_lists_are_built_only_where_something_is_asked_of_them(
    open_bench: OpenBench, monkeypatch: pytest.MonkeyPatch
) -> None:
    build_lists = lists.build_lists
    built: list[Any] = []

    def noted(*arguments: Any) -> Any:
        built.append(arguments)
        return build_lists(*arguments)

    monkeypatch.setattr(generation, "build_lists", noted)

    async def run() -> None:
        async with open_bench() as bench:
            nearest = (await bench.http.post("/v1/recommend", json=BODY)).json()["results"][0]["keyphrases"]
            assert built == []
            first, *others = [each["keyphrase"] for each in nearest]
            excluding = {"items": [{"title": TITLES[0], "exclude": [first]}], "limit": 3}
            left = (await bench.http.post("/v1/recommend", json=excluding)).json()["results"][0]["keyphrases"]
            assert len(built) == 1
            assert [each["keyphrase"] for each in left][:2] == others

    asyncio.run(soon(run()))


def test_titles_are_logged_where_that_is_wanted(open_bench: OpenBench, caplog: pytest.LogCaptureFixture) -> None:
    async def run() -> None:
        async with open_bench(serve_log_texts=True) as bench:
            await bench.http.post("/v1/recommend", json=BODY)

    with caplog.at_level(logging.INFO, "keydistill.serve.front"):
        asyncio.run(soon(run()))
    lines = [json.loads(JsonLines().format(record)) for record in caplog.records if record.getMessage() == "request"]
    assert [line["titles"] for line in lines if line["path"] == "/v1/recommend"] == [[TITLES[0]]]


def test_so_many_requests_are_in_flight_and_no_more(open_bench: OpenBench, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("keydistill.serve.front._MOST_IN_FLIGHT", 3)

    async def run() -> None:
        async with open_bench(serve_batch_wait_ms=20) as bench:
            answers = await asyncio.gather(*(bench.http.post("/v1/recommend", json=BODY) for _ in range(8)))
            assert sorted(answer.status_code for answer in answers) == [200] * 3 + [429] * 5
            assert (await bench.http.post("/v1/recommend", json=BODY)).status_code == 200

    asyncio.run(soon(run()))
