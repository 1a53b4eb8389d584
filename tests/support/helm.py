"""Helm's own engine in a process of its own: its Go runtime takes over signals of the process that loads it.

`python -m tests.support.helm CHART` answers lines of JSON on standard input by lines on standard output.
"""

import json
import os
import subprocess
import sys
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any


class HelmRefusalError(Exception):
    """Helm refuses the values of a chart."""


class Helm:
    """The process, which ends with this one: its standard input is closed then."""

    def __init__(self, chart: Path) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-m", "tests.support.helm", str(chart)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )

    def ask(self, **request: Any) -> Any:
        """The answer to a request.

        Raises:
            HelmRefusalError: The values are refused.
        """
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(json.dumps(request) + "\n")
        self._process.stdin.flush()
        answer = json.loads(self._process.stdout.readline())
        if "refused" in answer:
            raise HelmRefusalError(answer["refused"])
        return answer["answer"]


@cache
def helm_of(chart: Path) -> Helm:
    """The one process for a chart."""
    return Helm(chart)


def _answer(chart: str, request: Mapping[str, Any]) -> Any:
    import helm_python

    if request["what"] == "lint":
        report = helm_python.lint(chart, request["values"], strict=True)
        return {"errors": list(report["errors"]), "messages": [message["error"] for message in report["messages"]]}
    with helm_python.Chart.load(chart) as loaded:
        return loaded.render(request["values"], name=request["release"], namespace="prod")


def _main(chart: str) -> None:
    import helm_python

    # Answers go where standard output was; whatever the library prints does not mix with them.
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)
    for line in sys.stdin:
        try:
            answer = {"answer": _answer(chart, json.loads(line))}
        except helm_python.HelmValuesError as error:
            answer = {"refused": str(error)}
        answers.write(json.dumps(answer) + "\n")
        answers.flush()


if __name__ == "__main__":
    _main(sys.argv[1])
