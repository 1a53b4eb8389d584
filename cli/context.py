"""What commands share: settings from the options of the main command, and the engine they ask for."""

from contextlib import AbstractContextManager, closing
from typing import TYPE_CHECKING, Any

import click

if TYPE_CHECKING:
    from keydistill.ingest.snapshot import RunSources
    from keydistill.settings import Settings
    from keydistill.vectorstore import Engine


def settings_of(ctx: click.Context, **options: Any) -> "Settings":
    """The settings in force, overridden by this command's options; options that are None change nothing."""
    from keydistill.files import protect_home
    from keydistill.settings import load_settings

    settings = load_settings(**{**(ctx.find_root().obj or {}), **options})
    protect_home(settings.home, settings.home_group)
    return settings


def engine_of(settings: "Settings") -> AbstractContextManager["Engine"]:
    """The engine that the settings ask for, closed when the block ends."""
    from keydistill.vectorstore import open_engine

    return closing(open_engine(settings))


def sources_of(settings: "Settings") -> "RunSources | None":
    """Where students and snapshots of runs are, if machines share them; None where the records say it."""
    if settings.shared is None:
        return None
    from keydistill.execution import shared_sources
    from keydistill.runs import open_store

    return shared_sources(settings, open_store(settings))
