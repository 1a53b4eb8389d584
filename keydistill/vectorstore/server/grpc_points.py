"""Writing points over gRPC as the client's own `upload_collection` does: vectors go as the bytes that they are.

The client's `upsert` makes Python's numbers of them first, checks each, and makes messages of these: four times the
work.
"""

import math

from qdrant_client import QdrantClient, models
from qdrant_client.conversions.conversion import GrpcToRest, RestToGrpc, payload_to_grpc
from qdrant_client.grpc import PointId, PointStruct, UpsertPoints
from qdrant_client.uploader.grpc_uploader import convert_vector_struct

from keydistill.vectorstore.engine import PointBatch

BYTES_PER_NUMBER = 4


def upsert(
    client: QdrantClient, name: str, points: PointBatch, ordering: models.WriteOrdering, seconds: float
) -> models.UpdateResult:
    """Write points and wait until they are applied.

    Args:
        client: Speaks gRPC.
        name: Name of the collection.
        points: Points of one request.
        ordering: Order of writes from several nodes.
        seconds: Time limit of the request.
    """
    rows = zip(points.ids, points.vectors, points.payloads, strict=True)
    messages = [
        PointStruct(id=PointId(uuid=id), vectors=convert_vector_struct(vector), payload=payload_to_grpc(dict(payload)))
        for id, vector, payload in rows
    ]
    request = UpsertPoints(
        collection_name=name, wait=True, points=messages, ordering=RestToGrpc.convert_write_ordering(ordering)
    )
    answer = client.grpc_points.Upsert(request, timeout=math.ceil(seconds))
    return GrpcToRest.convert_update_result(answer.result)
