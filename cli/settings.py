"""`keydistill settings`: the settings in force, and where to change them."""

import click

from keydistill.cli.context import settings_of
from keydistill.cli.output import print_json
from keydistill.settings import Settings


@click.command()
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@click.pass_context
def settings(ctx: click.Context, as_json: bool) -> None:
    """Print the settings in force, secrets masked.

    A setting NAME is given as KEYDISTILL_NAME in the environment, or as `name = ...` in keydistill.toml or in the file
    that KEYDISTILL_CONFIG names.
    """
    present = settings_of(ctx)
    values = present.shown()
    if as_json:
        print_json(values)
        return
    for name, value in values.items():
        click.echo(f"{name:<24} {'-' if value is None else value}")
        click.echo(f"{'':<24}   {Settings.model_fields[name].description}")
