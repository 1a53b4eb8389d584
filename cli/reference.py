"""The reference of all commands, made from their help: `python -m keydistill.cli.reference > docs/cli.md`."""

from collections.abc import Iterator

import click

from keydistill.cli.main import cli

_HEADER = """# Commands

Made from the commands' own help by `make docs`; a test holds the two together.
"""


def reference() -> str:
    """The whole page, Markdown."""
    return _HEADER + "".join(_section(path, context) for path, context in _commands(["keydistill"], cli, None))


def _commands(
    path: list[str], command: click.Command, parent: click.Context | None
) -> Iterator[tuple[list[str], click.Context]]:
    context = click.Context(command, info_name=path[-1], parent=parent, max_content_width=100, terminal_width=100)
    yield path, context
    if isinstance(command, click.Group):
        for name in command.list_commands(context):
            child = command.get_command(context, name)
            if child is not None:
                yield from _commands([*path, name], child, context)


def _section(path: list[str], context: click.Context) -> str:
    return f"\n## {' '.join(path)}\n\n```text\n{context.command.get_help(context)}\n```\n"


if __name__ == "__main__":
    click.echo(reference(), nl=False)
