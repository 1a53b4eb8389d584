"""The OpenAPI document says what the service does: examples work, and nothing else ever comes back."""

import json
from typing import Any

import httpx
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.serve.conftest import TITLES


@pytest.fixture(scope="module")
def document(http: httpx.Client) -> dict[str, Any]:
    content: dict[str, Any] = http.get("/openapi.json").json()
    return content


def body_schemas(document: dict[str, Any]) -> dict[str, dict[str, Any]]:
    schemas = {}
    for path, methods in document["paths"].items():
        if "post" in methods:
            name = methods["post"]["requestBody"]["content"]["application/json"]["schema"]["$ref"].rpartition("/")[2]
            schemas[path] = document["components"]["schemas"][name]
    return schemas


def test_its_examples_are_answered(http: httpx.Client, document: dict[str, Any]) -> None:
    schemas = body_schemas(document)
    assert set(schemas) == {"/v1/recommend", "/v1/embed"}
    for path, schema in schemas.items():
        for example in schema["examples"]:
            assert http.post(path, json=example).status_code == 200


def test_every_reference_leads_somewhere(document: dict[str, Any]) -> None:
    def references(part: Any) -> list[str]:
        if isinstance(part, list):
            return [name for each in part for name in references(each)]
        if not isinstance(part, dict):
            return []
        own = [part["$ref"]] if isinstance(part.get("$ref"), str) else []
        return own + [name for each in part.values() for name in references(each)]

    names = set(references(document))
    assert names
    for name in names:
        part: Any = document
        for step in name.removeprefix("#/").split("/"):
            part = part[step]


def test_problems_are_described_as_such(document: dict[str, Any]) -> None:
    for methods in document["paths"].values():
        for operation in methods.values():
            for status, response in operation["responses"].items():
                if status != "200":
                    assert set(response["content"]) == {"application/problem+json"}, (operation["summary"], status)


ANY = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=8,
)
TEXT = st.sampled_from([*TITLES, "", " ", "Goods > lamp", "us", "\x00", "\u202e", "é" * 300]) | st.text(max_size=30)
FIELD = st.sampled_from(["brand", "site", "search_volume", "category_ids", "a.b", "a[]", "a..b", "", "0"]) | TEXT
NUMBER = st.integers(-(2**70), 2**70) | st.floats()
VALUE = st.booleans() | NUMBER | TEXT


def maybe(**fields: st.SearchStrategy[Any]) -> st.SearchStrategy[dict[str, Any]]:
    """Objects that have some of the fields, each as it should be or not at all so."""
    optional = {name: value if number % 3 else value | ANY for number, (name, value) in enumerate(fields.items())}
    return st.fixed_dictionaries({}, optional=optional)


CONDITION = maybe(
    equals=VALUE, any_of=st.lists(VALUE, max_size=4), field=FIELD, gte=NUMBER, gt=NUMBER, lte=NUMBER, lt=NUMBER
)
FILTERS = maybe(
    category=TEXT,
    match_category=st.sampled_from(["none", "leaf", "parent"]),
    site=TEXT,
    min_search_volume=NUMBER,
    where=st.lists(CONDITION, max_size=4),
)
ITEMS = st.lists(maybe(id=TEXT, title=TEXT, category_id=TEXT, category_path=TEXT, site=TEXT), max_size=4)
BODY = st.builds(
    lambda body, items: body | items,
    maybe(limit=st.integers(-1, 300) | NUMBER, filters=FILTERS),
    st.fixed_dictionaries({"items": ITEMS}) | maybe(items=ITEMS),
)
HEADERS = st.fixed_dictionaries(
    {},
    optional={
        "X-Timeout-Ms": st.sampled_from(["1000", "0", "-1", "x", ""]),
        "X-Request-Id": st.sampled_from(["a-1", "a b", ""]),
        "Content-Type": st.sampled_from(["application/json; charset=utf-8", "text/csv"]),
        "Authorization": st.sampled_from(["Bearer x", "Basic y"]),
    },
)


@settings(max_examples=150, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow])
@given(
    path=st.sampled_from(["/v1/recommend", "/v1/embed"]),
    body=BODY.map(lambda body: json.dumps(body).encode())
    | ANY.map(lambda body: json.dumps(body).encode())
    | st.binary(),
    headers=HEADERS,
)
def test_whatever_is_sent_the_answer_is_documented(
    http: httpx.Client, document: dict[str, Any], path: str, body: bytes, headers: dict[str, str]
) -> None:
    answer = http.post(path, content=body, headers={"Content-Type": "application/json", **headers})
    assert answer.status_code != 500, answer.text
    responses = document["paths"][path]["post"]["responses"]
    assert str(answer.status_code) in responses
    assert answer.headers["content-type"] in responses[str(answer.status_code)]["content"]
    assert answer.json().get("status", 200) == answer.status_code


@settings(max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    method=st.sampled_from(["GET", "POST", "PUT", "DELETE", "PATCH", "HEAD", "OPTIONS", "TRACE"]),
    path=st.sampled_from(["/", "/v1", "/v1/", "/v1/recommend", "/v1/recommend/", "/livez", "//", "/%00", "/../etc"]),
)
def test_whatever_path_is_asked_the_answer_is_no_500(http: httpx.Client, method: str, path: str) -> None:
    answer = http.request(method, path)
    assert answer.status_code in (200, 404, 405, 415), answer.text
    assert answer.is_success or method == "HEAD" or answer.headers["content-type"] == "application/problem+json"
