"""Requests of points over gRPC: what the client's own conversion makes of the same points, cut to size."""

import numpy as np
import pytest
from qdrant_client import models
from qdrant_client.conversions.conversion import GrpcToRest, RestToGrpc

from keydistill.errors import VectorStoreError
from keydistill.vectorstore import PointBatch
from keydistill.vectorstore.server import grpc_points
from tests.support.corpus import point_id, unit_vectors

ORDERING = models.WriteOrdering.MEDIUM
PLENTY = 5_000_000


def batch(count: int, **payload: object) -> PointBatch:
    payloads = [{"row": row, "shares": [0.5, row], "none": None, **payload} for row in range(count)]
    return PointBatch([point_id(row) for row in range(count)], unit_vectors(count, 16), payloads)


def test_a_request_says_what_the_client_would() -> None:
    points = batch(3)
    (request,) = grpc_points.requests("name", points, ORDERING, PLENTY, 100)
    rows = zip(points.ids, points.vectors.tolist(), points.payloads, strict=True)
    expected = [models.PointStruct(id=id, vector=vector, payload=dict(payload)) for id, vector, payload in rows]
    assert list(request.points) == [RestToGrpc.convert_point_struct(point) for point in expected]
    assert (request.collection_name, request.wait) == ("name", True)
    assert GrpcToRest.convert_write_ordering(request.ordering) is ORDERING


@pytest.mark.parametrize(("limit_bytes", "most", "sizes"), [(PLENTY, 2, [2, 2, 1]), (PLENTY, 5, [5]), (1, 5, [1] * 5)])
def test_requests_are_cut_to_size(limit_bytes: int, most: int, sizes: list[int]) -> None:
    points = batch(5)
    requests = list(grpc_points.requests("name", points, ORDERING, limit_bytes, most))
    assert [len(request.points) for request in requests] == sizes
    assert [point.id.uuid for request in requests for point in request.points] == points.ids


def test_no_request_is_larger_than_the_limit() -> None:
    limit = 1_000
    requests = list(grpc_points.requests("name", batch(40), ORDERING, limit, 100))
    assert 1 < len(requests) < 40
    overhead = len("name") + 20
    assert max(request.ByteSize() for request in requests) <= limit + overhead


@pytest.mark.parametrize("kind", [np.float64, np.dtype(">f4")])
def test_vectors_of_other_types_become_float32(kind: np.dtype[np.generic]) -> None:
    points = batch(2)
    other = PointBatch(points.ids, np.asfortranarray(points.vectors.astype(kind)), points.payloads)
    assert list(grpc_points.requests("name", other, ORDERING, PLENTY, 9)) == list(
        grpc_points.requests("name", points, ORDERING, PLENTY, 9)
    )


def test_what_cannot_be_said_is_named() -> None:
    with pytest.raises(VectorStoreError, match=f"payload of point {point_id(0)} for 'name' cannot be sent"):
        list(grpc_points.requests("name", batch(1, odd=object()), ORDERING, PLENTY, 9))


def test_nothing_is_no_request() -> None:
    nothing = PointBatch([], np.empty((0, 16), np.float32), [])
    assert list(grpc_points.requests("name", nothing, ORDERING, PLENTY, 9)) == []
