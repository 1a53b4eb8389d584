"""The protocol of vector engines, which has two implementations.

A collection is *building* from `create` or `copy` to `finish`, and *ready* afterwards. Whether the points of a ready
collection may still change differs: callers that change them ask `Engine.changes_in_place`.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, Protocol, Self

import numpy as np
from numpy.typing import NDArray

from keydistill.vectorstore.filters import Filter
from keydistill.vectorstore.spec import CollectionSpec, FieldType

Vectors = NDArray[np.float32]
Payload = dict[str, Any]


@dataclass(frozen=True, slots=True)
class PointBatch:
    """Points in columns: `ids` (UUID texts), `vectors` of shape (n, dimension), `payloads`, all n long."""

    ids: Sequence[str]
    vectors: Vectors
    payloads: Sequence[Payload]

    def __post_init__(self) -> None:
        if not len(self.ids) == len(self.vectors) == len(self.payloads):
            raise ValueError(
                f"a batch has {len(self.ids)} ids, {len(self.vectors)} vectors and {len(self.payloads)} payloads; "
                "all three must be equally many"
            )

    def __len__(self) -> int:
        return len(self.ids)


@dataclass(frozen=True, slots=True)
class Record:
    """A stored point; `vector` is None unless it was asked for."""

    id: str
    payload: Payload
    vector: Vectors | None = None


@dataclass(frozen=True, slots=True)
class Hit:
    """A point that a query found; `score` is the cosine similarity."""

    id: str
    score: float
    payload: Payload


@dataclass(frozen=True, slots=True)
class SearchParams:
    """Search settings: how hard a query looks.

    Attributes:
        ef: Candidates that HNSW keeps; more finds more and takes longer.
        oversampling: With quantization, how many times `limit` are fetched before rescoring by the originals.
        exact: Compare with every point that passes the filter; the reference for recall.
        acorn: Under a filter that few points pass (by Qdrant's default at most 40%), look at neighbours of neighbours
            too where a neighbour does not pass it. Finds more under several conditions at once, and takes longer;
            servers before 1.16 do not know it and search without
            (https://qdrant.tech/documentation/concepts/indexing/#the-acorn-search-algorithm).
    """

    ef: int = 128
    oversampling: float = 2.0
    exact: bool = False
    acorn: bool = False


@dataclass(frozen=True, slots=True)
class CollectionInfo:
    """An engine's description of a collection.

    Attributes:
        name: Its own name.
        state: "building", "ready", or "foreign": another program made it, and it is left alone.
        dimension: Length of its vectors; 0 where a foreign one has several kinds of them.
        points: Exact number of its points, as the server says of a foreign one; None while another process builds it.
        payload_indexes: Types of the indexed fields.
        metadata: Metadata that `create` and `set_metadata` were given; empty for a foreign one.
        disk_bytes: Size on disk.
        disk_is_estimated: Whether that is `estimated_bytes`, because the engine does not say.
        spec: What it was made with; None for a foreign one.
        made: Numbers of shards and replicas that the server made, by the names of the spec's fields.
    """

    name: str
    state: Literal["building", "ready", "foreign"]
    dimension: int
    points: int | None
    payload_indexes: Mapping[str, FieldType]
    metadata: Mapping[str, Any]
    disk_bytes: int | None = None
    disk_is_estimated: bool = False
    spec: CollectionSpec | None = None
    made: Mapping[str, int] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Lost:
    """What is wrong with a collection that cannot be read any more.

    Attributes:
        problem: One line that says it, and what to do.
        is_gone: Whether nothing is left of it but its name; otherwise its data are damaged.
    """

    problem: str
    is_gone: bool


class Engine(Protocol):
    """A place for collections and the aliases that name them. `name` takes a collection, or an alias where it reads.

    Every method raises CollectionNotFoundError for an unknown name, and VectorStoreError for vectors of a
    wrong dimension or with values that are not finite, and for ids that are no UUIDs.
    """

    @property
    def changes_in_place(self) -> bool:
        """Whether points of a ready collection can be written: on a server yes, where `copy` is refused.

        The embedded engine's never change: `copy` the collection, change the copy, `finish` it and swap the alias.
        """

    def patient(self, seconds: float, waiting: Callable[[str], None]) -> Self:
        """The same collections, for work that would rather wait for a server than end.

        Args:
            seconds: How long each call is repeated while the server is away; 0: as long as here.
            waiting: Called with what is waited for, where it takes longer, and with "" when the work goes on.
        """

    def cannot_do(self, spec: CollectionSpec) -> dict[str, str]:
        """The fields of a spec that this engine cannot fulfil, each with the reason, for a person."""

    def create(self, name: str, spec: CollectionSpec, metadata: Mapping[str, Any]) -> None:
        """Make an empty collection in bulk-load settings, its payload indexes first.

        Raises:
            CollectionExistsError: A collection or alias has that name.
            VectorStoreError: The server has a limit that no build can obey, or does not know a part of the spec;
                nothing was made.
        """

    def check_room(self, name: str, points: int, payload_bytes: int) -> None:
        """Raise if the server allows the collection `name` fewer points, or fewer bytes of vectors or payload.

        Raises:
            VectorStoreError: It does; the message names the limit.
        """

    def copy(self, source: str, target: str, metadata: Mapping[str, Any]) -> None:
        """Make a building collection `target` with the points, spec and indexes of the ready collection `source`.

        The copy may be changed at will and shares nothing with its source. A process that dies in here leaves no
        collection `target`.

        Args:
            source: The collection, or an alias of it.
            target: The new collection's name.
            metadata: The new collection's metadata; the source's is not taken over.

        Raises:
            CollectionNotFoundError: There is no `source`, or it was deleted meanwhile.
            CollectionStateError: `source` is still building.
            CollectionExistsError: A collection or alias is called `target`.
            VectorStoreError: The engine changes collections in place (see `changes_in_place`) and copies none.
        """

    def duplicate(self, source: str, target: str, metadata: Mapping[str, Any]) -> None:
        """Make a ready collection `target` with the points, spec and indexes of the ready collection `source`.

        It stands on its own: either may be deleted without the other. Neither ever changes, so that they may share what
        they keep on the disk, and this costs next to nothing. Arguments, errors and what a process that dies in here
        leaves are those of `copy`.
        """

    def set_metadata(self, name: str, changes: Mapping[str, Any]) -> None:
        """Set these keys of a collection's metadata, all or none, and leave the others alone.

        A value replaces the whole former one; None removes the key, and deeper within a value it is stored. Works while
        the collection builds and when it is ready. `name` is a collection, not an alias. When this returns, the change
        survives the death of the process.
        """

    def upsert(self, name: str, points: PointBatch) -> None:
        """Write points; when this returns they survive the death of the process. Writing twice is writing once."""

    def delete(self, name: str, ids: Sequence[str]) -> None:
        """Remove points; ids that are not there are ignored."""

    def set_payload(self, name: str, ids: Sequence[str], payload: Payload) -> None:
        """Set these payload fields on the points and leave their other fields and vectors alone.

        Ids that are not there are ignored.
        """

    def finish(self, name: str) -> None:
        """End the bulk load: serving settings, optimise, return when the collection is ready. May take minutes.

        For a collection that is ready this does nothing.
        """

    def query(
        self,
        name: str,
        vector: Vectors,
        limit: int,
        filter: Filter | None = None,
        params: SearchParams | None = None,
    ) -> list[Hit]:
        """The `limit` points most similar to `vector` of shape (dimension,), best first."""

    def query_batch(
        self,
        name: str,
        vectors: Vectors,
        limit: int,
        filters: Sequence[Filter | None] | None = None,
        params: SearchParams | None = None,
    ) -> list[list[Hit]]:
        """`query` for each row of `vectors` (n, dimension), with a filter per row where `filters` is given."""

    def count(self, name: str, filter: Filter | None = None) -> int:
        """Exact number of points that pass the filter."""

    def scroll(self, name: str, filter: Filter | None = None, *, with_vectors: bool = False) -> Iterator[Record]:
        """Every point that passes the filter, in order of id, fetched in pages."""

    def retrieve(self, name: str, ids: Sequence[str], *, with_vectors: bool = False) -> list[Record]:
        """The existing points of these ids, in the order of the ids."""

    def info(self, name: str) -> CollectionInfo:
        """State, exact count, indexes, metadata; for an alias those of its collection, under that one's own name.

        Raises:
            CollectionNotFoundError: There is no collection of that name.
        """

    def collections(self) -> list[str]:
        """Names of all collections, sorted."""

    def lost(self) -> dict[str, Lost]:
        """Collections whose data are gone or damaged, to what is wrong.

        Asked for their points they raise CollectionLostError. `drop` forgets them. A server looks after its own.
        """

    def release(self, name: str) -> None:
        """Let go of what readers here hold open of a collection; it opens again when asked. Others do not notice.

        Calls that are under way in other threads end well, and then it is let go of. Of a collection that is not open,
        that builds or that is gone it does nothing. `name` is a collection, not an alias.
        """

    def drop(self, name: str) -> None:
        """Delete a collection and its points.

        Raises:
            CollectionStateError: An alias names it.
            CollectionNotFoundError: There is no collection of that name.
        """

    def aliases(self) -> dict[str, str]:
        """Aliases, each with the collection that it names."""

    def swap_alias(
        self, alias: str, target: str, expected: str | None, guard: Callable[[], None] | None = None
    ) -> None:
        """Make `alias` name `target`, in one atomic step, if it still names `expected` (None: nothing yet).

        Args:
            alias: The name to change.
            target: The collection that it is to name.
            expected: The collection that it must name until then.
            guard: Called right before the change, after all other checks; an error of it prevents the change.

        Raises:
            AliasChangedError: The alias names something else.
            CollectionNotFoundError: `target` does not exist.
            CollectionStateError: `target` is still building.
            CollectionExistsError: A collection has the alias's name.
        """

    def went_live(self, name: str) -> int | None:
        """Number of the swap that put a collection live last: of two of one alias, the greater came later.

        None where the engine shows every change of an alias to everybody at once, so that nobody has to ask.
        """

    def close(self) -> None:
        """Let go of files and connections. Closing twice does nothing."""
