"""Logging in with an API key: the cookie, what it opens, when it ends, and that no other site can use it."""

import asyncio
import pickle
import time
from pathlib import Path
from typing import Any

import httpx
import pytest
from starlette.datastructures import Headers
from starlette.responses import Response

from keydistill.serve import KeyFile, keys
from keydistill.serve.keys import Keys
from keydistill.serve.run import AppFactory
from keydistill.serve.sessions import SECONDS, Sessions, comes_from_own_page
from keydistill.settings import load_settings
from tests.serve.conftest import OpenBench

BODY = {"items": [{"title": "a"}]}
OWN = {"Origin": "http://service"}


@pytest.fixture(autouse=True)
def _look_always(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(keys, "_LOOK_SECONDS", 0.0)


@pytest.fixture
def file(tmp_path: Path) -> KeyFile:
    return KeyFile(tmp_path / "keys.json")


def with_cookie(response: Response) -> Headers:
    return Headers({"Cookie": response.headers["set-cookie"].partition(";")[0]})


async def login(http: httpx.AsyncClient, key: str) -> httpx.Response:
    return await http.post("/page/login", json={"key": key}, headers=OWN)


def test_a_login_opens_what_its_key_opens_until_the_logout(open_bench: OpenBench, file: KeyFile) -> None:
    key = file.add("shop")

    async def run() -> None:
        async with open_bench(serve_keys_file=file.path) as bench:
            http = bench.http
            assert (await http.get("/")).status_code == 200
            assert (await http.get("/v1/page/overview")).status_code == 401
            wrong = await login(http, "kd_wrong")
            assert (wrong.status_code, "set-cookie" in wrong.headers) == (401, False)
            assert (await http.get("/v1/page/overview")).status_code == 401
            answer = await login(http, f" {key}\n")
            assert answer.status_code == 204
            cookie = answer.headers["set-cookie"].lower()
            assert "httponly" in cookie
            assert "samesite=strict" in cookie
            assert "path=/" in cookie
            assert f"max-age={SECONDS}" in cookie
            assert key.lower() not in cookie
            assert (await http.get("/v1/page/overview")).json()["key"] == "shop"
            assert (await http.post("/v1/recommend", json=BODY, headers=OWN)).status_code == 200
            assert (await http.post("/page/logout", json={}, headers=OWN)).status_code == 204
            assert (await http.get("/v1/page/overview")).status_code == 401

    asyncio.run(run())


OTHER_SITES: list[dict[str, str]] = [
    {},
    {"Origin": "http://elsewhere.example"},
    {"Origin": "http://service:81"},
    {"Origin": "http://service.elsewhere.example"},
    {"Origin": "null"},
    {"Origin": "http://["},
    {"Origin": "http://service", "Sec-Fetch-Site": "cross-site"},
    {"Origin": "http://service", "Sec-Fetch-Site": "same-site"},
]


def test_other_sites_cannot_use_a_session(open_bench: OpenBench, file: KeyFile) -> None:
    key = file.add("shop")
    judgment = {**BODY, "keyphrase": "b", "relevant": True}

    async def run() -> None:
        async with open_bench(serve_keys_file=file.path) as bench:
            assert (await login(bench.http, key)).status_code == 204
            for headers in OTHER_SITES:
                for path, body in (("/v1/recommend", BODY), ("/v1/embed", BODY), ("/v1/page/judgments", judgment)):
                    answer = await bench.http.post(path, json=body, headers=headers)
                    assert answer.status_code == 401, (path, headers)
                for path in ("/page/login", "/page/logout"):
                    answer = await bench.http.post(path, json={"key": key}, headers=headers)
                    assert answer.status_code == 403, (path, headers)
                    assert answer.json()["type"] == "urn:keydistill:problem:other-site"
            # A form of another site can send no JSON, and no header either.
            answer = await bench.http.post("/page/login", data={"key": key}, headers=OWN)
            assert answer.status_code == 415
            assert (await bench.http.get("/v1/page/overview")).json()["key"] == "shop"

    asyncio.run(run())


def test_without_keys_other_sites_cannot_judge_either(open_bench: OpenBench, tmp_path: Path) -> None:
    judgment = {**BODY, "keyphrase": "b", "relevant": True}

    async def run() -> None:
        async with open_bench(serve_judgments=tmp_path / "judgments") as bench:
            for headers in OTHER_SITES:
                answer = await bench.http.post("/v1/page/judgments", json=judgment, headers=headers)
                assert answer.status_code == 403
            assert (await bench.http.get("/v1/page/overview")).json()["key"] is None
            assert not (tmp_path / "judgments").exists()

    asyncio.run(run())


def test_a_key_that_is_rotated_out_takes_its_sessions_along(file: KeyFile) -> None:
    first, known = file.add("shop"), Keys({}, file, required=False)
    page, response = Sessions(known, b"secret"), Response()
    assert page.begin(response, first, "http") == "shop"
    cookie = with_cookie(response)
    assert page.name_of(cookie, "http") == "shop"
    file.remove("shop")
    assert page.name_of(cookie, "http") is None
    # Nor does another key of the same name take the session over.
    file.add("shop")
    assert page.name_of(cookie, "http") is None


def test_a_session_ends_and_cannot_be_made_up(file: KeyFile, monkeypatch: pytest.MonkeyPatch) -> None:
    key, other_key = file.add("shop"), file.add("batch")
    known = Keys({}, file, required=False)
    page, response = Sessions(known, b"secret"), Response()
    page.begin(response, key, "http")
    header = with_cookie(response)["cookie"]
    name, _, cookie = header.partition("=")
    encoded, end, signature = cookie.split(".")
    for forged in (
        "", "a", "..", "a.b.c", f"{encoded}.{int(end) + 1}.{signature}", f"{b'batch'.hex()}.{end}.{signature}",
        f"{encoded}.{end}.", f"{encoded}.{end}.{signature[:-1]}", f"ff.{end}.{signature}", f"{encoded}.{end}.é",
    ):  # fmt: skip
        assert page.name_of(Headers({"Cookie": f"{name}={forged}"}), "http") is None, forged
    assert Sessions(known, b"another secret").name_of(Headers({"Cookie": header}), "http") is None
    assert other_key
    late = time.time() + SECONDS + 2
    monkeypatch.setattr(time, "time", lambda: late)
    assert page.name_of(Headers({"Cookie": header}), "http") is None


def test_over_tls_the_cookie_is_for_tls_alone(file: KeyFile) -> None:
    key, known = file.add("shop"), Keys({}, file, required=False)
    page, response = Sessions(known, b"secret"), Response()
    page.begin(response, key, "https")
    cookie = response.headers["set-cookie"]
    assert cookie.startswith("__Host-")
    assert "Secure" in cookie
    assert page.name_of(with_cookie(response), "https") == "shop"
    # What came without TLS may have been put there by somebody else.
    plain = Response()
    page.begin(plain, key, "http")
    assert page.name_of(with_cookie(plain), "https") is None


def test_every_process_knows_the_sessions_of_the_others(tmp_path: Path, file: KeyFile) -> None:
    factory = AppFactory(load_settings(home=tmp_path), keys_required=False)
    sent = pickle.loads(pickle.dumps(factory))
    assert sent.session_secret == factory.session_secret
    assert len(factory.session_secret) == 32
    assert "session_secret" not in repr(factory)
    assert AppFactory(factory.settings, keys_required=False).session_secret != factory.session_secret
    key, response = file.add("shop"), Response()
    Sessions(Keys({}, file, required=False), factory.session_secret).begin(response, key, "http")
    theirs = Sessions(Keys({}, file, required=False), sent.session_secret)
    assert theirs.name_of(with_cookie(response), "http") == "shop"


@pytest.mark.parametrize(
    ("headers", "own"),
    [
        ({"host": "a:8077", "origin": "http://a:8077"}, True),
        ({"host": "A", "origin": "https://a"}, True),
        ({"host": "[::1]:8077", "origin": "http://[::1]:8077"}, True),
        # A proxy may change the host; a browser's own word holds.
        ({"host": "inside", "origin": "https://outside", "sec-fetch-site": "same-origin"}, True),
        ({"host": "a", "origin": "http://a", "sec-fetch-site": "none"}, False),
        ({"host": "", "origin": ""}, False),
        ({"origin": "http://a"}, False),
    ],
)
def test_what_comes_from_the_page_itself(headers: dict[str, Any], own: bool) -> None:
    assert comes_from_own_page(Headers(headers)) is own
