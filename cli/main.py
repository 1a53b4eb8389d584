"""The `keydistill` command. Each subcommand is imported only when it is called."""

import importlib
import sys
from contextlib import redirect_stderr, redirect_stdout
from pathlib import Path
from typing import TYPE_CHECKING, TextIO, cast

import click

from keydistill.cli.examples import EXAMPLES, epilog_of, with_examples
from keydistill.cli.extras import extra_of
from keydistill.cli.output import PrintableText, warn
from keydistill.errors import KeydistillError
from keydistill.telemetry import end_traces, in_json, log_format

if TYPE_CHECKING:
    from click.shell_completion import CompletionItem

# Command -> module of `cli` and what it does, in the order of use. Help needs no import of any of them.
COMMANDS = {
    "demo": ("demo", "See the whole product work once, on a simulated marketplace."),
    "simulate": ("simulate", "Write a simulated marketplace with known truth."),
    "signals": ("signals", "Check and import what training learns from."),
    "judge": ("judge", "Ask a judge whether keyphrases are right for items."),
    "train": ("train", "Train assistants and students."),
    "score": ("score", "Score pairs with the assistant."),
    "retrain": ("retrain", "Mine, judge, train assistant and student, evaluate, register."),
    "inventory": ("inventory", "Check inventory files before they are used."),
    "reindex": ("reindex", "Build a collection from an inventory and put it live."),
    "sync": ("sync", "Bring what is live to a new state of its inventory."),
    "tune": ("tune", "Find search settings for each shape of filter, by measurement."),
    "search": ("search", "Find keyphrases for one title."),
    "recommend": ("recommend", "Find keyphrases for a file of items."),
    "serve": ("serve", "Answer over HTTP, by the live collection."),
    "runs": ("runs", "List, show, follow, pause, cancel and forget runs."),
    "schedule": ("schedule", "See and pause runs that start by themselves."),
    "gate": ("gate", "Show what the gate found when it compared a new collection with the live one."),
    "collections": ("collections", "List collections; swap, roll back and prune them."),
    "status": ("status", "Say what is live and what is going on."),
    "bench": ("bench", "Measure what plans of machines are made of."),
    "plan": ("plan", "Say what machines an inventory of some size wants."),
    "doctor": ("doctor", "Check everything, and say what to run."),
    "backup": ("backup", "Back up collections, aliases, models, runs and history."),
    "restore": ("restore", "Bring a backup back, into an empty installation."),
    "evaluate": ("evaluate", "Measure a student by the paper's protocol, and against another."),
    "models": ("models", "List, compare and promote versions of students and assistants."),
    "exporter": ("exporter", "Let Prometheus read how runs, aliases and workers are."),
    "settings": ("settings", "Print the settings in force, secrets masked."),
    "completion": ("completion", "Print what a shell needs to complete commands by Tab."),
}


class LazyGroup(click.Group):
    """A group whose commands are modules of this package."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Names in the order of the table."""
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Import the command."""
        if cmd_name not in COMMANDS:
            return None
        module = importlib.import_module(f"keydistill.cli.{COMMANDS[cmd_name][0]}")
        command = getattr(module, cmd_name)
        assert isinstance(command, click.Command)
        return with_examples(command, cmd_name)

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """Find the command; one that there is not is answered with those that have a similar name."""
        name = args[0]
        if name not in COMMANDS and not name.startswith("-") and not ctx.resilient_parsing:
            similar = _similar_commands(name)
            advice = f" Did you mean {' or '.join(map(repr, similar))}?" if similar else ""
            raise click.UsageError(f"No such command {name!r}.{advice}", ctx)
        return super().resolve_command(ctx, args)

    def shell_complete(self, ctx: click.Context, incomplete: str) -> "list[CompletionItem]":
        """The commands of the table that begin so, without importing them, and the options."""
        from click.shell_completion import CompletionItem

        commands = [
            CompletionItem(name, help=summary) for name, (_, summary) in COMMANDS.items() if name.startswith(incomplete)
        ]
        return [*commands, *click.Command.shell_complete(self, ctx, incomplete)]

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """The table, without importing anything."""
        with formatter.section("Commands"):
            formatter.write_dl([(name, summary) for name, (_, summary) in COMMANDS.items()])


def _similar_commands(name: str) -> list[str]:
    """What somebody may have meant by a command that there is not, such as `reindx`, `rollback` or `train-student`."""
    from difflib import get_close_matches

    below_a_group = [command for command in EXAMPLES if command.split(" ")[1:][-1:] == [name]]
    return below_a_group or get_close_matches(name, COMMANDS) or get_close_matches(name, EXAMPLES)


def _advised(error: click.ClickException) -> click.ClickException:
    """The error; of an option of the main command that was given to another, with the place where it belongs."""
    if isinstance(error, click.NoSuchOption) and error.ctx is not None and error.ctx.parent is not None:
        option = error.option_name
        if any(option in parameter.opts for parameter in cli.params):
            command = error.ctx.command_path.partition(" ")[2]
            return click.UsageError(
                f"No such option {option!r} here: it stands before the command, as in "
                f"`keydistill {option} ... {command}`.",
                error.ctx,
            )
    return error


@click.group(
    cls=LazyGroup,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
    epilog=epilog_of(""),
)
@click.option("--home", type=click.Path(path_type=Path, file_okay=False), help="Folder of runs and collections.")
@click.option("--alias", help="Name behind which the live collection stands.")
@click.option("--debug", is_flag=True, help="Show a traceback where something fails.")
@click.version_option(package_name="keydistill")
@click.pass_context
def cli(ctx: click.Context, home: Path | None, alias: str | None, debug: bool) -> None:
    """Recommend advertiser keyphrases for items, out of an inventory of millions of buyer queries.

    Settings come from keydistill.toml, KEYDISTILL_... variables and options; `keydistill settings` prints them.
    """
    ctx.obj = {"home": home, "alias": alias}


def main() -> None:
    """Run the command; a failure is one line on stderr and a non-zero exit status."""
    if log_format() == "json":
        in_json("keydistill.cli")
    try:
        _run()
    finally:
        end_traces()


def _run() -> None:
    debug = "--debug" in sys.argv[1:]
    try:
        # Commands return nothing; a number is the status that one gave to `Context.exit`.
        with redirect_stdout(cast(TextIO, PrintableText(sys.stdout))):
            status = cli.main(prog_name="keydistill", standalone_mode=False)
        sys.exit(status if isinstance(status, int) else 0)
    except click.ClickException as error:
        with redirect_stderr(cast(TextIO, PrintableText(sys.stderr))):
            _advised(error).show()
        sys.exit(error.exit_code)
    except (KeyboardInterrupt, click.Abort):
        click.echo("interrupted", err=True)
        sys.exit(130)
    except BrokenPipeError:
        # The reader of our output went away, as `head` does. Nothing more can be written, also not at exit.
        sys.stdout = None
        sys.exit(141)
    except KeydistillError as error:
        if debug:
            raise
        warn(f"error: {error}")
        sys.exit(error.exit_code)
    except ModuleNotFoundError as error:
        command = next((argument for argument in sys.argv[1:] if argument in COMMANDS), None)
        extra = extra_of(error.name, command)
        if debug or extra is None:
            raise
        click.echo(f"error: this needs the extra {extra}: pip install 'keydistill[{extra}]'", err=True)
        sys.exit(1)
    except OSError as error:
        if debug:
            raise
        where = f": {error.filename}" if error.filename else ""
        warn(f"error: {error.strerror or error}{where}; nothing live was touched")
        sys.exit(1)


if __name__ == "__main__":
    main()
