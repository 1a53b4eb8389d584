"""`keydistill completion`, in a bash that a person could sit before."""

import os
import pty
import select
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.cli.conftest import Command
from tests.support.places import ROOT

BASH = shutil.which("bash")
PATIENCE_SECONDS = 120.0
RUNS = ("20261125-134043-a9d55d", "20261201-010203-0b1c2d")
PROMPT = "\r\nready> "

pytestmark = pytest.mark.skipif(BASH is None, reason="there is no bash")


@pytest.fixture
def home(tmp_path: Path) -> Path:
    home = tmp_path / "home"
    for run in RUNS:
        (home / "runs" / run).mkdir(parents=True)
    for version in ("20261123-ab12cd34ef56", "20261201-cd34ef56ab12", ".draft-x"):
        (home / "models" / "student" / version).mkdir(parents=True)
    (home / "models" / "student" / "promoted.json").write_text("{}")
    (home / "collections" / f"keyphrases-{RUNS[0]}").mkdir(parents=True)
    return home


@pytest.fixture
def environment(tmp_path: Path, home: Path) -> dict[str, str]:
    """Variables of a shell that finds the command as an installation puts it, and a home."""
    bin_folder = tmp_path / "bin"
    bin_folder.mkdir()
    program = bin_folder / "keydistill"
    program.write_text(f'#!/bin/sh\nexec {sys.executable} -m keydistill.cli.main "$@"\n')
    program.chmod(0o755)
    return {
        **os.environ,
        "PATH": f"{bin_folder}{os.pathsep}{os.environ['PATH']}",
        "PYTHONPATH": str(ROOT),
        "KEYDISTILL_HOME": str(home),
        "PS1": PROMPT.lstrip("\r\n"),
        "TERM": "dumb",
    }


class Terminal:
    """An interactive bash behind a terminal."""

    def __init__(self, environment: dict[str, str]) -> None:
        assert BASH is not None
        self.master, slave = pty.openpty()
        self.process = subprocess.Popen(
            [BASH, "--norc", "--noprofile", "-i"],
            stdin=slave,
            stdout=slave,
            stderr=slave,
            env=environment,
            start_new_session=True,
            close_fds=True,
        )
        os.close(slave)

    def type(self, text: str) -> None:
        os.write(self.master, text.encode())

    def until(self, text: str) -> str:
        """What the terminal shows until `text` is there."""
        shown = ""
        end = time.monotonic() + PATIENCE_SECONDS
        while text not in shown:
            assert time.monotonic() < end, f"{text!r} never came; there was {shown!r}"
            if select.select([self.master], [], [], 0.2)[0]:
                shown += os.read(self.master, 4_096).decode()
        return shown

    def end(self) -> None:
        self.process.kill()
        self.process.wait()
        os.close(self.master)


@pytest.fixture
def terminal(environment: dict[str, str]) -> Iterator[Terminal]:
    shell = Terminal(environment)
    shell.until("ready> ")
    shell.type('eval "$(keydistill completion bash)"; bind "set bell-style none"; echo s"et up"\n')
    shell.until("set up")
    yield shell
    shell.end()


def test_tab_completes_commands_runs_and_versions(terminal: Terminal) -> None:
    terminal.type("keydistill runs sh\t")
    terminal.until("keydistill runs show ")
    terminal.type("202611\t")
    terminal.until(RUNS[0])
    terminal.type("\x15keydistill models promote student/20261201\t")
    terminal.until("student/20261201-cd34ef56ab12")
    terminal.type("\x15keydistill reindex --resume 202612\t")
    terminal.until(RUNS[1])


WORDS = {
    "runs show ": [*reversed(RUNS)],
    "gate 202612": [RUNS[1]],
    "collections swap 2026112": [RUNS[0]],
    "collections rollback --to k": [f"keyphrases-{RUNS[0]}"],
    "models show student/": ["student/promoted", "student/20261201-cd34ef56ab12", "student/20261123-ab12cd34ef56"],
    "models verify nothing": [],
    "runs show x": [],
    "schedule pause w": ["weekly"],
    "completion ": ["bash", "zsh", "fish"],
}


def test_words_of_every_kind_of_value(environment: dict[str, str], tmp_path: Path) -> None:
    (tmp_path / "keydistill.toml").write_text('[schedules.weekly]\ncron = "0 3 * * 0"\ntask = "prune"\n')
    # One shell for all of them: the function that the script defines is what bash calls at each Tab.
    asked = "\n".join(
        f"COMP_WORDS=(keydistill {words}{chr(39) * 2 if words.endswith(' ') else ''}); "
        f"COMP_CWORD={words.count(' ') + 1}; COMPREPLY=(); _keydistill_completion keydistill; "
        'echo "${COMPREPLY[*]}"'
        for words in WORDS
    )
    assert BASH is not None
    script = f'eval "$(keydistill completion bash)"\n{asked}'
    ended = subprocess.run(
        [BASH, "--norc", "-c", script], env=environment, cwd=tmp_path, capture_output=True, text=True, check=True
    )
    assert ended.stderr == ""
    assert dict(zip(WORDS, (line.split() for line in ended.stdout.splitlines()), strict=True)) == WORDS


def test_aliases_are_those_of_the_embedded_engine(live: Command, environment: dict[str, str], tmp_path: Path) -> None:
    environment["KEYDISTILL_HOME"] = str(tmp_path / "home")
    environment |= {"_KEYDISTILL_COMPLETE": "bash_complete", "COMP_WORDS": "keydistill collections hold k"}
    environment |= {"COMP_CWORD": "3"}
    ended = subprocess.run(["keydistill"], env=environment, cwd=tmp_path, capture_output=True, text=True, check=True)
    assert ended.stdout.split() == ["plain,keyphrases"]


@pytest.mark.parametrize("variable", ["KEYDISTILL_PART_ROWS=no number", "KEYDISTILL_HOME=/nowhere/at/all"])
def test_what_goes_wrong_is_silence(environment: dict[str, str], tmp_path: Path, variable: str) -> None:
    name, _, value = variable.partition("=")
    environment |= {name: value, "_KEYDISTILL_COMPLETE": "bash_complete", "COMP_CWORD": "3"}
    for words in ("keydistill runs show 2", "keydistill models show s", "keydistill collections hold k"):
        ended = subprocess.run(
            ["keydistill"], env={**environment, "COMP_WORDS": words}, cwd=tmp_path, capture_output=True, text=True
        )
        assert (ended.returncode, ended.stdout.strip(), ended.stderr) == (0, "", "")


def test_a_shell_that_is_not_known_is_named(keydistill: Command) -> None:
    result = keydistill("completion", "tcsh")
    assert result.status == 2
    assert "'tcsh' is not one of 'bash', 'zsh', 'fish'" in result.err
