"""The options that say how tables are written; they override the settings of the same names."""

from collections.abc import Callable
from typing import Any

import click


def _override(ctx: click.Context, option: click.Parameter, value: Any) -> None:
    if value:
        root = ctx.find_root()
        root.obj = {**(root.obj or {}), str(option.name): value}


_decimal_comma = click.option(
    "--decimal-comma",
    is_flag=True,
    expose_value=False,
    callback=_override,
    help="Read numbers in text as 1.234,5.  [default: decimal_comma]",
)
_missing = click.option(
    "--missing",
    "missing_values",
    metavar="TEXT",
    multiple=True,
    expose_value=False,
    callback=_override,
    help="Text of cells that stands for nothing, in place of the usual ones; can be repeated.",
)
_escape_formulas = click.option(
    "--escape-formulas",
    is_flag=True,
    expose_value=False,
    callback=_override,
    help="Write an apostrophe before texts of CSV that begin with =, +, - or @.  [default: escape_formulas]",
)


def reading_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """A command that reads tables with numbers."""
    return _decimal_comma(_missing(command))


def writing_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """A command that reads tables of texts and ids, and writes one."""
    return _missing(_escape_formulas(command))
