"""Qdrant's gRPC API for tests: every call is passed on, over REST, to the front of `rest_front`.

It shows that what the engine asks for can be said in gRPC and that gRPC's errors are understood. The client's own
converters translate, so it shows nothing about how a real server reads a message.
"""

# The service names its methods.
# ruff: noqa: N802

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import wraps
from typing import Any, Self

import grpc  # type: ignore[import-untyped]
from qdrant_client import QdrantClient
from qdrant_client import grpc as wire
from qdrant_client.conversions.conversion import GrpcToRest, RestToGrpc
from qdrant_client.grpc.collections_service_pb2_grpc import CollectionsServicer, add_CollectionsServicer_to_server
from qdrant_client.grpc.points_service_pb2_grpc import PointsServicer, add_PointsServicer_to_server
from qdrant_client.grpc.qdrant_pb2_grpc import QdrantServicer, add_QdrantServicer_to_server
from qdrant_client.http.exceptions import UnexpectedResponse
from qdrant_client.models import PayloadSchemaType

from tests.support.certificates import Certificates

# https://github.com/qdrant/qdrant/blob/master/src/tonic/api/mod.rs maps the same errors the other way.
_CODES = {
    400: grpc.StatusCode.INVALID_ARGUMENT,
    401: grpc.StatusCode.UNAUTHENTICATED,
    404: grpc.StatusCode.NOT_FOUND,
    409: grpc.StatusCode.ALREADY_EXISTS,
    429: grpc.StatusCode.RESOURCE_EXHAUSTED,
    503: grpc.StatusCode.UNAVAILABLE,
}
Method = Callable[[Any, Any, Any], Any]


def _answer(method: Method) -> Method:
    """What REST refuses, gRPC refuses."""

    @wraps(method)
    def answer(self: Any, request: Any, context: Any) -> Any:
        try:
            return method(self, request, context)
        except UnexpectedResponse as error:
            context.abort(_CODES.get(error.status_code or 0, grpc.StatusCode.INTERNAL), error.content.decode())

    return answer


def _strict_mode(request: Any) -> dict[str, Any]:
    if not request.HasField("strict_mode_config"):
        return {}
    return {"strict_mode_config": GrpcToRest.convert_strict_mode_config(request.strict_mode_config)}


def _updated(result: Any) -> Any:
    return wire.PointsOperationResponse(result=RestToGrpc.convert_update_result(result), time=0.0)


class _Root(QdrantServicer):
    def __init__(self, client: QdrantClient) -> None:
        self._client = client

    @_answer
    def HealthCheck(self, request: Any, context: Any) -> Any:
        found = self._client.info()
        return wire.HealthCheckReply(title=found.title, version=found.version)


class _Collections(CollectionsServicer):
    def __init__(self, client: QdrantClient) -> None:
        self._client = client

    @_answer
    def List(self, request: Any, context: Any) -> Any:
        found = self._client.get_collections().collections
        return wire.ListCollectionsResponse(
            collections=[RestToGrpc.convert_collection_description(item) for item in found]
        )

    @_answer
    def ListAliases(self, request: Any, context: Any) -> Any:
        found = self._client.get_aliases().aliases
        return wire.ListAliasesResponse(aliases=[RestToGrpc.convert_alias_description(item) for item in found])

    @_answer
    def UpdateAliases(self, request: Any, context: Any) -> Any:
        actions = [GrpcToRest.convert_alias_operations(action) for action in request.actions]
        return wire.CollectionOperationResponse(result=self._client.update_collection_aliases(actions))

    @_answer
    def Get(self, request: Any, context: Any) -> Any:
        found = self._client.get_collection(request.collection_name)
        return wire.GetCollectionInfoResponse(result=RestToGrpc.convert_collection_info(found))

    @_answer
    def Create(self, request: Any, context: Any) -> Any:
        quantized = request.HasField("quantization_config")
        done = self._client.create_collection(
            request.collection_name,
            vectors_config=GrpcToRest.convert_vectors_config(request.vectors_config),
            hnsw_config=GrpcToRest.convert_hnsw_config_diff(request.hnsw_config),
            quantization_config=(
                GrpcToRest.convert_quantization_config(request.quantization_config) if quantized else None
            ),
            metadata=GrpcToRest.convert_payload(request.metadata),
            shard_number=request.shard_number if request.HasField("shard_number") else None,
            replication_factor=request.replication_factor if request.HasField("replication_factor") else None,
            write_consistency_factor=(
                request.write_consistency_factor if request.HasField("write_consistency_factor") else None
            ),
            payload=GrpcToRest.convert_payload_storage_params(request.payload) if request.HasField("payload") else None,
            id_tracker=(
                GrpcToRest.convert_id_tracker_params(request.id_tracker) if request.HasField("id_tracker") else None
            ),
            **_strict_mode(request),
        )
        return wire.CollectionOperationResponse(result=done)

    @_answer
    def Update(self, request: Any, context: Any) -> Any:
        change: dict[str, Any] = {}
        if request.HasField("hnsw_config"):
            change["hnsw_config"] = GrpcToRest.convert_hnsw_config_diff(request.hnsw_config)
        if request.HasField("optimizers_config"):
            change["optimizers_config"] = GrpcToRest.convert_optimizers_config_diff(request.optimizers_config)
        if request.HasField("quantization_config"):
            change["quantization_config"] = GrpcToRest.convert_quantization_config_diff(request.quantization_config)
        change |= _strict_mode(request)
        if request.metadata:
            change["metadata"] = GrpcToRest.convert_payload(request.metadata)
        return wire.CollectionOperationResponse(
            result=self._client.update_collection(request.collection_name, **change)
        )

    @_answer
    def Delete(self, request: Any, context: Any) -> Any:
        return wire.CollectionOperationResponse(result=self._client.delete_collection(request.collection_name))


class _Points(PointsServicer):
    def __init__(self, client: QdrantClient) -> None:
        self._client = client

    @_answer
    def CreateFieldIndex(self, request: Any, context: Any) -> Any:
        kinds = {
            wire.FieldType.FieldTypeKeyword: PayloadSchemaType.KEYWORD,
            wire.FieldType.FieldTypeInteger: PayloadSchemaType.INTEGER,
            wire.FieldType.FieldTypeFloat: PayloadSchemaType.FLOAT,
            wire.FieldType.FieldTypeBool: PayloadSchemaType.BOOL,
        }
        schema: Any = kinds[request.field_type]
        if request.HasField("field_index_params"):
            schema = GrpcToRest.convert_payload_schema_params(request.field_index_params)
        return _updated(self._client.create_payload_index(request.collection_name, request.field_name, schema))

    @_answer
    def Upsert(self, request: Any, context: Any) -> Any:
        points = [GrpcToRest.convert_point_struct(point) for point in request.points]
        return _updated(self._client.upsert(request.collection_name, points))

    @_answer
    def Delete(self, request: Any, context: Any) -> Any:
        selector = GrpcToRest.convert_points_selector(request.points)
        return _updated(self._client.delete(request.collection_name, selector))

    @_answer
    def SetPayload(self, request: Any, context: Any) -> Any:
        return _updated(
            self._client.set_payload(
                request.collection_name,
                payload=GrpcToRest.convert_payload(request.payload),
                points=GrpcToRest.convert_points_selector(request.points_selector),
            )
        )

    @_answer
    def QueryBatch(self, request: Any, context: Any) -> Any:
        queries = [GrpcToRest.convert_query_points(query) for query in request.query_points]
        answers = self._client.query_batch_points(request.collection_name, queries)
        results = [
            wire.BatchResult(result=[RestToGrpc.convert_scored_point(point) for point in answer.points])
            for answer in answers
        ]
        return wire.QueryBatchResponse(result=results, time=0.0)

    @_answer
    def Count(self, request: Any, context: Any) -> Any:
        conditions = GrpcToRest.convert_filter(request.filter) if request.HasField("filter") else None
        found = self._client.count(request.collection_name, conditions, exact=request.exact)
        return wire.CountResponse(result=RestToGrpc.convert_count_result(found), time=0.0)

    @_answer
    def Scroll(self, request: Any, context: Any) -> Any:
        page, offset = self._client.scroll(
            request.collection_name,
            scroll_filter=GrpcToRest.convert_filter(request.filter) if request.HasField("filter") else None,
            limit=request.limit,
            offset=GrpcToRest.convert_point_id(request.offset) if request.HasField("offset") else None,
            with_vectors=GrpcToRest.convert_with_vectors_selector(request.with_vectors),
        )
        return wire.ScrollResponse(
            result=[RestToGrpc.convert_record(record) for record in page],
            next_page_offset=None if offset is None else RestToGrpc.convert_extended_point_id(offset),
        )

    @_answer
    def Get(self, request: Any, context: Any) -> Any:
        found = self._client.retrieve(
            request.collection_name,
            [GrpcToRest.convert_point_id(id) for id in request.ids],
            with_vectors=GrpcToRest.convert_with_vectors_selector(request.with_vectors),
        )
        return wire.GetResponse(result=[RestToGrpc.convert_record(record) for record in found], time=0.0)


def _credentials(certificates: Certificates) -> Any:
    pair = (certificates.server_key.read_bytes(), certificates.server.read_bytes())
    return grpc.ssl_server_credentials([pair], certificates.ca.read_bytes(), require_client_auth=True)


class GrpcFront:
    """A gRPC server in threads of this process, before the REST front at `rest_url`."""

    def __init__(self, rest_url: str, certificates: Certificates | None = None) -> None:
        """Start it; with certificates, it speaks TLS and asks its clients for theirs."""
        self._client = QdrantClient(url=rest_url, check_compatibility=False)
        unlimited = [("grpc.max_receive_message_length", -1), ("grpc.max_send_message_length", -1)]
        self._server = grpc.server(ThreadPoolExecutor(4), options=unlimited)
        add_QdrantServicer_to_server(_Root(self._client), self._server)  # type: ignore[no-untyped-call]
        add_CollectionsServicer_to_server(_Collections(self._client), self._server)  # type: ignore[no-untyped-call]
        add_PointsServicer_to_server(_Points(self._client), self._server)  # type: ignore[no-untyped-call]
        self.port: int = (
            self._server.add_insecure_port("127.0.0.1:0")
            if certificates is None
            else self._server.add_secure_port("127.0.0.1:0", _credentials(certificates))
        )
        self._server.start()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._server.stop(grace=None).wait()
        self._client.close()
