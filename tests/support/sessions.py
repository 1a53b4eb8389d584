"""What a page shows of a terminal, done again: the commands of a page in one shell, and what they print beside it.

A block of a page is a part of a session if a comment stands before it:

    <!-- session: NAME -->     ```console: its commands run, in the order of the page, in one shell and one folder
    <!-- file: PATH -->        a block of any kind: the folder has such a file from then on

In what a page shows, a line `...` stands for anything, also for nothing. What differs each time (ids of runs, times,
sizes, the last digits of scores) is compared by its kind alone.

    python -m tests.support.sessions PAGE NAME [VARIABLE=VALUE ...]

prints the blocks of a session as the terminal has them now.
"""

import os
import re
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Self

from tests.support.places import ROOT

# The folder in which a page says that its commands are given.
SHOWN_FOLDER = "/srv/shop"
# The servers of a page.
SHOWN_SERVER = "http://qdrant.example:6333"
SHOWN_REDIS = "redis.example:6379"
# What `redis-cli -u URL` does with the commands that it is given, by a client in Python.
_REDIS_CLI = """#!{python}
import os, sys
import redis
client = redis.Redis.from_url(sys.argv[2], password=os.environ.get("REDISCLI_AUTH"), decode_responses=True)
for line in sys.stdin:
    print({{True: "OK"}}.get(answer := client.execute_command(*line.split()), answer))
"""
_BLOCK = re.compile(r"<!-- (session|file): (\S+) -->\n```(\w+)\n(.*?)^```", re.DOTALL | re.MULTILINE)
_END = "<<the command ended with {}>>"
# What differs each time, and what stands for it. The first that fits counts.
_KINDS = [
    (re.compile(pattern), kind)
    for pattern, kind in (
        (r"\d{8}T\d{6}-\d+", "BACKUP"),
        (r"\d{8}-\d{6}-[0-9a-f]{6}", "RUN"),
        # Which of several that are asked at once fails first, and how many checks there are.
        (r"item '[^']*' with '[^']*'", "PAIR"),
        (r"\b\d+ checks", "CHECKS"),
        (r"\d{4}-\d\d-\d\dT[\d:.]+(\+00:00|Z)", "TIME"),
        (r"\b\d{8}-[0-9a-f]{12}\b", "VERSION"),
        (r"\bkd_[\w-]{20,}", "KEY"),
        (r"\b[\w.-]+@[\w.-]+\b", "WHO"),
        (r"-\d+d-[0-9a-f]{12}", "-HASH"),
        (r"\b[0-9a-f]{16,}\b", "HASH"),
        (r"127\.0\.0\.1:\d+", "ADDRESS"),
        (r"(about )?[\d,]+(\.\d+)? ?(kB|MB|GB|B|ms|s|min|h|keyphrases/s|items/s|% of a day)\b", "AMOUNT"),
        (r"\d+\.\d+", "NUMBER"),
    )
]


@dataclass(frozen=True)
class Step:
    """A command of a page, or a file that it gives."""

    text: str
    shown: list[str]
    file: str | None = None


def steps(page: Path, session: str) -> list[Step]:
    """The files of a page, and the commands of one of its sessions, in their order."""
    found: list[Step] = []
    for kind, name, _, body in _BLOCK.findall(page.read_text(encoding="utf-8")):
        if kind == "file":
            found.append(Step(body, [], file=name))
        elif name == session:
            found.extend(_commands(body))
    return found


def _commands(block: str) -> Iterator[Step]:
    command, shown = "", list[str]()
    goes_on = False
    for line in block.splitlines():
        if goes_on:
            command += f"\n{line}"
        elif line.startswith("$ "):
            if command:
                yield Step(command, shown)
            command, shown = line[2:], []
        else:
            shown.append(line)
        goes_on = (goes_on or line.startswith("$ ")) and line.endswith("\\")
    yield Step(command, shown)


class Shell:
    """A bash in a folder that finds `keydistill` as an installation has it; leaving the block ends it.

    Args:
        folder: Folder in which commands are given, and where the home is.
        variables: Variables of the environment.
        stand_ins: Texts of the page, such as a port, to what stands for them here.
    """

    def __init__(self, folder: Path, variables: Mapping[str, str] = {}, stand_ins: Mapping[str, str] = {}) -> None:
        self._stand_ins = {**stand_ins, SHOWN_FOLDER: str(folder)}
        folder.mkdir(parents=True, exist_ok=True)
        self.folder = folder
        programs = folder.parent / "bin"
        programs.mkdir(exist_ok=True)
        for name, text in {
            "keydistill": f'#!/bin/sh\nexec {sys.executable} -m keydistill.cli.main "$@"\n',
            "redis-cli": _REDIS_CLI.format(python=sys.executable),
        }.items():
            (programs / name).write_text(text)
            (programs / name).chmod(0o755)
        environment = {
            **{name: value for name, value in os.environ.items() if not name.startswith(("KEYDISTILL_", "PYTEST_"))},
            "PATH": f"{programs}{os.pathsep}{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
            "PYTHONPATH": str(ROOT),
            "HF_HUB_OFFLINE": "1",
            "COLUMNS": "120",
            "KEYDISTILL_HOME": str(folder / "home"),
            **variables,
        }
        self._bash = subprocess.Popen(
            ["bash", "--norc", "--noprofile"],
            cwd=folder,
            env=environment,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            start_new_session=True,
        )

    def run(self, command: str) -> list[str]:
        """What a command prints on both outputs, line by line, with the folder as pages name it."""
        stdin, stdout = self._bash.stdin, self._bash.stdout
        assert stdin is not None
        assert stdout is not None
        for shown, here in self._stand_ins.items():
            command = command.replace(shown, here)
        stdin.write(f"{command}\necho; echo '{_END.format('$?')}' | sed s/'\\$?'/$?/\n")
        stdin.flush()
        lines: list[str] = []
        for line in stdout:
            if line.startswith(_END.partition("{")[0]):
                break
            for shown, here in self._stand_ins.items():
                line = line.replace(here, shown)
            lines.append(line.rstrip("\n"))
        # The empty line before the mark; a command may end without a line end.
        if lines and not lines[-1]:
            lines.pop()
        return lines

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        assert self._bash.stdin is not None
        self._bash.stdin.close()
        self._bash.wait()
        assert self._bash.stdout is not None
        self._bash.stdout.close()


def played(page: Path, session: str, shell: Shell) -> Iterator[tuple[Step, list[str]]]:
    """Each command of a session with what it printed; the page's files are written before the command after them."""
    for step in steps(page, session):
        if step.file is not None:
            path = shell.folder / step.file
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(step.text, encoding="utf-8")
        else:
            yield step, shell.run(step.text)


def kinds(line: str) -> str:
    """A line, with what differs each time by its kind alone.

    >>> kinds("run  20261129-044448-de9539: live, 254.0 kB in 1.7 s, score 0.788109")
    'run RUN: live, AMOUNT in AMOUNT, score NUMBER'
    """
    for pattern, kind in _KINDS:
        line = pattern.sub(kind, line)
    return re.sub(r"\s+", " ", line).strip()


def difference(shown: list[str], printed: list[str]) -> str | None:
    """The first line that a page shows and that did not come, or that came and is not shown; None where all is well.

    >>> difference(["a", "...", "d"], ["a", "b", "c", "d"])
    >>> difference(["a", "c"], ["a", "b"])
    "shown is 'c', and there came 'b'"
    """
    left = [kinds(line) for line in printed if line.strip()]
    skipping = False
    for line in (kinds(line) for line in shown if line.strip()):
        if line == "...":
            skipping = True
            continue
        if skipping:
            if line not in left:
                return f"shown is {line!r}, which did not come among {left}"
            left = left[left.index(line) :]
        if not left or left[0] != line:
            return f"shown is {line!r}, and there came {left[0]!r}" if left else f"shown is {line!r}; nothing more came"
        left = left[1:]
        skipping = False
    return f"there came {left[0]!r}, which is not shown" if left and not skipping else None


def _main() -> None:
    page, session, *variables = sys.argv[1:]
    with tempfile.TemporaryDirectory() as folder:
        settings = dict(variable.split("=", 1) for variable in variables)
        with Shell(Path(folder) / "shop", settings) as shell:
            for step, printed in played(Path(page), session, shell):
                print(f"$ {step.text}", *printed, sep="\n", flush=True)


if __name__ == "__main__":
    _main()
