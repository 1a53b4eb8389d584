"""The engine that a benchmark runs on: the embedded one, a running Qdrant server, or the stand-in of the tests.

It is said to all commands and settings of the benchmark by the environment. The key of a server comes from there too,
as for every command: `KEYDISTILL_QDRANT_API_KEY`.
"""

import argparse
import os
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from uuid import uuid4

from qdrant_client import QdrantClient

from tests.support.front_process import FrontProcess

_ALIAS = "KEYDISTILL_ALIAS"


def add_options(parser: argparse.ArgumentParser) -> None:
    """Add `--engine` and `--url` to a benchmark's options."""
    parser.add_argument("--engine", choices=("embedded", "server"), help="default: embedded, or server with --url")
    parser.add_argument(
        "--url",
        metavar="URL",
        help="REST address of a running Qdrant server; without it the tests' stand-in is started",
    )


@contextmanager
def on_engine(engine: str | None, url: str | None, keep: Path | None = None) -> Iterator[dict[str, str]]:
    """Have every command in the block use an engine; on a server everything is done under an alias of its own.

    Args:
        engine: "embedded" or "server"; None: server if there is an address.
        url: Address of a server that runs; None: the stand-in is started.
        keep: Folder that a later call finds again: the alias is noted there, and its collections stay.

    Yields:
        The variables of the environment that say it; none for the embedded engine.
    """
    if engine == "embedded" and url is not None:
        raise SystemExit("--url names a server, and --engine embedded asks for none; leave one of them out")
    if engine != "server" and url is None:
        yield {}
        return
    with ExitStack() as stack:
        if url is None:
            if keep is not None:
                raise SystemExit("--keep needs --url on a server: the stand-in keeps nothing")
            url = stack.enter_context(FrontProcess(Path(stack.enter_context(TemporaryDirectory())))).url
        alias = _alias(keep)
        variables = {"KEYDISTILL_ENGINE": "server", "KEYDISTILL_QDRANT_URL": url, _ALIAS: alias}
        before = {name: os.environ.get(name) for name in variables}
        os.environ.update(variables)
        try:
            yield variables
        finally:
            for name, value in before.items():
                os.environ.pop(name) if value is None else os.environ.update({name: value})
            if keep is None:
                remove(url, alias)


def alias_of(place: object) -> dict[str, str]:
    """The variable that gives one of several homes an alias of its own; none for the embedded engine."""
    return {_ALIAS: f"{os.environ[_ALIAS]}-{place}"} if os.environ.get("KEYDISTILL_ENGINE") == "server" else {}


def remove(url: str, alias: str) -> None:
    """Delete the collections that were built for an alias, live ones too."""
    key = os.environ.get("KEYDISTILL_QDRANT_API_KEY")
    client = QdrantClient(url=url, headers={"api-key": key} if key else None, timeout=60, check_compatibility=False)
    for collection in client.get_collections().collections:
        if collection.name.startswith(f"{alias}-"):
            client.delete_collection(collection.name)
    client.close()


def _alias(keep: Path | None) -> str:
    note = None if keep is None else keep / "alias"
    if note is not None and note.is_file():
        return note.read_text(encoding="utf-8")
    alias = f"benchmark-{uuid4().hex[:8]}"
    if note is not None:
        note.parent.mkdir(parents=True, exist_ok=True)
        note.write_text(alias, encoding="utf-8")
    return alias
