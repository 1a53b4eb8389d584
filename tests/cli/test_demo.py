"""The demo as `make demo` runs it: some seven minutes, since it trains three models."""

import re

import pytest

from tests.cli.conftest import Command


@pytest.mark.slow
def test_the_demo_shows_that_distilling_helps(keydistill: Command, monkeypatch: pytest.MonkeyPatch) -> None:
    # Not the tiny one: what it shows is about real weights.
    monkeypatch.delenv("KEYDISTILL_STUDENT")
    shown = keydistill("demo")
    assert shown.status == 0, shown.err
    precision = {
        name: float(re.findall(rf"^{name} +\d+ +(\S+)", shown.out, re.MULTILINE)[0])
        for name in ("untrained", "clicks alone", "distilled")
    }
    assert precision["untrained"] < precision["clicks alone"] < precision["distilled"]
    # Every command that it shows was run, and each student had its turn behind the alias.
    assert shown.out.count("$ keydistill") == 9
