"""What is logged is one line of one form in every process, without secrets and control characters."""

import json
import logging
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from pydantic import SecretStr

from keydistill.execution import queued_retrain
from keydistill.settings import load_settings
from keydistill.telemetry import FIELDS, JsonLines, TextLines, log_context, log_format, masked_text, remember_secrets
from keydistill.telemetry import masks as masks_module
from tests.support.places import ROOT


@pytest.fixture(autouse=True)
def no_secrets_of_others(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(masks_module, "_known", set())


def record(message: str, **fields: Any) -> logging.LogRecord:
    made = logging.LogRecord("keydistill.x", logging.WARNING, __file__, 1, message, (), None)
    setattr(made, FIELDS, fields)
    return made


def command(*arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "keydistill.cli.main", *arguments],
        env={"PATH": "/usr/bin:/bin", "PYTHONPATH": str(ROOT), "HF_HUB_OFFLINE": "1", **environment},
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )


def lines(text: str) -> Iterator[dict[str, Any]]:
    for line in text.splitlines():
        assert not re.search("[\x00-\x1f\x7f-\x9f]", line)
        yield json.loads(line)


def test_a_line_has_what_the_work_is_about() -> None:
    with log_context(run_id="r1", alias="keyphrases", generation="c1"), log_context(part=3):
        line = json.loads(JsonLines().format(record("done", ms=2.5)))
        text = TextLines().format(record("done", ms=2.5))
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}\+00:00", line.pop("timestamp"))
    assert line == {
        "level": "warning",
        "logger": "keydistill.x",
        "message": "done",
        "run_id": "r1",
        "alias": "keyphrases",
        "generation": "c1",
        "part": 3,
        "ms": 2.5,
    }
    assert text.endswith(" WARNING done run_id=r1 alias=keyphrases generation=c1 part=3 ms=2.5")
    assert "run_id" not in json.loads(JsonLines().format(record("after")))


@pytest.mark.parametrize("nasty", ["a\nb", "\x1b[31m", "\x7f", "\x9b31m", "\u2028", "\u202e", "\ud800", '"}{'])
def test_no_control_character_reaches_a_line(nasty: str) -> None:
    for form in (JsonLines(), TextLines()):
        line = form.format(record(f"<{nasty}>", title=nasty))
        assert line.isprintable()
        line.encode()
    parsed = json.loads(JsonLines().format(record("x", title=nasty)))
    assert parsed["title"] == nasty


def test_secrets_are_masked_wherever_they_come_up() -> None:
    settings = load_settings(
        redis_url="redis://ann:p%40ss-word@host:6379/0",
        qdrant_api_key='quoted"key',
        judge_request={"extra_headers": {"Authorization": "hidden-in-a-header"}},
    )
    remember_secrets(settings)
    assert isinstance(settings.qdrant_api_key, SecretStr)
    try:
        raise ValueError("with p@ss-word")
    except ValueError:
        info = sys.exc_info()
    made = record("p%40ss-word at s3://id:other@bucket, hidden-in-a-header", key='quoted"key')
    made.exc_info = info
    for form in (JsonLines(), TextLines()):
        line = form.format(made)
        assert not re.search("p%40ss|p@ss|other@|hidden|quoted", line), line
        assert "with **********" in line
    assert masked_text("http://host:6333/a to ann@host") == "http://host:6333/a to ann@host"


def test_the_format_is_known_before_the_settings_are(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("KEYDISTILL_CONFIG", raising=False)
    monkeypatch.delenv("KEYDISTILL_LOG_FORMAT", raising=False)
    assert (log_format(), log_format("json")) == ("text", "json")
    (tmp_path / "keydistill.toml").write_text('log_format = "json"\n')
    assert log_format() == "json"
    monkeypatch.setenv("KEYDISTILL_LOG_FORMAT", "text")
    assert log_format("json") == "text"
    monkeypatch.setenv("KEYDISTILL_LOG_FORMAT", "yaml")
    assert log_format() == "text"


@pytest.mark.parametrize(
    ("arguments", "level", "message"),
    [
        (["reindx"], "error", "No such command 'reindx'"),
        (["--home", "/nowhere/at all", "status"], "error", "there is nothing at /nowhere/at all: correct --home"),
        (["--debug", "--home", "/nowhere", "status"], "critical", "SettingsError: there is nothing at /nowhere"),
    ],
    ids=["usage", "ours", "traceback"],
)
def test_messages_of_commands_are_lines_too(arguments: list[str], level: str, message: str) -> None:
    ended = command(*arguments, KEYDISTILL_LOG_FORMAT="json")
    assert ended.returncode != 0
    assert ended.stdout == ""
    last = list(lines(ended.stderr))[-1]
    assert last["level"] == level
    assert message in last["message"]
    assert ("traceback" in last) == (level == "critical")


def test_progress_is_logged_and_output_is_not(tmp_path: Path) -> None:
    inventory = tmp_path / "inventory.csv"
    inventory.write_text("keyphrase\nred shoes\n")
    ended = command(
        "--home", str(tmp_path / "home"), "inventory", "check", str(inventory), KEYDISTILL_LOG_FORMAT="json"
    )
    assert ended.returncode == 0, ended.stderr
    assert "keyphrases" in ended.stdout
    steps = [line for line in lines(ended.stderr) if line["message"] == "step done"]
    assert steps
    assert all(line["seconds"] >= 0 and line["step"] for line in steps)


def test_what_a_child_logged_is_logged_again_as_it_was(caplog: pytest.LogCaptureFixture) -> None:
    theirs = {"timestamp": "2026-01-01T00:00:00.000+00:00", "level": "error", "logger": "child", "run_id": "r1"}
    with caplog.at_level(logging.INFO):
        assert queued_retrain._logged_again(json.dumps({**theirs, "message": "it broke"})) == "it broke"
        assert queued_retrain._logged_again("Segmentation fault") == "Segmentation fault"
    again, raw = (json.loads(JsonLines().format(one)) for one in caplog.records)
    assert again == {**theirs, "message": "it broke"}
    assert (raw["level"], raw["message"]) == ("warning", "Segmentation fault")
