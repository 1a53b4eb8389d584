"""A secret in a setting is shown by nobody: neither in settings, errors and logs nor in records and `repr`."""

import json
import logging
import re
from pathlib import Path
from typing import Any

import pytest

from keydistill.errors import KeydistillError
from keydistill.execution import RetrainOrder, judge_of
from keydistill.masking import MASK, masked, shown_address
from keydistill.settings import Settings, load_settings
from keydistill.storage import shared_storage
from keydistill.vectorstore import open_engine
from tests.cli.conftest import Command

SECRET = "PLANTED/S3CRET?#x"
# Where a secret may stand; port 1 is one that nobody listens on.
PLANTED: dict[str, Any] = {
    "qdrant_url": f"http://ann:{SECRET}@127.0.0.1:1",
    "qdrant_api_key": SECRET,
    "judge_url": f"http://bob:{SECRET}@127.0.0.1:1/v1",
    "judge_api_key": SECRET,
    "judge_endpoints": [f"http://eve:{SECRET}@127.0.0.1:1/v1"],
    "judge_request": {"extra_headers": {"x-api-key": SECRET}, "nested": [{"token": SECRET}], "max_tokens": 3},
    "redis_url": f"redis://:{SECRET}@127.0.0.1:1/0",
    "otlp_endpoint": f"http://tess:{SECRET}@127.0.0.1:1",
    "shared": f"nothing://AKID:{SECRET}@bucket/prefix",
    "schedules": {
        "nightly": {"cron": "0 3 * * 0", "task": "retrain", "kwargs": {"endpoint": f"http://a:{SECRET}@h/v1"}}
    },
}


def holds_secret(text: str) -> bool:
    # Pieces too: parsers of addresses cut at each of the marks.
    return any(piece in text for piece in ("PLANTED", "S3CRET"))


@pytest.fixture
def planted(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in PLANTED.items():
        text = value if isinstance(value, str) else json.dumps(value)
        monkeypatch.setenv(f"KEYDISTILL_{name.upper()}", text)
    monkeypatch.setenv("KEYDISTILL_QDRANT_RETRIES", "0")


def test_every_setting_that_can_hold_one_is_tried_here() -> None:
    suspects = re.compile("url|endpoint|request$|shared|password|token|secret|schedules$|api_key")
    numbers = re.compile("per_minute|_port$")
    names = {name for name in Settings.model_fields if suspects.search(name) and not numbers.search(name)}
    assert names == set(PLANTED)


def test_settings_and_repr(keydistill: Command, planted: None) -> None:
    result = keydistill("settings", "--json")
    shown = json.loads(result.out)
    for text in (result.out, keydistill("settings").out, repr(load_settings()), str(load_settings())):
        assert not holds_secret(text)
        assert "127.0.0.1:1" in text
    assert shown["qdrant_url"] == f"http://{MASK}@127.0.0.1:1"
    assert shown["judge_request"] == {
        "extra_headers": {"x-api-key": MASK},
        "nested": [{"token": MASK}],
        "max_tokens": 3,
    }
    assert shown["schedules"]["nightly"]["kwargs"] == {"endpoint": f"http://{MASK}@h/v1"}


@pytest.mark.parametrize("engine", ["server", "embedded"])
@pytest.mark.parametrize(
    "command",
    [
        "status",
        "runs list",
        "collections list",
        "search x",
        "schedule list",
        "reindex inventory.csv",
        "reindex inventory.csv --executor celery --no-wait",
        "judge pairs.csv --out o.csv --model m",
        "judge pairs.csv --out o.csv --model m --endpoint http://eve:PLANTED@h/v1",
        "judge pairs.csv --out o.csv --model m --endpoint http://h/v1?key=PLANTED",
        "retrain signals --model m",
    ],
)
def test_errors_of_commands(
    keydistill: Command,
    planted: None,
    inventory: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    command: str,
    engine: str,
) -> None:
    monkeypatch.setenv("KEYDISTILL_ENGINE", engine)
    # Of Redis nothing more is to be learned here, and it is tried for seconds.
    monkeypatch.delenv("KEYDISTILL_REDIS_URL")
    caplog.set_level(logging.INFO)
    Path("pairs.csv").write_text("item_id,keyphrase,title\n1,lens,camera lens\n")
    result = keydistill(*command.split())
    assert not holds_secret(result.out + result.err + caplog.text)


def test_errors_of_what_addresses_lead_to(planted: None, tmp_path: Path) -> None:
    settings = load_settings(home=tmp_path, engine="server", judge_model="m")
    with pytest.raises(KeydistillError) as storage:
        shared_storage(settings)
    with pytest.raises(KeydistillError) as engine:
        open_engine(settings.model_copy(update={"qdrant_url": f"ftp://ann:{SECRET}@127.0.0.1"})).aliases()
    with pytest.raises(KeydistillError) as judge:
        judge_of(settings, {})
    with pytest.raises(KeydistillError) as order:
        RetrainOrder.of({"signals": "s", "endpoint": [SECRET]})
    for caught in (storage, engine, judge, order):
        assert not holds_secret(str(caught.value))


@pytest.mark.parametrize(
    ("address", "shown"),
    [
        ("http://h:6333", "http://h:6333"),
        ("h:6333/", "http://h:6333"),
        ("https://ann:p@h/path?key=1#x", "https://M@h/path?M"),
        ("s3://ID:a/b?c#d@e@bucket", "s3://M@bucket"),
        ("simplecache::s3://ID:S@bucket", "simplecache::s3://M@bucket"),
        ("s3://ID:S@bucket::memory://x", "s3://M@bucket::memory://x"),
        ("redis://:p@h:6379/0", "redis://M@h:6379/0"),
    ],
)
def test_addresses(address: str, shown: str) -> None:
    assert shown_address(address, "M") == shown


@pytest.mark.parametrize("name", ["x-api-key", "apiKey", "Authorization", "token", "X_AUTH", "password", "cookie"])
def test_names_of_secrets(name: str) -> None:
    assert masked({"headers": {}, name: "s"}) == {"headers": {}, name: MASK}


@pytest.mark.parametrize("name", ["keyphrase", "author", "top_logprobs", "monkey", "reasoning_effort"])
def test_other_names(name: str) -> None:
    assert masked({name: "s", "max_tokens": 3}) == {name: "s", "max_tokens": 3}
