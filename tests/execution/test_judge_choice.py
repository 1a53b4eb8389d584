"""The judge's key goes where the settings say, and orders by message name only what they allow."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from keydistill.encoders.judge import ChatJudge, Pair
from keydistill.errors import InputError
from keydistill.execution import Order, ReindexOrder, RetrainOrder, SyncOrder, judge_of
from keydistill.settings import Settings, load_settings
from tests.support.chat_server import ChatServer

JUDGE = "https://judge.example/team/v1"


@pytest.fixture
def server() -> Iterator[ChatServer]:
    with ChatServer() as running:
        yield running


def settings_with(**values: Any) -> Settings:
    return load_settings(judge_api_key="KEY", judge_model="m", **values)


def gets_key(settings: Settings, endpoint: str | None) -> bool:
    judge = judge_of(settings, {"endpoint": endpoint})
    assert isinstance(judge, ChatJudge)
    return judge._settings.api_key is not None


@pytest.mark.parametrize(
    "endpoint", [None, JUDGE, f"{JUDGE}/", "https://JUDGE.example:443/team/v1", f"{JUDGE}/models/a"]
)
def test_the_key_goes_to_the_endpoint_of_the_settings(endpoint: str | None) -> None:
    assert gets_key(settings_with(judge_url=JUDGE), endpoint)
    assert gets_key(settings_with(judge_url=f"{JUDGE}/"), endpoint)


@pytest.mark.parametrize(
    "endpoint",
    [
        "http://judge.example/team/v1",
        "https://judge.example:8443/team/v1",
        "https://other.example/team/v1",
        "https://judge.example.evil/team/v1",
        "https://judge.example./team/v1",
        "https://judge.example/team/v1evil",
        "https://judge.example/team",
        "https://judge.example/evil/v1",
        "https://judge.example/team/v1/../../evil",
        "https://judge.example/team/v1/%2e%2e/%2e%2e/evil",
        "https://judge.example/team/v1/..\\evil",
        "https://evil/#judge.example/team/v1",
        "https://evil/judge.example/team/v1",
    ],
)
def test_no_other_endpoint_gets_it(endpoint: str) -> None:
    assert not gets_key(settings_with(judge_url=JUDGE), endpoint)
    assert not gets_key(settings_with(), endpoint)


def test_further_endpoints_get_it_where_the_settings_name_them() -> None:
    settings = settings_with(judge_url=JUDGE, judge_endpoints=["http://localhost:8000/v1", "https://second.example"])
    assert gets_key(settings, "http://localhost:8000/v1")
    assert gets_key(settings, "https://second.example/any/path")
    assert not gets_key(settings, "http://localhost:8001/v1")
    assert gets_key(settings_with(judge_endpoints=["http://localhost:8000/v1"]), "http://localhost:8000/v1")


@pytest.mark.parametrize("trusted", [True, False])
def test_what_the_endpoint_receives(server: ChatServer, trusted: bool) -> None:
    request = {"extra_headers": {"x-api-key": "SECOND"}, "top_logprobs": 5}
    settings = settings_with(judge_url=server.url if trusted else JUDGE, judge_request=request)
    list(judge_of(settings, {"endpoint": server.url}).judge_many([Pair("1", "lens", "camera lens")]))
    assert (server.headers[0]["authorization"] == "Bearer KEY") is trusted
    assert ("KEY" in str(server.headers)) is trusted
    assert ("SECOND" in str(server.bodies)) is trusted
    assert server.bodies[0]["top_logprobs"] == 5


def test_an_order_by_message_names_an_endpoint_of_the_settings() -> None:
    settings = settings_with(judge_url=JUDGE, judge_endpoints=["http://localhost:8000/v1"])
    for allowed in (None, JUDGE, "http://localhost:8000/v1"):
        RetrainOrder.of({"signals": "s", "endpoint": allowed}).check_message(settings)
    for refused in ("http://127.0.0.1:6599/v1", "http://judge.example/team/v1", "nonsense", "http://me:s3cret@h/v1"):
        with pytest.raises(InputError, match="judge_endpoints") as caught:
            RetrainOrder.of({"signals": "s", "endpoint": refused}).check_message(settings)
        assert "s3cret" not in str(caught.value)


@pytest.mark.parametrize(
    ("kind", "values"),
    [
        (ReindexOrder, {"files": ["{}"]}),
        (ReindexOrder, {"files": ["in/a.csv", "{}"]}),
        (ReindexOrder, {"files": ["in/a.csv"], "categories": "{}"}),
        (ReindexOrder, {"files": ["in/a.csv"], "student": "{}"}),
        (SyncOrder, {"files": ["{}"]}),
        (SyncOrder, {"files": ["in/a.csv"], "categories": "{}"}),
        *(
            (RetrainOrder, {"signals": "in", name: "{}"})
            for name in ("signals", "labels", "local", "simulation", "prompt")
        ),
        (RetrainOrder, {"signals": "in", "inventory": ["{}"]}),
    ],
)
def test_an_order_by_message_names_paths_of_the_settings(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: type[Order], values: dict[str, Any]
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "in").mkdir()
    (tmp_path / "out").mkdir()
    (tmp_path / "in" / "link").symlink_to(tmp_path / "out")

    def order(path: str) -> Order:
        return kind.of(
            {
                name: [one.format(path) for one in value] if isinstance(value, list) else value.format(path)
                for name, value in values.items()
            }
        )

    settings = load_settings(order_paths=[tmp_path / "in"])
    order(str(tmp_path / "in")).check_message(settings)
    order("in").check_message(settings)
    for elsewhere in ("out", str(tmp_path / "out"), "in/../out", "in/link", str(tmp_path)):
        with pytest.raises(InputError, match="order_paths"):
            order(elsewhere).check_message(settings)
        order(elsewhere).check_message(load_settings())
