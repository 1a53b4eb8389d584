"""The examples of docs/scaling.md are what the commands print."""

import re
import shlex

import pytest

from benchmarks.scaling_page import EXAMPLE, PAGE
from tests.cli.conftest import Command, keydistill

__all__ = ["keydistill"]

EXAMPLES = dict(EXAMPLE.findall(PAGE.read_text(encoding="utf-8")))


def test_there_are_examples_of_three_sizes() -> None:
    sizes = [re.search(r"--keyphrases (\d+)", command) for command in EXAMPLES]
    assert {match[1] for match in sizes if match} >= {"1000000", "100000000", "1000000000"}


@pytest.mark.parametrize("command", EXAMPLES)
def test_examples_print_what_the_page_shows(keydistill: Command, command: str) -> None:
    result = keydistill(*shlex.split(command)[1:])
    assert result.status == 0, result.err
    assert result.out == EXAMPLES[command]
