"""What belongs into a backup: the aliases of an installation, what is live behind them, and what a rollback needs."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Self

from keydistill.errors import CollectionLostError, CollectionNotFoundError
from keydistill.ingest.aliases import AliasHistory
from keydistill.runs import AliasChange, RunStore
from keydistill.vectorstore import CollectionMetadata, Engine


@dataclass(frozen=True, slots=True)
class Scope:
    """Aliases and collections of one moment.

    Attributes:
        aliases: Aliases of the installation, each with the collection that it names.
        collections: These collections, and of each alias the one that a rollback would go to.
        history: The audit log.
    """

    aliases: Mapping[str, str]
    collections: tuple[str, ...]
    history: tuple[AliasChange, ...]

    @classmethod
    def of(cls, engine: Engine, store: RunStore, installation: str) -> Self:
        """What there is now. Of a server that several share only what is ours."""
        history = tuple(store.history())
        aliases = {
            alias: target
            for alias, target in sorted(engine.aliases().items())
            if _is_ours(engine, target, installation)
        }
        names = dict.fromkeys(aliases.values())
        for alias in aliases:
            names.update(dict.fromkeys(AliasHistory(engine, store, alias).candidates()[:1]))
        return cls(aliases, tuple(names), history)


def _is_ours(engine: Engine, name: str, installation: str) -> bool:
    try:
        info = engine.info(name)
    except (CollectionNotFoundError, CollectionLostError):
        return True  # nobody else can say whose it is, and whoever backs up should hear of it
    return info.state != "foreign" and CollectionMetadata.parse(info).installation in (None, installation)
