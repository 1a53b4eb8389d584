"""Changes to the points of embedded collections."""

from collections.abc import Sequence

import numpy as np
import qdrant_edge as edge

from keydistill.errors import VectorStoreError
from keydistill.vectorstore.edge import translation as translate
from keydistill.vectorstore.edge.catalog import Catalog
from keydistill.vectorstore.edge.reader import EmbeddedReader
from keydistill.vectorstore.edge.shards import Shards, translated
from keydistill.vectorstore.engine import Payload, PointBatch


class EmbeddedWriter(EmbeddedReader):
    """The part of `Engine` that reads and changes points."""

    def __init__(self, catalog: Catalog, shards: Shards) -> None:
        """A writer to these shards, which the catalogue names."""
        super().__init__(shards)
        self._catalog = catalog

    def upsert(self, name: str, points: PointBatch) -> None:
        """See `Engine.upsert`."""
        if not len(points):
            return
        dimension = self._catalog.read().resolve(name)[1].spec.dimension
        if points.vectors.ndim != 2 or points.vectors.shape[1] != dimension:
            raise VectorStoreError(
                f"vectors of shape {points.vectors.shape} do not fit {name!r}; expected (n, {dimension})"
            )
        if not np.isfinite(points.vectors).all():
            raise VectorStoreError(f"vectors for {name!r} hold values that are not finite; nothing was written")
        rows = translate.points(points)
        with translated(f"writing to {name!r}"):
            self._shards.writer(name).update(edge.UpdateOperation.upsert_points(rows))
            self._shards.wrote(name, len(points))

    def delete(self, name: str, ids: Sequence[str]) -> None:
        """See `Engine.delete`."""
        with translated(f"deleting from {name!r}"):
            self._shards.writer(name).update(edge.UpdateOperation.delete_points(translate.point_ids(list(ids))))

    def set_payload(self, name: str, ids: Sequence[str], payload: Payload) -> None:
        """See `Engine.set_payload`."""
        with translated(f"writing payload to {name!r}"):
            operation = edge.UpdateOperation.set_payload_by_filter(translate.having_ids(list(ids)), payload)
            self._shards.writer(name).update(operation)
