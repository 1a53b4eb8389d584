"""Making the embedded catalogue anew: from the cards in the collections' folders, and from the records of runs.

Folders of before there were cards have none; for them the run that built them, and its snapshot, say what they are.
"""

from collections.abc import Mapping
from dataclasses import dataclass

from keydistill.errors import InputError, VectorStoreError
from keydistill.ingest.aliases.history import AliasHistory
from keydistill.ingest.collection import collection_spec, index_settings
from keydistill.ingest.snapshot import RunSources
from keydistill.runs import ReindexRun, RunStore, SyncRun
from keydistill.settings import Settings
from keydistill.vectorstore import CollectionMetadata, Engine
from keydistill.vectorstore.edge import Card, CollectionEntry, EmbeddedEngine


@dataclass(frozen=True, slots=True)
class AdoptionPlan:
    """What an adoption puts into the catalogue.

    Attributes:
        collections: Name to entry, of folders that the catalogue does not name.
        aliases: Alias to the collection that it named last.
        unknown: Folders that neither a card nor a run explains; they stay where they are.
    """

    collections: Mapping[str, CollectionEntry]
    aliases: Mapping[str, str]
    unknown: tuple[str, ...]


class Adoption:
    """Finds out what the folders are that the catalogue does not name, and has it name them."""

    def __init__(self, settings: Settings, engine: Engine, store: RunStore) -> None:
        """Say where the folders are.

        Raises:
            VectorStoreError: The engine is a server, which keeps its own catalogue.
        """
        if not isinstance(engine, EmbeddedEngine):
            raise VectorStoreError(
                "only the embedded engine has a catalogue of its own; a server keeps its collections"
            )
        self._settings = settings
        self._engine = engine
        self._store = store
        self._sources = RunSources(settings, store)

    def plan(self) -> AdoptionPlan:
        """What `adopt` would do."""
        cards = self._engine.unnamed()
        collections: dict[str, CollectionEntry] = {}
        for name, card in cards.items():
            entry = self._entry_by_run(name) if card is None else card.entry
            if entry is not None:
                collections[name] = entry
        aliases = {**self._aliases_by_log(collections), **_aliases_by_cards(cards)}
        return AdoptionPlan(
            collections,
            {alias: target for alias, target in aliases.items() if collections[target].state == "ready"},
            tuple(name for name in cards if name not in collections),
        )

    def adopt(self) -> AdoptionPlan:
        """Put into the catalogue what `plan` finds; an alias that the catalogue has stays as it is."""
        plan = self.plan()
        self._engine.adopt(plan.collections, plan.aliases)
        return plan

    def _entry_by_run(self, name: str) -> CollectionEntry | None:
        """What the records say of a folder without a card; None where they say too little."""
        run = AliasHistory(self._engine, self._store, self._settings.alias).owner_of(name)
        # Not verified, it may lack points.
        if run is None or not run.report:
            return None
        holds: ReindexRun | SyncRun = run
        number = name.removeprefix(f"{run.alias}-{run.id}").removeprefix("-")
        if number:
            syncs = [each for each in self._store.all() if isinstance(each, SyncRun) and each.alias == run.alias]
            accepted = [sync for sync in syncs if str(sync.journal) == number]
            if not accepted:
                return None
            holds = accepted[0]
        try:
            snapshot = self._sources.snapshot(holds.id).summary
        except InputError:
            return None
        spec = collection_spec(run.dimension, self._settings.model_copy(update=dict(run.settings)))
        metadata = CollectionMetadata(
            run=run.id,
            student=run.student,
            student_version=run.student_version,
            snapshot=snapshot.digest,
            snapshot_run=holds.id,
            journal=holds.journal,
            rows=snapshot.rows,
            payload_indexes=tuple(sorted(spec.payload_indexes)),
            index=index_settings(spec),
            created_at=run.created_at,
        )
        return CollectionEntry("ready", spec, metadata.as_dict())

    def _aliases_by_log(self, collections: Mapping[str, CollectionEntry]) -> dict[str, str]:
        """What each alias named by the last line of the log, of the collections that are here."""
        named: dict[str, str | None] = {}
        for change in self._store.history():
            if change.moves_alias:
                named[change.alias] = change.after
        return {alias: target for alias, target in named.items() if target is not None and target in collections}


def _aliases_by_cards(cards: Mapping[str, Card | None]) -> dict[str, str]:
    """What each alias came to name last."""
    latest: dict[str, tuple[str, str]] = {}
    for name, card in cards.items():
        for alias, at in ({} if card is None else card.named_at).items():
            latest[alias] = max(latest.get(alias, ("", "")), (at, name))
    return {alias: name for alias, (_, name) in latest.items()}
