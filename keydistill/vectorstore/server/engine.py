"""The server engine: collections on a Qdrant server, over REST or gRPC.

A collection's state, the spec that it was made with and the caller's metadata stand in the collection's own metadata on
the server, so that every process that reaches the server sees the same.
"""

from collections.abc import Callable, Mapping
from copy import copy
from dataclasses import dataclass
from typing import Any, ClassVar, Self
from uuid import uuid4

from pydantic import SecretStr
from qdrant_client import QdrantClient, models

from keydistill.errors import (
    CollectionExistsError,
    CollectionStateError,
    VectorStoreError,
)
from keydistill.masking import shown_address
from keydistill.vectorstore.engine import CollectionInfo, Lost
from keydistill.vectorstore.server import translation as translate
from keydistill.vectorstore.server.aliases import AliasOperations, foreign_collection
from keydistill.vectorstore.server.calls import Patience
from keydistill.vectorstore.server.connection import Connection
from keydistill.vectorstore.server.creation import creation, made, not_taken, quantization
from keydistill.vectorstore.server.limits import Limits
from keydistill.vectorstore.server.opening import Protocol, connect
from keydistill.vectorstore.server.points import PointOperations
from keydistill.vectorstore.server.tls import TlsFiles
from keydistill.vectorstore.spec import CollectionSpec, estimated_bytes

_ORDINARY_SECONDS = 60


class ServerEngine(PointOperations, AliasOperations):
    """`Engine` on a Qdrant server. Threads may share one; a forked process opens its own."""

    changes_in_place: ClassVar[bool] = True

    def __init__(
        self,
        url: str,
        *,
        api_key: SecretStr | None = None,
        protocol: Protocol = "auto",
        grpc_port: int | None = None,
        timeout_seconds: int = 60,
        retries: int = 4,
        query_seconds: float = 10.0,
        backoff_seconds: float = 0.5,
        stall_seconds: float = 1_800.0,
        tls: TlsFiles | None = None,
        lift_limits: bool = False,
    ) -> None:
        """Prepare a connection; nothing is sent before the first operation.

        Args:
            url: REST address. `https` turns TLS on, for gRPC too. `user:password@` is sent as basic authentication.
            api_key: Key that the server was started with.
            protocol: "grpc", "rest", or "auto": gRPC once its port has answered.
            grpc_port: Port for it, on the same host; None: the one after that of REST.
            timeout_seconds: Limit for one request.
            retries: Most repeats of a request that failed for a transient reason; see `patient` for work that waits.
            query_seconds: Time after which a query is not repeated any more.
            backoff_seconds: Pause before the first repeat; it doubles with each.
            stall_seconds: Longest time without any change while the server optimises; the whole may take any time.
            tls: Files of certificates, where the common ones are not enough.
            lift_limits: Change those limits of strict mode, for new collections, that no build can obey.

        Raises:
            SettingsError: The address cannot be one.
        """
        connection = connect(
            url,
            api_key=api_key,
            protocol=protocol,
            grpc_port=grpc_port,
            timeout_seconds=timeout_seconds,
            patience=Patience(max(_ORDINARY_SECONDS, timeout_seconds), retries + 1),
            backoff_seconds=backoff_seconds,
            tls=tls,
        )
        self._open(connection, stall_seconds)
        self._timeout_seconds = timeout_seconds
        self._query_patience = Patience(query_seconds, retries + 1)
        self._lift_limits = lift_limits

    @classmethod
    def from_client(cls, client: QdrantClient, *, retries: int = 0, stall_seconds: float = 60.0) -> Self:
        """An engine on a client that exists, such as the local mode `QdrantClient(":memory:")`; `close` closes it."""
        engine = cls.__new__(cls)
        address = shown_address(client.init_options.get("url") or "local://memory")
        patience = Patience(_ORDINARY_SECONDS, retries + 1)
        engine._open(Connection(client, address, patience=patience, backoff_seconds=0.5), stall_seconds)
        return engine

    def _open(self, connection: Connection, stall_seconds: float) -> None:
        self._connection = connection
        self._client = connection.client
        self._stall_seconds = stall_seconds
        self._timeout_seconds = _ORDINARY_SECONDS
        self._query_patience = connection.patience
        self._lift_limits = False
        self._is_deciding = False

    def patient(self, seconds: float, waiting: Callable[[str], None]) -> Self:
        """See `Engine.patient`. It reads aliases and descriptions until the nodes of a cluster say the same."""
        if seconds == 0:
            return self
        other = copy(self)
        other._query_patience = Patience(seconds, waiting=waiting)
        other._connection = self._connection.patient(other._query_patience)
        other._is_deciding = True
        return other

    @property
    def server_version(self) -> str:
        """Version of the server, as it states it."""
        return self._connection.stated_version()

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self._connection.address!r})"

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def cannot_do(self, spec: CollectionSpec) -> dict[str, str]:
        """See `Engine.cannot_do`."""
        limits = models.StrictModeConfigOutput.model_validate(dict(spec.strict_mode))
        asked = Limits("new", limits, frozenset(spec.payload_indexes))
        in_the_way = asked.in_the_way(spec)
        cannot = {"strict_mode": asked.refuse_own(in_the_way)} if in_the_way else {}
        nodes = self._connection.count_nodes() if (spec.replicas or 1) > 1 else None
        if nodes is not None and spec.replicas is not None and spec.replicas > nodes:
            lack = f"Qdrant at {self._connection.address} has {nodes} node{'s' if nodes > 1 else ''}; ask for fewer"
            cannot["replicas"] = f"{spec.replicas} replicas need as many nodes, and {lack}, or add nodes"
            if (spec.write_consistency or 1) > nodes:
                cannot["write_consistency"] = f"{spec.write_consistency} replicas must have a write, and {lack}"
        return cannot

    def create(self, name: str, spec: CollectionSpec, metadata: Mapping[str, Any]) -> None:
        """See `Engine.create`."""
        token = uuid4().hex
        stored = translate.building_metadata(spec, token, metadata)
        connection = self._connection
        if name in self.aliases():
            raise _exists(name)
        try:
            connection.call(
                f"creating {name!r}",
                self._client.create_collection,
                name,
                **creation(spec),
                metadata=stored,
            )
        except CollectionExistsError:
            # A request whose answer got lost is repeated, and then meets its own work.
            if translate.token(connection.describe(name)) != token:
                raise _exists(name) from None
        connection.consensus.settle(f"creating {name!r}", lambda: translate.token(connection.look(name)) == token)
        lacking = not_taken(spec, connection.describe(name).config)
        if lacking:
            self._connection.call(f"deleting {name!r}", self._client.delete_collection, name)
            raise VectorStoreError(
                f"Qdrant at {connection.address} did not take {', '.join(lacking)} for {name!r}; upgrade the server, "
                "or leave these settings out"
            )
        self._meet_limits(name, spec)
        connection.make_indexes(name, spec)

    def _meet_limits(self, name: str, spec: CollectionSpec) -> None:
        """Lift the limits of strict mode that are in the way of a build, or delete the empty collection and refuse."""
        limits = self._connection.limits.of(name)
        in_the_way = limits.in_the_way(spec)
        if not in_the_way:
            return
        self._connection.limits.forget(name)
        if not self._lift_limits:
            self._connection.call(f"deleting {name!r}", self._client.delete_collection, name)
            raise limits.refuse_build(in_the_way)
        self._connection.update(
            name,
            lambda info: not Limits.of(name, info).in_the_way(spec),
            strict_mode_config=models.StrictModeConfig.model_validate(in_the_way),
        )

    def check_room(self, name: str, points: int, payload_bytes: int) -> None:
        """See `Engine.check_room`."""
        info = self._connection.describe(name)
        Limits.of(name, info).check_room(points, points * translate.dimension(info) * 4, payload_bytes)

    def copy(self, source: str, target: str, metadata: Mapping[str, Any]) -> None:
        """Refused: a copy would have to travel point by point, and here nobody needs one; see `changes_in_place`."""
        raise VectorStoreError(
            f"copying {source!r} to {target!r}: a server changes collections in place; write to {source!r} itself"
        )

    def duplicate(self, source: str, target: str, metadata: Mapping[str, Any]) -> None:
        """Refused, as `copy` is."""
        self.copy(source, target, metadata)

    def set_metadata(self, name: str, changes: Mapping[str, Any]) -> None:
        """See `Engine.set_metadata`."""
        translate.check_metadata_keys(changes)
        self._connection.require_collection(name)
        self._require_ours(name)
        if changes:
            # The server merges key by key, and a null removes its key (https://github.com/qdrant/qdrant/pull/9907).
            self._connection.update(name, lambda info: translate.has_metadata(info, changes), metadata=dict(changes))

    def finish(self, name: str) -> None:
        """See `Engine.finish`. Called again after a failure, it goes on where the server is."""
        info = self._connection.describe(name)
        if translate.is_ready(info):
            return
        spec = translate.stored_spec(info)
        if spec is None:
            raise foreign_collection(name)
        self._connection.make_indexes(name, spec)  # there already, unless a process died inside `create`
        self._connection.update(
            name,
            # A node that does not know of it yet has nothing to optimise, and would say that it is done.
            lambda info: info.config.hnsw_config.m == spec.hnsw_m,
            # In one request, so that the server optimises once.
            hnsw_config=models.HnswConfigDiff(m=spec.hnsw_m),
            quantization_config=quantization(spec),
        )
        self._connection.wait_until_optimized(name, self._stall_seconds)
        self._connection.update(name, translate.is_ready, metadata=translate.ready_metadata())

    def info(self, name: str) -> CollectionInfo:
        """See `Engine.info`."""
        name = self.aliases().get(name, name)
        connection = self._connection
        if self._is_deciding:
            info = connection.consensus.steady(f"describing {name!r}", lambda: _Settings(connection.look(name))).info
        else:
            info = connection.describe(name)
        spec = translate.stored_spec(info)
        if spec is None:
            # Of what others made nothing but what the server says by itself.
            return CollectionInfo(
                name=name,
                state="foreign",
                dimension=translate.dimension(info),
                points=info.points_count,
                payload_indexes=translate.field_types(info),
                metadata={},
            )
        points = self.count(name)  # the server's own numbers are approximate
        return CollectionInfo(
            name=name,
            state="ready" if translate.is_ready(info) else "building",
            dimension=translate.dimension(info),
            points=points,
            payload_indexes=translate.field_types(info),
            metadata=translate.caller_metadata(info),
            disk_bytes=estimated_bytes(points, spec),
            disk_is_estimated=True,
            spec=spec,
            made=made(info.config),
        )

    def collections(self) -> list[str]:
        """See `Engine.collections`."""
        return self._connection.collections()

    def lost(self) -> dict[str, Lost]:
        """See `Engine.lost`."""
        return {}

    def release(self, name: str) -> None:
        """See `Engine.release`; the connection is all that is open here, and all collections share it."""

    def drop(self, name: str) -> None:
        """See `Engine.drop`. The server would delete the aliases together with the collection; we refuse."""
        connection = self._connection
        for alias, target in connection.consensus.steady("listing aliases", connection.aliases).items():
            if target == name:
                raise CollectionStateError(
                    f"collection {name!r} is live behind alias {alias!r}; swap the alias before deleting it"
                )
        connection.require_collection(name)
        self._require_ours(name)
        connection.call(f"deleting {name!r}", self._client.delete_collection, name)
        connection.limits.forget(name)
        connection.consensus.settle(f"deleting {name!r}", lambda: name not in connection.collections())

    def _require_ours(self, name: str) -> None:
        if translate.is_foreign(self._connection.describe(name)):
            raise foreign_collection(name)

    def close(self) -> None:
        """See `Engine.close`."""
        self._connection.close()


@dataclass(frozen=True, slots=True)
class _Settings:
    """A description, equal to another of the same settings: its counts differ from one moment to the next."""

    info: models.CollectionInfo

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _Settings) and self._settings == other._settings

    def __hash__(self) -> int:
        raise TypeError("descriptions are compared, not kept")

    @property
    def _settings(self) -> tuple[object, object]:
        return self.info.config, {field: index.data_type for field, index in self.info.payload_schema.items()}


def _exists(name: str) -> CollectionExistsError:
    return CollectionExistsError(f"collection or alias {name!r} exists already; choose another name")
