"""`keydistill completion`: what a shell needs to complete commands, options and values."""

import click

from keydistill.errors import SettingsError

SHELLS = ("bash", "zsh", "fish")


@click.command()
@click.argument("shell", type=click.Choice(SHELLS))
def completion(shell: str) -> None:
    """Print the script by which SHELL completes commands, options, runs, aliases, collections and versions by Tab.

    `docs/install.md` says where each shell looks for it. Write it anew after an upgrade.
    """
    from click.shell_completion import get_completion_class

    from keydistill.cli.main import cli

    found = get_completion_class(shell)
    assert found is not None
    try:
        script = found(cli, {}, "keydistill", "_KEYDISTILL_COMPLETE").source()
    except RuntimeError as error:
        raise SettingsError(f"{shell} cannot be asked for its version: {error}") from None
    click.echo(script)
