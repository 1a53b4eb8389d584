"""Every command of README, CONTRIBUTING and docs/: done by a test, read by the parser, or needs what is not here.

Blocks of `console` and `bash` count. What follows a comment `<!-- session: NAME -->` is done, with what the page shows
of the terminal (`test_sessions.py`). Every other `keydistill` line is read by click's own parser, and every other
program is in the table below, which says what it needs; its arguments are checked where they name things of ours.
"""

import json
import re
import shlex
from collections.abc import Callable, Iterator

import click
import pytest

from keydistill.workers.celery_config import QUEUES
from tests.cli.test_help import parsed
from tests.docs.test_sessions import OLDER, SERVER, SESSIONS
from tests.support.places import ROOT

PAGES = sorted([ROOT / "README.md", ROOT / "CONTRIBUTING.md", *(ROOT / "docs").glob("*.md")])
_BLOCK = re.compile(r"((?:<!-- [^\n]+ -->\n)?)```(console|bash)\n(.*?)^```", re.DOTALL | re.MULTILINE)
_MARK = re.compile(r"<!-- (session|example): (.+?) -->")
# What is not executed, and why.
NEEDS = {
    "celery": "Redis",
    "cp": "files of a reader's",
    "curl": "a running service; tests/serve/test_page.py does the example of serving.md",
    "docker": "Docker",
    "helm": "a cluster",
    "kubectl": "a cluster",
    "make": "a checkout that is installed",
    "pip": "the network",
    "promtool": "promtool; tests/package/test_operations_files.py where it is",
    "python": "a server",
    "uv": "the network",
}


def commands() -> Iterator[tuple[str, str, str]]:
    """Page, mark and text of every command."""
    for page in PAGES:
        for mark, kind, block in _BLOCK.findall(page.read_text(encoding="utf-8")):
            lines = re.sub(r"\\\n *", " ", block).splitlines()
            if kind == "console":
                lines = [line[2:] for line in lines if line.startswith("$ ")]
            for line in joined(lines):
                yield page.name, mark.strip(), line


def joined(lines: list[str]) -> Iterator[str]:
    """Lines, those that quotes hold together as one."""
    whole = ""
    for line in lines:
        whole = f"{whole}\n{line}" if whole else line
        try:
            shlex.split(whole, comments=True)
        except ValueError:
            continue
        if whole.strip():
            yield whole
        whole = ""
    assert not whole, f"a quote is never closed: {whole}"


def words_of(command: str) -> list[str]:
    """Words of a command, without variables before it, and without what a shell does with its output."""
    words = shlex.split(command, comments=True)
    while words and re.fullmatch(r"[A-Z_]+=.*", words[0]):
        words = words[1:]
    ends = [place for place, word in enumerate(words) if re.fullmatch(r"\d?>.*|[|&;]+", word)]
    return words[: ends[0]] if ends else words


def check_make(words: list[str]) -> None:
    targets = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    assert {word for word in words[1:] if "=" not in word} <= targets


def check_celery(words: list[str]) -> None:
    assert words[1:3] == ["-A", "keydistill.workers.app"]
    if words[3] == "worker":
        assert words[words.index("-Q") + 1] in QUEUES
    if words[3] == "call":
        tasks = (ROOT / "workers" / "tasks.py").read_text()
        assert words[4] in re.findall(r'"(keydistill\.\w+)"', tasks)
        assert isinstance(json.loads(words[words.index("--kwargs") + 1]), dict)


def check_python(words: list[str]) -> None:
    assert words[1] == "-m"
    assert (ROOT / (words[2].replace(".", "/") + ".py")).exists()
    # Options that several benchmarks share stand in a module of their own.
    sources = "".join(path.read_text() for path in (ROOT / "benchmarks").rglob("*.py"))
    assert {word for word in words[3:] if word.startswith("--")} <= set(re.findall(r'"(--[a-z-]+)"', sources))


CHECKS: dict[str, Callable[[list[str]], None]] = {"make": check_make, "celery": check_celery, "python": check_python}


@pytest.mark.parametrize(("page", "mark", "command"), list(commands()))
def test_a_command_is_done_or_read_or_needs_what_is_not_here(
    page: str, mark: str, command: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    marked = _MARK.fullmatch(mark)
    if marked is not None and marked[1] == "session":
        assert (page, marked[2]) in {*SESSIONS, OLDER, SERVER}, "no test does this session"
        return
    words = words_of(command)
    if not words or words[0] == "export":
        return
    if words[0] == "keydistill":
        # Files of a page need not be there.
        monkeypatch.setattr(click.Path, "convert", lambda self, value, *_: value)
        if words[1:] != ["--version"]:
            assert parsed(words[1:])
        return
    assert words[0] in NEEDS, f"{command!r}: mark it, or say in this file what {words[0]} needs"
    check = CHECKS.get(words[0])
    if check is not None:
        check(words)


@pytest.mark.parametrize("command", ["keydistill reindex --no-such a.csv", "celery -A other worker", "make no-such"])
def test_a_command_that_went_wrong_would_be_found(command: str, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises((AssertionError, click.UsageError)):
        test_a_command_is_done_or_read_or_needs_what_is_not_here("README.md", "", command, monkeypatch)


def test_pages_have_commands() -> None:
    by_page: dict[str, int] = {}
    for page, _, _ in commands():
        by_page[page] = by_page.get(page, 0) + 1
    assert by_page["README.md"] >= 7
    assert len(by_page) >= 20
