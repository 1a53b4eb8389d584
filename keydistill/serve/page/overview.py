"""What the page shows of the state of things, read-only: what is live and ready, the last gate, the history."""

import logging
from collections.abc import Callable
from dataclasses import asdict
from typing import Any

from keydistill.errors import CollectionNotFoundError, KeydistillError
from keydistill.runs import AliasChange, ReindexRun, open_store
from keydistill.serve.live import Live
from keydistill.settings import Settings
from keydistill.vectorstore import CollectionMetadata, Engine

_log = logging.getLogger(__name__)

_MOST_COLLECTIONS, _MOST_CHANGES = 50, 50


def overview(settings: Settings, live: Live, key: str | None) -> dict[str, Any]:
    """Everything at once, for JSON; a part that cannot be read just now is None.

    Args:
        settings: Settings in force.
        live: The live generation.
        key: Name of the key whose session it is.
    """
    status, engine = live.status(), live.engine
    store = open_store(settings)
    return {
        "key": key,
        "limits": {
            "items": settings.serve_items,
            "title_chars": settings.serve_title_chars,
            "keyphrases": settings.serve_limit,
            "exclude": settings.serve_exclude,
            "body_bytes": settings.serve_body_bytes,
        },
        "live": None
        if status is None
        else {
            "alias": status.alias,
            "collection": status.collection,
            "student_version": status.student_version,
            "since": status.since.isoformat(timespec="seconds"),
            "following": status.failure is None and status.watching,
        },
        "collections": None if engine is None else _part("collections", lambda: ready_collections(settings, engine)),
        "gate": _part("gate", lambda: last_gate(store.all(), settings.alias)),
        "history": _part("history", lambda: last_changes(store.history(), settings.alias)),
    }


def ready_collections(settings: Settings, engine: Engine) -> list[dict[str, Any]]:
    """The collections of the alias that can be asked, the latest first; those of other aliases are none of them."""
    longer_aliases = [alias for alias in engine.aliases() if alias.startswith(f"{settings.alias}-")]
    lost = engine.lost()
    collections = []
    for name in engine.collections():
        is_own = name.startswith(f"{settings.alias}-") and not name.startswith(
            tuple(f"{alias}-" for alias in longer_aliases)
        )
        if not is_own or name in lost:
            continue
        try:
            info = engine.info(name)
        except CollectionNotFoundError:
            continue  # deleted meanwhile
        metadata = CollectionMetadata.parse(info)
        if info.state == "ready" and metadata.student_version is not None:
            collections.append(
                {
                    "collection": name,
                    "student_version": metadata.student_version,
                    "points": info.points,
                    "created_at": metadata.created_at,
                }
            )
    collections.sort(key=lambda each: (each["created_at"] or "", each["collection"]), reverse=True)
    return collections[:_MOST_COLLECTIONS]


def last_gate(runs: list[Any], alias: str) -> dict[str, Any]:
    """The report of the gate that was held last for the alias; empty before there was one."""
    judged = [run for run in runs if isinstance(run, ReindexRun) and run.alias == alias and run.gate]
    if not judged:
        return {}
    run = max(judged, key=lambda each: (each.created_at, each.id))
    return {"run": run.id, "state": run.state, "forced": run.forced, "at": run.created_at, **run.gate}


def last_changes(changes: list[AliasChange], alias: str) -> list[dict[str, Any]]:
    """The last changes of the alias, the latest first."""
    own = [change for change in changes if change.alias == alias]
    return [asdict(change) for change in reversed(own[-_MOST_CHANGES:])]


def _part(name: str, read: Callable[[], Any]) -> Any:
    try:
        return read()
    except KeydistillError as error:
        # What it says may name machines, which is for the log alone.
        _log.warning("the page cannot show its %s: %s", name, error)
        return None
