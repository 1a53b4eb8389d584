"""What the command line does for people: examples in every help, suggestions for what was mistyped, completion."""

import os
import shlex
import subprocess
import sys

import click
import pytest

from keydistill.cli.examples import EXAMPLES, epilog_of
from keydistill.cli.main import COMMANDS, cli
from tests.cli.conftest import Command
from tests.cli.test_commands import every_command
from tests.support.places import ROOT

PATHS = {" ".join(path[1:]): command for path, command in every_command()}


def parsed(words: list[str]) -> str:
    """The command that words are for, as click's own parser reads them with all their arguments and options.

    Raises:
        click.UsageError: A word is none that the command takes.
    """
    command: click.Command = cli
    context = cli.make_context("keydistill", words)
    path: list[str] = []
    while isinstance(command, click.Group) and (rest := [*context._protected_args, *context.args]):
        name, child, rest = command.resolve_command(context, rest)
        assert name is not None
        assert child is not None
        command, context = child, child.make_context(name, rest, parent=context)
        path.append(name)
    return " ".join(path)


@pytest.mark.parametrize("path", PATHS)
def test_every_help_ends_with_examples_that_the_parser_takes(path: str, monkeypatch: pytest.MonkeyPatch) -> None:
    # The files of an example need not be there.
    monkeypatch.setattr(click.Path, "convert", lambda self, value, *_: value)
    examples = EXAMPLES[path]
    assert 1 <= len(examples) <= 2
    for example in examples:
        first, *words = shlex.split(example)
        assert first == "keydistill"
        command = parsed(words)
        if isinstance(PATHS[path], click.Group):
            assert f"{command} ".startswith(f"{path} ".lstrip())
        else:
            assert command == path
    command_help = PATHS[path].get_help(click.Context(PATHS[path], info_name=path))
    assert command_help.splitlines()[-len(examples) - 1 :] == ["  Examples:", *(f"    {line}" for line in examples)]


def test_no_example_is_of_a_command_that_there_is_not() -> None:
    assert EXAMPLES.keys() == PATHS.keys()
    assert epilog_of("no such command") is None


@pytest.mark.parametrize("words", ["reindex --dryrun a.csv", "runs show", "runs show a b", "collections rollback --to"])
def test_an_example_that_went_wrong_would_be_found(words: str) -> None:
    with pytest.raises(click.UsageError):
        parsed(shlex.split(words))


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ("reindx", "No such command 'reindx'. Did you mean 'reindex'"),
        ("Status", "No such command 'Status'. Did you mean 'status'"),
        ("collection list", "No such command 'collection'. Did you mean 'collections'"),
        ("rollback", "No such command 'rollback'. Did you mean 'collections rollback'?"),
        ("pause RUN", "No such command 'pause'. Did you mean 'runs pause' or 'schedule pause'?"),
        ("train-student", "No such command 'train-student'. Did you mean 'train student'"),
        ("xyzzy", "No such command 'xyzzy'."),
        ("runs lst", "No such command 'lst'. Did you mean 'list'?"),
        ("serve kys", "No such command 'kys'. Did you mean 'keys'?"),
        ("signals import escii", "No such command 'escii'. Did you mean 'esci'?"),
        ("reindex --dry-rn a.csv", "No such option '--dry-rn'. Did you mean '--dry-run'?"),
        ("--hom x status", "No such option '--hom'. Did you mean '--home'?"),
        (
            "runs list --alias shoes",
            "No such option '--alias' here: it stands before the command, as in `keydistill --alias ... runs list`.",
        ),
        ("search --home /srv title", "as in `keydistill --home ... search`."),
    ],
)
def test_what_was_mistyped_is_answered_with_what_was_meant(keydistill: Command, words: str, said: str) -> None:
    result = keydistill(*words.split())
    assert result.status == 2
    assert said in result.err
    assert ("Did you mean" in result.err) == ("Did you mean" in said)
    assert "--help' for help." in result.err


def completions(words: str, shell: str = "bash") -> list[str]:
    """What a shell is told when the last of the words, which may be empty, is to be completed."""
    environment = {
        **os.environ,
        "_KEYDISTILL_COMPLETE": f"{shell}_complete",
        "COMP_WORDS": f"keydistill {words}",
        "COMP_CWORD": str(words.count(" ") + 1),
    }
    code = (
        "import sys; from keydistill.cli.main import main\n"
        "try: main()\n"
        "finally: print([name for name in sys.modules if name.startswith('keydistill.cli.')], file=sys.stderr)"
    )
    ended = subprocess.run([sys.executable, "-c", code], env=environment, cwd=ROOT, capture_output=True, text=True)
    assert ended.returncode == 0, ended.stderr
    # Completion must not take longer than help: no command is imported for its name.
    assert words.strip() or "keydistill.cli.reindex" not in ended.stderr
    return ended.stdout.splitlines()


def test_a_shell_completes_commands_without_importing_them() -> None:
    assert completions("") == [f"plain,{name}" for name in COMMANDS]
    assert completions("runs p") == ["plain,pause", "plain,prune"]


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_the_installation_page_has_the_line_for_each_shell(keydistill: Command, shell: str) -> None:
    page = (ROOT / "docs" / "install.md").read_text(encoding="utf-8")
    assert f"keydistill completion {shell}" in page
    assert "_keydistill_completion" in keydistill("completion", shell).out
