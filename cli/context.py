"""What commands share: settings from the options of the main command, and the engine they ask for."""

from contextlib import AbstractContextManager, closing
from typing import TYPE_CHECKING, Any

import click

if TYPE_CHECKING:
    from keydistill.ingest.snapshot import RunSources
    from keydistill.runs import HomeContent
    from keydistill.settings import Settings
    from keydistill.vectorstore import Engine


def settings_of(ctx: click.Context, *, makes_home: bool = True, **options: Any) -> "Settings":
    """The settings in force, overridden by this command's options; options that are None change nothing.

    Args:
        ctx: Context of the command.
        makes_home: Whether a home that is not there, and is to belong to a group, is made.
        options: Settings by their names.
    """
    from keydistill.files import protect_home
    from keydistill.settings import load_settings
    from keydistill.telemetry import begin_traces, remember_secrets

    settings = load_settings(**{**(ctx.find_root().obj or {}), **options})
    remember_secrets(settings)
    # The service begins its own, in each of its processes.
    if ctx.command.name != "serve":
        begin_traces(settings, "cli")
    protect_home(settings.home, settings.home_group if makes_home or settings.home.exists() else None)
    return settings


def reading_settings_of(ctx: click.Context, content: "HomeContent" = "records", **options: Any) -> "Settings":
    """Settings of a command for which a home that is not there is not made: its name was mistyped.

    Args:
        ctx: Context of the command.
        content: What the command reads, or changes where it is there.
        options: Settings by their names.

    Raises:
        SettingsError: There is no home, and it would hold what is to be read.
    """
    from keydistill.runs import check_home

    settings = settings_of(ctx, makes_home=False, **options)
    check_home(settings, content)
    return settings


def engine_of(settings: "Settings", *, left_in_files: bool = True) -> AbstractContextManager["Engine"]:
    """The engine that the settings ask for, closed when the block ends.

    Args:
        settings: The settings.
        left_in_files: As `open_engine` takes it; not for commands that build, or ask much.
    """
    from keydistill.vectorstore import open_engine

    return closing(open_engine(settings, left_in_files=left_in_files))


def sources_of(settings: "Settings") -> "RunSources | None":
    """Where students and snapshots of runs are, if machines share them; None where the records say it."""
    if settings.shared is None:
        return None
    from keydistill.execution import shared_sources
    from keydistill.runs import open_store

    return shared_sources(settings, open_store(settings))
