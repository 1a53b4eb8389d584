"""The connection to a Qdrant server: address, key, version, and requests that are repeated where that helps."""

import base64
import json
import re
from collections.abc import Callable
from copy import copy
from typing import Any, ParamSpec, Self, TypeVar

from qdrant_client import QdrantClient, models

from keydistill.errors import CollectionNotFoundError, VectorStoreError
from keydistill.vectorstore.server.calls import Caller, Patience, UnconfirmedWriteError
from keydistill.vectorstore.server.consensus import Consensus, told
from keydistill.vectorstore.server.grpc_port import GrpcPort, is_over_grpc
from keydistill.vectorstore.server.limits import KnownLimits
from keydistill.vectorstore.server.translation import field_schema
from keydistill.vectorstore.server.wait import Progress, wait_until_optimized
from keydistill.vectorstore.spec import CollectionSpec

_Arguments = ParamSpec("_Arguments")
_Result = TypeVar("_Result")

# Collection metadata came with 1.16 (https://github.com/qdrant/landing_page/pull/1986), the report on running
# optimisations with 1.17 (https://api.qdrant.tech/v-1-17-x/api-reference/collections/get-optimizations).
_OLDEST_SERVER = (1, 16)
_REPORTS_OPTIMIZATIONS = (1, 17)


class Connection:
    """A client whose calls are repeated where that helps, and the version of its server."""

    def __init__(
        self,
        client: QdrantClient,
        address: str,
        *,
        patience: Patience,
        backoff_seconds: float,
        key: str | None = None,
        grpc_port: GrpcPort | None = None,
    ) -> None:
        self.client = client
        self.address = address
        self.patience = patience
        self.consensus = Consensus(self.count_nodes)
        self.limits = KnownLimits(self.describe)
        self._caller = Caller(address, backoff_seconds=backoff_seconds)
        self._limited_to = limited_to(key)
        self._grpc_port = grpc_port
        self._version: tuple[int, int] | None = None
        self._closed = False

    @property
    def speaks_grpc(self) -> bool:
        """Whether requests go over gRPC."""
        return is_over_grpc(self.client)

    def patient(self, patience: Patience) -> Self:
        """The same connection for calls that wait for longer."""
        other = copy(self)
        other.patience = patience
        other.consensus = Consensus(other.count_nodes)
        other.limits = KnownLimits(other.describe)
        return other

    def call(
        self,
        doing: str,
        function: Callable[_Arguments, _Result],
        *args: _Arguments.args,
        **kwargs: _Arguments.kwargs,
    ) -> _Result:
        """Call `function(*args, **kwargs)` through a `Caller`. The first call asks for the server's version."""
        return self.call_within(self.patience, doing, function, *args, **kwargs)

    def call_within(
        self,
        patience: Patience,
        doing: str,
        function: Callable[_Arguments, _Result],
        *args: _Arguments.args,
        **kwargs: _Arguments.kwargs,
    ) -> _Result:
        """Make a `call` with a patience of its own."""
        if self._closed:
            raise VectorStoreError(f"{doing}: the connection to {self.address} is closed; open the engine again")
        if self._version is None:
            self._version = self._supported_version(patience)
        return self._caller(doing, lambda: function(*args, **kwargs), patience)

    def write(
        self,
        doing: str,
        function: Callable[_Arguments, models.UpdateResult],
        *args: _Arguments.args,
        **kwargs: _Arguments.kwargs,
    ) -> None:
        """Make a `call` that writes, and must be readable afterwards."""

        def confirmed() -> None:
            if function(*args, **kwargs).status != models.UpdateStatus.COMPLETED:
                raise UnconfirmedWriteError

        self.call(doing, confirmed)

    def aliases(self) -> dict[str, str]:
        """Aliases, each with the collection that it names.

        Raises:
            VectorStoreError: The key is limited to some collections, so that the server shows it no alias.
        """
        answer = self.call("listing aliases", self.client.get_aliases)
        if not answer.aliases and self._limited_to is not None:
            raise VectorStoreError(
                f"Qdrant at {self.address} shows no alias to a key that is limited to {self._limited_to}; set "
                "KEYDISTILL_QDRANT_API_KEY to one that may read all collections"
            )
        return {alias.alias_name: alias.collection_name for alias in answer.aliases}

    def collections(self) -> list[str]:
        """Names of all collections, sorted."""
        answer = self.call("listing collections", self.client.get_collections)
        return sorted(collection.name for collection in answer.collections)

    def require_collection(self, name: str) -> None:
        """Raise unless a collection, not an alias, has that name.

        Raises:
            CollectionNotFoundError: There is none.
        """
        names = self.consensus.steady("listing collections", self.collections)
        if name not in names:
            listed = ", ".join(names) or "none"
            raise CollectionNotFoundError(f"no collection {name!r} on Qdrant at {self.address}; there are: {listed}")

    def describe(self, name: str) -> models.CollectionInfo:
        """The server's description of a collection, or of the one that an alias names.

        Raises:
            CollectionNotFoundError: There is none.
        """
        try:
            return self.consensus.first(lambda: self.look(name))
        except CollectionNotFoundError:
            raise CollectionNotFoundError(
                f"no collection or alias {name!r} on Qdrant at {self.address}; `keydistill collections list` shows "
                "what there is"
            ) from None

    def look(self, name: str) -> models.CollectionInfo:
        """The description that one node gives."""
        return self.call(f"describing {name!r}", self.client.get_collection, name)

    def make_indexes(self, name: str, spec: CollectionSpec) -> None:
        """Make the payload indexes of a spec; those that are there already stay."""
        for field, kind in spec.payload_indexes.items():
            self.write(
                f"indexing field {field!r} of {name!r}",
                self.client.create_payload_index,
                name,
                field_name=field,
                field_schema=field_schema(field, kind, spec),
                wait=True,
            )
        self.consensus.settle(
            f"indexing {name!r}",
            lambda: spec.payload_indexes.keys() <= self.look(name).payload_schema.keys(),
        )

    def update(self, name: str, is_seen: Callable[[models.CollectionInfo], bool] | None = None, **change: Any) -> None:
        """Change a collection's settings or metadata.

        Args:
            name: Name of the collection.
            is_seen: Function that says of a description whether it has the change; all nodes are waited for to have it.
            change: The change.
        """
        self.call(f"changing settings of {name!r}", self.client.update_collection, name, **change)
        if is_seen is not None:
            self.consensus.settle(f"changing settings of {name!r}", lambda: is_seen(self.look(name)))

    def wait_until_optimized(self, name: str, stall_seconds: float) -> None:
        """Return when the server is done with optimising, as `keydistill.vectorstore.server.wait` tells."""
        # An update that changes nothing is enough to start what the server holds back.
        idle = models.OptimizersConfigDiff()
        wait_until_optimized(
            name,
            lambda: self._progress(name),
            lambda: self.update(name, optimizers_config=idle),
            stall_seconds=stall_seconds,
        )

    def _progress(self, name: str) -> Progress:
        info, report = self.describe(name), self._optimizations(name)
        complaint = info.optimizer_status
        return Progress(
            status=info.status.value,
            pending=len(report.running) + report.summary.queued_optimizations if report else 0,
            error=complaint.error if isinstance(complaint, models.OptimizersStatusOneOf1) else None,
            marks=(
                info.segments_count,
                info.indexed_vectors_count,
                report.model_dump_json() if report else None,
            ),
        )

    def close(self) -> None:
        """Close the client; closing twice does nothing."""
        if not self._closed:
            self._closed = True
            self.client.close()

    def _optimizations(self, name: str) -> models.OptimizationsResponse | None:
        if self._version is None or self._version < _REPORTS_OPTIMIZATIONS:
            return None
        try:
            return self.call(f"optimising {name!r}", self.client.get_optimizations, name)
        except NotImplementedError:  # the client's local mode
            return None

    def count_nodes(self) -> int | None:
        """The number of nodes; None where the server does not tell."""
        # One try: where the key may not ask, or only gRPC gets through, nobody waits for it.
        once = Patience(self.patience.seconds, tries=1)
        return told(lambda: self.call_within(once, "asking for the cluster's nodes", self.client.cluster_status))

    def stated_version(self, patience: Patience | None = None) -> str:
        """The server's version, as it states it."""
        info = self._caller("asking for the server's version", self.client.info, patience or self.patience)
        return str(info.version)

    def _supported_version(self, patience: Patience) -> tuple[int, int]:
        stated = self.stated_version(patience)
        numbers = re.match(r"v?(\d+)\.(\d+)", stated)
        if numbers is None:
            raise VectorStoreError(f"Qdrant at {self.address} calls itself version {stated!r}; expected X.Y.Z")
        version = (int(numbers[1]), int(numbers[2]))
        if version < _OLDEST_SERVER:
            raise VectorStoreError(
                f"Qdrant at {self.address} has version {stated}, which keeps no collection metadata; upgrade it to "
                f"{_OLDEST_SERVER[0]}.{_OLDEST_SERVER[1]} or later"
            )
        if self._grpc_port is not None:
            self._grpc_port.try_once(self.client, stated)
        return version


def limited_to(key: str | None) -> str | None:
    """The collections that a token is limited to, for a person; None for a key, or a token, to all of them.

    See https://qdrant.tech/documentation/guides/security/#granular-access-control-with-jwt.
    """
    parts = (key or "").split(".")
    if len(parts) != 3:
        return None
    try:
        access = json.loads(base64.urlsafe_b64decode(parts[1] + "=" * (-len(parts[1]) % 4)))["access"]
    except (ValueError, KeyError, TypeError):
        return None
    if not isinstance(access, list):
        return None
    return ", ".join(repr(str(each.get("collection"))) for each in access if isinstance(each, dict)) or "nothing"
