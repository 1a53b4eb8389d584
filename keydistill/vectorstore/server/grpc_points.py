"""Writing points over gRPC: vectors go as the bytes that they are, into the request itself.

The client's `upsert` makes Python's numbers of them first, checks each, and makes messages of these. Its
`upload_collection` reads the bytes, but copies every point twice on its way into the request.
"""

import math
from collections.abc import Iterator
from functools import lru_cache

from qdrant_client import QdrantClient, models
from qdrant_client import grpc as wire
from qdrant_client.conversions.conversion import GrpcToRest, RestToGrpc, payload_to_grpc

from keydistill.errors import VectorStoreError
from keydistill.vectorstore.engine import PointBatch
from keydistill.vectorstore.server.translation import point_ids

# Around a point inside its request: a tag, and its length.
_BYTES_AROUND_A_POINT = 6


def requests(
    name: str, points: PointBatch, ordering: models.WriteOrdering, limit_bytes: int, most_points: int
) -> Iterator[wire.UpsertPoints]:
    """Requests that write the points and are answered when they are applied.

    Args:
        name: Name of the collection.
        points: Points to write; their vectors are finite.
        ordering: Order of writes from several nodes.
        limit_bytes: Size of one request; a point that is larger alone goes alone.
        most_points: Most points of one request.

    Raises:
        VectorStoreError: An id is no UUID, or a payload holds what gRPC has no word for.
    """
    vectors = points.vectors.astype("<f4", order="C", copy=False)
    prefix = _before_the_numbers(vectors.shape[1])
    request, size = _request(name, ordering), 0
    for id, vector, payload in zip(point_ids(points.ids), vectors, points.payloads, strict=True):
        try:
            # Made in its place: a message that is put into another one is copied.
            point = request.points.add(id={"uuid": id}, payload=payload_to_grpc(dict(payload)))
        except (TypeError, ValueError) as error:
            raise VectorStoreError(f"payload of point {id} for {name!r} cannot be sent: {error}") from error
        point.vectors.vector.dense.MergeFromString(prefix + vector.tobytes())
        point_bytes = point.ByteSize() + _BYTES_AROUND_A_POINT
        count = len(request.points)
        if count > 1 and (size + point_bytes > limit_bytes or count > most_points):
            following = _request(name, ordering)
            following.points.append(point)
            del request.points[-1]
            yield request
            request, size = following, 0
        size += point_bytes
    if request.points:
        yield request


def send(client: QdrantClient, request: wire.UpsertPoints, seconds: float) -> models.UpdateResult:
    """Send a request and wait for its answer.

    Args:
        client: Speaks gRPC.
        request: One of `requests`.
        seconds: Time limit.
    """
    answer = client.grpc_points.Upsert(request, timeout=math.ceil(seconds))
    return GrpcToRest.convert_update_result(answer.result)


def _request(name: str, ordering: models.WriteOrdering) -> wire.UpsertPoints:
    return wire.UpsertPoints(collection_name=name, wait=True, ordering=RestToGrpc.convert_write_ordering(ordering))


@lru_cache(maxsize=16)
def _before_the_numbers(dimension: int) -> bytes:
    """What protobuf writes of a vector before its numbers, which follow as they lie in memory."""
    written = wire.DenseVector(data=[0.0] * dimension).SerializeToString()
    return bytes(written[: len(written) - 4 * dimension])
