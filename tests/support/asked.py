"""Runs that wait to go live, and what a shadow found of them."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from keydistill.ingest.gate import ShadowSummary
from keydistill.runs import ReindexRun, new_run_id, open_store
from keydistill.settings import load_settings


@contextmanager
def waiting_run(folder: Path, collection: str) -> Iterator[str]:
    """A run whose collection is ready and not live, as after `reindex --no-swap`; it is cancelled after the block."""
    store = open_store(load_settings(home=folder))
    run_id = new_run_id()
    run = ReindexRun(
        id=run_id,
        kind="reindex",
        state="ready",
        created_at="2026-11-29T00:00:00+00:00",
        updated_at="2026-11-29T00:00:00+00:00",
        started_by="test",
        files=(),
        categories=None,
        student="blue",
        student_version="blue-16d-stub",
        dimension=16,
        alias="keyphrases",
        collection=collection,
        previous_target=None,
        swap=False,
    )
    store.add(run)
    try:
        yield run_id
    finally:
        store.update(run_id, lambda run: run.moved("cancelled"))


def shadow_sums(**values: Any) -> dict[str, Any]:
    """The sums over 200 items, of which half got keyphrases; `values` replace them."""
    sums = {"items": 200, "compared": 100, "overlap": 40.0, "scored": 100, "live_score": 80.0, "score": 70.0}
    return ShadowSummary(live="live", **{**sums, **values}).as_dict()
