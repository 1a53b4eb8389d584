"""A running Qdrant server in the place of the embedded engine."""

import argparse
import os
from collections.abc import Iterator
from contextlib import closing, contextmanager
from uuid import uuid4

from keydistill.settings import load_settings
from keydistill.vectorstore.factory import open_engine
from keydistill.vectorstore.server.engine import ServerEngine


def add_option(parser: argparse.ArgumentParser) -> None:
    """Add the option that names the server."""
    parser.add_argument(
        "--url", help="ask this Qdrant server (key: KEYDISTILL_QDRANT_API_KEY)  [default: the embedded engine]"
    )


@contextmanager
def on_server(url: str | None, alias: str | None = None) -> Iterator[None]:
    """Have every command and all settings of the block use the server, behind an alias of their own.

    What lies there behind the alias is removed at the end, unless the alias was given: then a later call finds it.

    Args:
        url: Address of the server; None changes nothing.
        alias: The alias, where it is to stay.
    """
    if url is None:
        yield
        return
    chosen = alias or f"benchmark-{uuid4().hex[:8]}"
    settings = {"KEYDISTILL_ENGINE": "server", "KEYDISTILL_QDRANT_URL": url, "KEYDISTILL_ALIAS": chosen}
    before = {name: os.environ.get(name) for name in settings}
    os.environ.update(settings)
    try:
        yield
    finally:
        if alias is None:
            remove(chosen)
        for name, value in before.items():
            os.environ.pop(name) if value is None else os.environ.update({name: value})


def remove(alias: str) -> None:
    """Remove an alias and all collections of its name from the server that the settings name."""
    with closing(open_engine(load_settings())) as engine:
        assert isinstance(engine, ServerEngine)
        for name in engine.collections():
            if name.startswith(f"{alias}-"):
                # Past the engine, which refuses to delete what is live.
                engine._client.delete_collection(name)
