"""Aliases on a Qdrant server: what they name, and the swap."""

from collections.abc import Callable
from contextlib import suppress

from qdrant_client import QdrantClient

from keydistill.errors import CollectionNotFoundError, CollectionStateError
from keydistill.vectorstore.alias_checks import check_alias_name, check_alias_target
from keydistill.vectorstore.server import translation as translate
from keydistill.vectorstore.server.connection import Connection


class AliasOperations:
    """The part of `ServerEngine` that reads and moves aliases."""

    _client: QdrantClient
    _connection: Connection
    # Whether what the engine says is decided on, so that all nodes of a cluster have to say it.
    _is_deciding: bool

    def aliases(self) -> dict[str, str]:
        """See `Engine.aliases`."""
        if self._is_deciding:
            return self._connection.consensus.steady("listing aliases", self._connection.aliases)
        return self._connection.aliases()

    def swap_alias(
        self, alias: str, target: str, expected: str | None, guard: Callable[[], None] | None = None
    ) -> None:
        """See `Engine.swap_alias`.

        The server changes the alias atomically, but has no compare-and-set: between our look at the alias and our
        change somebody else may change it too. The caller's lock or lease on the alias closes that gap.
        """
        connection = self._connection
        connection.require_collection(target)
        info = connection.describe(target)
        if translate.is_foreign(info):
            raise foreign_collection(target)
        if not translate.is_ready(info):
            raise CollectionStateError(f"collection {target!r} is still building; finish it before an alias names it")
        check_alias_name(alias, connection.collections())
        present = connection.consensus.steady("listing aliases", connection.aliases).get(alias)
        check_alias_target(alias, present, expected)
        if connection.consensus.is_shared:
            self._number_swap(target, present)
        if guard is not None:
            guard()
        connection.call(
            f"pointing alias {alias!r} to {target!r}",
            self._client.update_collection_aliases,
            translate.alias_change(alias, target, present),
        )
        connection.consensus.settle(
            f"pointing alias {alias!r} to {target!r}", lambda: connection.aliases().get(alias) == target
        )

    def went_live(self, name: str) -> int | None:
        """See `Engine.went_live`."""
        connection = self._connection
        return translate.went_live(connection.describe(name)) if connection.consensus.is_shared else None

    def _number_swap(self, target: str, present: str | None) -> None:
        """Number the swap that is about to be made, so that readers know which of two collections came later."""
        numbers = [translate.went_live(self._connection.describe(target)) or 0]
        if present is not None:
            with suppress(CollectionNotFoundError):  # deleted by hand, with its alias left to a slow node
                numbers.append(translate.went_live(self._connection.describe(present)) or 0)
        change = translate.going_live(max(numbers) + 1)
        self._connection.update(target, lambda info: translate.has_metadata(info, change), metadata=change)


def foreign_collection(name: str) -> CollectionStateError:
    """The refusal to change what another program made."""
    return CollectionStateError(f"collection {name!r} was not made by keydistill; leave it to who made it")
