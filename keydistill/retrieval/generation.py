"""A generation: a collection and the student that built it, which change together or not at all."""

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Self, Unpack

import numpy as np

from keydistill.encoders import ItemFields, Student, Vectors, item_fields_of, student_of
from keydistill.errors import CollectionNotFoundError, CollectionStateError, StudentMismatchError
from keydistill.retrieval.lists import ListArguments, ListOptions, Reranker, build_lists
from keydistill.retrieval.recommendation import Recommendation
from keydistill.retrieval.tuned_search import searched_alike, tuned_params
from keydistill.settings import Settings
from keydistill.storage import local_student, shared_storage
from keydistill.vectorstore import (
    CollectionInfo,
    CollectionMetadata,
    Engine,
    Filter,
    Hit,
    SearchParams,
    search_params_of,
)

# Loads a student from what a collection's metadata say of it: a folder or a model name, its dimension, its version.
StudentLoader = Callable[[str, int, str], Student]


@dataclass(frozen=True, slots=True, eq=False)
class QueryVector:
    """An embedded item that says which student embedded it.

    Attributes:
        vector: L2-normalised vector, shape (dimension,).
        student_version: Version of the student; no collection that another version built answers the vector.
    """

    vector: Vectors
    student_version: str


@dataclass(frozen=True, slots=True)
class Generation:
    """A collection and the student that built it; `load` and `live` find the student by the collection's metadata.

    It queries the collection by its own name and never by an alias, so that a swap cannot put another student's vectors
    under its queries. Threads may share one.

    Attributes:
        engine: Engine with the collection.
        collection: Name of the collection itself, not an alias.
        dimension: Length of its vectors.
        student: The student, loaded.
        params: Search settings of queries whose filter shape is not in `tuned`.
        tuned: Search settings of each tuned filter shape (`filter_shape`), as the metadata had them on loading.
    """

    engine: Engine = field(repr=False)
    collection: str
    dimension: int
    student: Student
    params: SearchParams
    tuned: Mapping[str, SearchParams] = field(default_factory=dict, hash=False)

    @classmethod
    def of(
        cls,
        engine: Engine,
        info: CollectionInfo,
        student: Student,
        params: SearchParams | None = None,
        *,
        untuned: SearchParams | None = None,
    ) -> Self:
        """The generation of a collection and a student that is loaded.

        Args:
            engine: Engine with the collection.
            info: The engine's description of the collection.
            student: The student.
            params: Search settings of all queries, also of tuned shapes; None takes those of `keydistill tune`.
            untuned: Search settings of queries whose filter shape was not tuned.

        Raises:
            StudentMismatchError: Another student built the collection.
            CollectionStateError: The collection is still building.
        """
        built_by = CollectionMetadata.parse(info).student_version
        if (built_by, info.dimension) != (student.version, student.dimension):
            raise StudentMismatchError(
                f"collection {info.name} was built by student {built_by}, not by {student.version}; "
                "their vectors cannot be compared: load that student, or reindex with this one"
            )
        if info.state != "ready":
            raise CollectionStateError(f"collection {info.name} is {info.state}, expected a ready one; resume its run")
        tuned = tuned_params(info) if params is None else {}
        return cls(engine, info.name, info.dimension, student, params or untuned or SearchParams(), tuned)

    @classmethod
    def load(
        cls,
        engine: Engine,
        collection: str,
        load_student: StudentLoader,
        *,
        params: SearchParams | None = None,
        untuned: SearchParams | None = None,
        loaded: Iterable[Student] = (),
    ) -> Self:
        """The generation of a collection, with the student that its metadata names.

        Args:
            engine: Engine with the collection.
            collection: Name of the collection, or an alias of it.
            load_student: Function that loads the student.
            params: Search settings of all queries; None takes the tuned ones, as `of` does.
            untuned: Search settings of queries whose filter shape was not tuned.
            loaded: Students that are loaded already; if the right one is among them, none is loaded.

        Raises:
            CollectionNotFoundError: There is no such collection.
            StudentError: The collection's student cannot be found any more, or has another version now.
        """
        info = engine.info(collection)
        source, version = _builder_of(info)
        for student in loaded:
            if (student.version, student.dimension) == (version, info.dimension):
                return cls.of(engine, info, student, params, untuned=untuned)
        return cls.of(engine, info, load_student(source, info.dimension, version), params, untuned=untuned)

    @classmethod
    def live(cls, settings: Settings, engine: Engine, *, texts: int | None = None) -> Self:
        """The live generation.

        Args:
            settings: Settings in force.
            engine: Engine with the collections.
            texts: Number of items that it is to embed, roughly, by which the runtime "auto" chooses; None if nobody
                knows.

        Raises:
            CollectionNotFoundError: Nothing is live yet.
            StudentError: The collection's student cannot be found any more, or has another version now.
        """
        target = alias_target(engine, settings.alias)
        return cls.load(engine, target, student_loader(settings, texts=texts), untuned=search_params_of(settings))

    @property
    def student_version(self) -> str:
        """The version that query vectors must have."""
        return self.student.version

    def embed(
        self,
        titles: Sequence[str],
        categories: Sequence[str | None] | None = None,
        fields: Sequence[ItemFields | None] | None = None,
    ) -> list[QueryVector]:
        """Query vectors of n items.

        Args:
            titles: Titles of the n items.
            categories: The leaf category of each item as a path, where it is known: some students read it.
            fields: Free fields of each item, such as its brand: some students read them.
        """
        vectors = self.student.embed_items(titles, categories, fields=fields)
        return [QueryVector(vector, self.student_version) for vector in vectors]

    def query(
        self,
        vectors: Sequence[QueryVector],
        limit: int = 10,
        filters: Sequence[Filter | None] | None = None,
        *,
        params: SearchParams | None = None,
    ) -> list[list[Hit]]:
        """The `limit` points nearest to each vector, best first.

        Args:
            vectors: Query vectors, embedded by this generation's student.
            limit: Most points per vector; fewer come back where fewer pass the filter.
            filters: A filter per vector, or None for no filters at all.
            params: Search settings of all of them; None takes those tuned for the shape of each filter.

        Raises:
            StudentMismatchError: A vector is another student's.
            CollectionNotFoundError: The collection was deleted.
        """
        for query in vectors:
            if query.student_version != self.student_version:
                raise StudentMismatchError(
                    f"a query vector of student {query.student_version} cannot ask collection {self.collection}, which "
                    f"student {self.student_version} built; embed the item again with the present generation"
                )
            if query.vector.shape != (self.dimension,):
                raise StudentMismatchError(
                    f"a query vector of student {query.student_version} has shape {query.vector.shape}, expected "
                    f"({self.dimension},); pass on what `embed` gave, uncut"
                )
        if not vectors:
            return []
        rows = np.stack([query.vector for query in vectors])
        if params is not None or not self.tuned:
            return self.engine.query_batch(self.collection, rows, limit, filters, params or self.params)
        return self._query_as_tuned(rows, limit, [None] * len(rows) if filters is None else filters)

    def _query_as_tuned(self, rows: Vectors, limit: int, filters: Sequence[Filter | None]) -> list[list[Hit]]:
        """The hits of queries searched as tuned for their shapes, in one request for all that are searched alike."""
        alike = searched_alike(filters, limit, self.tuned, self.params)
        if len(alike) == 1:
            return self.engine.query_batch(self.collection, rows, limit, filters, next(iter(alike)))
        if len(filters) != len(rows):
            raise ValueError(f"there are {len(filters)} filters for {len(rows)} vectors, expected one for each")
        lists: list[list[Hit]] = [[] for _ in rows]
        for params, places in alike.items():
            group_filters = [filters[place] for place in places]
            answers = self.engine.query_batch(self.collection, rows[places], limit, group_filters, params)
            for place, hits in zip(places, answers, strict=True):
                lists[place] = hits
        return lists

    def recommend(
        self,
        titles: Sequence[str],
        limit: int = 10,
        filters: Sequence[Filter | None] | None = None,
        *,
        fields: Sequence[ItemFields | None] | None = None,
        **arguments: Unpack[ListArguments],
    ) -> list[list[Recommendation]]:
        """At most `limit` keyphrases for each title, best first: the nearest ones, or those that the options choose.

        Args:
            titles: n item titles.
            limit: Most keyphrases per item; fewer come back where fewer pass the filter.
            filters: A filter per title, or None for none at all.
            fields: Free fields of each item, such as its brand: some students read them.
            **arguments: Further ones, each of them optional; see `ListArguments`.
        """
        if not titles:
            return []
        queries = self.embed(titles, arguments.get("categories"), fields)
        return self.lists(queries, titles, limit, filters, **arguments)

    def lists(
        self,
        queries: Sequence[QueryVector],
        titles: Sequence[str],
        limit: int = 10,
        filters: Sequence[Filter | None] | None = None,
        *,
        categories: Sequence[str | None] | None = None,
        options: ListOptions | None = None,
        excluded: Sequence[Collection[str]] | None = None,
        reranker: Reranker | None = None,
    ) -> list[list[Recommendation]]:
        """What `recommend` gives for items that are embedded already, with the same arguments."""
        neighbours = _Neighbours(self, queries)
        filters = [None] * len(titles) if filters is None else filters
        if options is None and excluded is None:
            nearest = neighbours.nearest(range(len(titles)), limit, filters)
            return [[Recommendation.of(hit) for hit in hits] for hits in nearest]
        return build_lists(
            neighbours,
            titles,
            limit,
            filters,
            [None] * len(titles) if categories is None else categories,
            options or ListOptions(),
            excluded,
            reranker,
        )


@dataclass(frozen=True, slots=True)
class _Neighbours:
    """The collection of a generation, asked by embedded items."""

    generation: Generation
    queries: Sequence[QueryVector]

    @property
    def collection(self) -> str:
        return self.generation.collection

    def nearest(self, places: Sequence[int], limit: int, filters: Sequence[Filter | None]) -> list[list[Hit]]:
        return self.generation.query([self.queries[place] for place in places], limit, filters)

    def vectors(self, ids: Sequence[str]) -> dict[str, Vectors]:
        records = self.generation.engine.retrieve(self.collection, ids, with_vectors=True)
        return {record.id: record.vector for record in records if record.vector is not None}


def alias_target(engine: Engine, alias: str) -> str:
    """The collection that an alias names.

    Raises:
        CollectionNotFoundError: The alias names none.
    """
    target = engine.aliases().get(alias)
    if target is None:
        raise CollectionNotFoundError(
            f"alias {alias!r} names no collection yet; build one with `keydistill reindex INVENTORY`"
        )
    return target


def student_loader(settings: Settings, *, texts: int | None = None) -> StudentLoader:
    """A function that loads students into the runtime, and with the threads, that the settings name.

    Where the settings have a `shared` storage, a student that is not on this machine comes from there. `texts` is the
    number of items that it is to embed, roughly, or None.
    """

    def load(source: str, dimension: int, version: str) -> Student:
        return student_of(settings, _place_of(settings, source, dimension, version), dimension=dimension, texts=texts)

    return load


def item_fields_read(settings: Settings, engine: Engine, collection: str) -> tuple[str, ...]:
    """The free fields of items that a collection's student reads, without loading it.

    Raises:
        CollectionNotFoundError: There is no such collection.
        StudentError: The collection's student cannot be found any more.
    """
    info = engine.info(collection)
    source, version = _builder_of(info)
    return item_fields_of(_place_of(settings, source, info.dimension, version))


def _place_of(settings: Settings, source: str, dimension: int, version: str) -> str:
    """Where a student lies on this machine; where machines share a storage, it is fetched from there if need be."""
    shared = shared_storage(settings)
    # Without shared storage, the version is checked once the student is loaded, so that its files are read only once.
    return source if shared is None else local_student(source, dimension, version, settings.home, shared)


def _builder_of(info: CollectionInfo) -> tuple[str, str]:
    """Folder or name, and version, of the student that built a collection."""
    metadata = CollectionMetadata.parse(info)
    if metadata.student is None or metadata.student_version is None:
        raise StudentMismatchError(
            f"collection {info.name} does not say which student built it; expected `student` and `student_version` "
            "in its metadata: build it with `keydistill reindex`"
        )
    return metadata.student, metadata.student_version
