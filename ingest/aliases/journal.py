"""The accepted syncs of an alias, in order: what every collection behind it must be brought to.

The records of the syncs are the journal. Each accepted one has a number and the snapshot that the inventory was then; a
collection's metadata say which snapshot it holds (`snapshot_run`), up to which number it is (`journal`), and which ones
were begun to be applied to it (`applying`). To catch up is to compare two snapshots, whatever happened in between.
"""

from keydistill.runs import RunStore, SyncRun
from keydistill.vectorstore import CollectionMetadata


def accepted_syncs(store: RunStore, alias: str) -> list[SyncRun]:
    """All accepted syncs of an alias, oldest first, whatever became of them afterwards."""
    syncs = [run for run in store.all() if isinstance(run, SyncRun) and run.alias == alias and run.journal > 0]
    return sorted(syncs, key=lambda sync: sync.journal)


def last_number(store: RunStore, alias: str) -> int:
    """Number of the last accepted sync; 0 if there is none."""
    syncs = accepted_syncs(store, alias)
    return syncs[-1].journal if syncs else 0


def missing_sync(store: RunStore, alias: str, metadata: CollectionMetadata) -> SyncRun | None:
    """The last accepted sync, if a collection with these metadata does not hold it yet."""
    syncs = accepted_syncs(store, alias)
    if not syncs or syncs[-1].journal <= (metadata.journal or 0):
        return None
    return syncs[-1]
