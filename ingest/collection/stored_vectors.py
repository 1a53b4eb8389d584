"""Vectors of snapshot rows: stored ones that the same student made before, and new ones for the rest."""

from collections.abc import Callable

import numpy as np
import pyarrow as pa

from keydistill.encoders import Student, Vectors
from keydistill.errors import CollectionLostError, CollectionNotFoundError
from keydistill.progress import NO_PROGRESS, Progress
from keydistill.vectorstore import CollectionMetadata, Engine


class RowVectors:
    """Vectors of rows, from a collection of the same student where it has them, and embedded otherwise.

    Attributes:
        reused: Number of vectors that were taken from the collection so far.
        embedded: Number of texts that were embedded so far.
    """

    def __init__(
        self,
        engine: Engine,
        donor: str | None,
        student: Callable[[int], Student],
        student_version: str,
        dimension: int,
        *,
        rows: int,
    ) -> None:
        """Vectors from a donor and a student, which is loaded only if it is needed.

        Args:
            engine: Engine with the donor.
            donor: Collection that the same student built, or None.
            student: Function that loads the student, for the number of texts that it gets.
            student_version: Version of the student. A donor that another version built is ignored.
            dimension: Length of the student's vectors.
            rows: Number of rows in all.
        """
        self.reused = self.embedded = 0
        self._engine = engine
        self._student = student
        self._dimension = dimension
        self._rows = rows
        self._donor = donor if donor is not None and _is_of(engine, donor, student_version) else None

    def of(self, rows: pa.Table, progress: Progress = NO_PROGRESS) -> Vectors:
        """Vectors of rows by `PART_SCHEMA`, shape (rows, dimension)."""
        vectors = np.empty((len(rows), self._dimension), dtype=np.float32)
        is_stored = self._fill(vectors, rows)
        new = np.flatnonzero(~is_stored)
        if len(new) < len(rows):
            progress.advance(len(rows) - len(new))
        if len(new):
            texts = rows.column("keyphrase").take(pa.array(new)).to_pylist()
            # As many of all rows as of these, if they are like them.
            expected = round(self._rows * len(new) / len(rows))
            vectors[new] = self._student(expected).embed_keyphrases(texts, progress)
        self.reused += len(rows) - len(new)
        self.embedded += len(new)
        return vectors

    def _fill(self, vectors: Vectors, rows: pa.Table) -> np.ndarray[tuple[int], np.dtype[np.bool_]]:
        """Put the donor's vectors in their places; return for each row whether there was one."""
        is_stored = np.zeros(len(rows), dtype=np.bool_)
        if self._donor is None:
            return is_stored
        ids: list[str] = rows.column("point_id").to_pylist()
        hashes: list[str] = rows.column("text_hash").to_pylist()
        try:
            stored = self._engine.retrieve(self._donor, ids, with_vectors=True)
        except CollectionNotFoundError:
            self._donor = None  # pruned meanwhile: it was a help, nothing more
            return is_stored
        places = {id: place for place, id in enumerate(ids)}
        for record in stored:
            place = places[record.id]
            if record.vector is not None and record.payload.get("text_hash") == hashes[place]:
                vectors[place] = record.vector
                is_stored[place] = True
        return is_stored


def _is_of(engine: Engine, collection: str, student_version: str) -> bool:
    try:
        info = engine.info(collection)
    except (CollectionNotFoundError, CollectionLostError):
        return False
    return info.state == "ready" and CollectionMetadata.parse(info).student_version == student_version
