"""Values that a shell completes: what there is in the home, read from file names alone, so that Tab answers at once.

What would take a connection (collections and aliases of a server, runs that only Redis has) is left out. Nothing that
goes wrong here is said: a shell waits for words, and no message could be read.
"""

from collections.abc import Callable, Iterable
from functools import wraps
from typing import TYPE_CHECKING

import click

from keydistill.errors import KeydistillError

if TYPE_CHECKING:
    from keydistill.settings import Settings

Values = Callable[[click.Context, click.Parameter, str], list[str]]


def _of_settings(values: "Callable[[Settings], Iterable[str]]") -> Values:
    """What click asks for, of a function that lists values of an installation."""

    @wraps(values)
    def beginning(ctx: click.Context, _: click.Parameter, incomplete: str) -> list[str]:
        from keydistill.settings import load_settings

        # Where a shell asks, no command runs: the options of the main command are all that is known.
        options = {name: value for name, value in ctx.find_root().params.items() if name in ("home", "alias")}
        try:
            return [value for value in values(load_settings(**options)) if value.startswith(incomplete)]
        except (KeydistillError, OSError):
            return []

    return beginning


@_of_settings
def run_ids(settings: "Settings") -> Iterable[str]:
    """Runs whose records are in the home, the newest first."""
    return sorted((path.name for path in (settings.home / "runs").iterdir() if path.is_dir()), reverse=True)


@_of_settings
def aliases(settings: "Settings") -> Iterable[str]:
    """Aliases of the embedded engine."""
    if settings.engine != "embedded":
        return [settings.alias]
    from keydistill.vectorstore import open_engine

    engine = open_engine(settings)
    try:
        return sorted(engine.aliases())
    finally:
        engine.close()


@_of_settings
def collections(settings: "Settings") -> Iterable[str]:
    """Collections of the embedded engine, the newest first."""
    return sorted((path.name for path in (settings.home / "collections").iterdir() if path.is_dir()), reverse=True)


@_of_settings
def model_versions(settings: "Settings") -> Iterable[str]:
    """Versions in the registry, the newest first, and what stands for the promoted ones."""
    registry = settings.registry or settings.home / "models"
    for kind in ("student", "assistant"):
        if (registry / kind / "promoted.json").exists():
            yield f"{kind}/promoted"
        names = [path.name for path in (registry / kind).glob("[!.]*") if path.is_dir()]
        yield from (f"{kind}/{name}" for name in sorted(names, reverse=True))


@_of_settings
def schedules(settings: "Settings") -> Iterable[str]:
    """Schedules of the settings."""
    return settings.schedules
