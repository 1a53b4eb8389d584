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
    for name, field in Settings.model_fields.items():
        shown = "-" if values[name] is None else values[name]
        click.echo(f"{name:<24} {shown}")
        click.echo(f"{'':<24}   {field.description}")
