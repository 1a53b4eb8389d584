"""A generation: a collection and the student that built it, which change together or not at all."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Self

import numpy as np

from keydistill.encoders import Student, Vectors, student_of
from keydistill.errors import CollectionNotFoundError, CollectionStateError, StudentMismatchError
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

# From what a collection's metadata say of its student (a folder or a model name, its dimension, its version) to it.
StudentLoader = Callable[[str, int, str], Student]


@dataclass(frozen=True, slots=True)
class Recommendation:
    """A keyphrase for an item; `score` is the cosine similarity of the two."""

    keyphrase: str
    score: float
    payload: dict[str, Any]


@dataclass(frozen=True, slots=True, eq=False)
class QueryVector:
    """An embedded item that says which student embedded it.

    Attributes:
        vector: L2-normalised, shape (dimension,).
        student_version: As of `Student.version`; no collection that another version built answers it.
    """

    vector: Vectors
    student_version: str


@dataclass(frozen=True, slots=True)
class Generation:
    """A collection and the student that built it; `load` and `live` read which that is from the collection's metadata.

    It asks the collection by its own name and never by an alias, so that a swap cannot put another student's vectors
    under its queries. Threads may share one.

    Attributes:
        engine: Where the collection is.
        collection: Its own name.
        dimension: Length of its vectors.
        student: The student, loaded.
        params: How hard queries look whose shape of filter is not in `tuned`.
        tuned: Shape of filter (`filter_shape`) to how hard its queries look, as the metadata had it on loading.
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
        """Bind a collection and a student that is loaded.

        Args:
            engine: Where the collection is.
            info: What it says of the collection.
            student: The student.
            params: How hard all queries look, whatever was tuned; None takes what `keydistill tune` found.
            untuned: How hard queries look whose shape was not tuned.

        Raises:
            StudentMismatchError: Another student built the collection.
            CollectionStateError: It is still building.
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
            engine: Where the collection is.
            collection: Its name, or an alias of it.
            load_student: Loads the student.
            params: How hard all queries look; None takes what was tuned, see `of`.
            untuned: How hard queries look whose shape was not tuned.
            loaded: Students that are loaded already; if the right one is among them, none is loaded.

        Raises:
            CollectionNotFoundError: There is no such collection.
            StudentError: Its student cannot be found any more, or is another one now.
        """
        info = engine.info(collection)
        metadata = CollectionMetadata.parse(info)
        source, version = metadata.student, metadata.student_version
        if source is None or version is None:
            raise StudentMismatchError(
                f"collection {info.name} does not say which student built it; expected `student` and `student_version` "
                "in its metadata: build it with `keydistill reindex`"
            )
        for student in loaded:
            if (student.version, student.dimension) == (version, info.dimension):
                return cls.of(engine, info, student, params, untuned=untuned)
        return cls.of(engine, info, load_student(source, info.dimension, version), params, untuned=untuned)

    @classmethod
    def live(cls, settings: Settings, engine: Engine) -> Self:
        """The generation behind the alias.

        Raises:
            CollectionNotFoundError: Nothing is live yet.
            StudentError: Its student cannot be found any more, or is another one now.
        """
        target = alias_target(engine, settings.alias)
        return cls.load(engine, target, student_loader(settings), untuned=search_params_of(settings))

    @property
    def student_version(self) -> str:
        """The version that query vectors must have."""
        return self.student.version

    def embed(self, titles: Sequence[str], categories: Sequence[str | None] | None = None) -> list[QueryVector]:
        """Query vectors of n items.

        Args:
            titles: n titles.
            categories: The leaf category of each as a path, where it is known: some students read it.
        """
        vectors = self.student.embed_items(titles, categories)
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
            vectors: n query vectors of this generation's student.
            limit: Most points per vector; fewer come back where fewer pass the filter.
            filters: A filter per vector, or None for none at all.
            params: How hard all of them look; None: as was tuned for the shape of each filter.

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
        """Each query as its shape asks for: one request for all that are searched alike, nearly always one in all."""
        alike = searched_alike(filters, limit, self.tuned, self.params)
        if len(alike) == 1:
            return self.engine.query_batch(self.collection, rows, limit, filters, next(iter(alike)))
        if len(filters) != len(rows):
            raise ValueError(f"there are {len(filters)} filters for {len(rows)} vectors, expected one for each")
        lists: list[list[Hit]] = [[] for _ in rows]
        for params, places in alike.items():
            some = [filters[place] for place in places]
            answers = self.engine.query_batch(self.collection, rows[places], limit, some, params)
            for place, hits in zip(places, answers, strict=True):
                lists[place] = hits
        return lists

    def recommend(
        self,
        titles: Sequence[str],
        limit: int = 10,
        filters: Sequence[Filter | None] | None = None,
        *,
        categories: Sequence[str | None] | None = None,
    ) -> list[list[Recommendation]]:
        """The `limit` keyphrases nearest to each title, best first; see `embed` and `query`."""
        lists = self.query(self.embed(titles, categories), limit, filters) if titles else []
        return [[Recommendation(hit.payload["keyphrase"], hit.score, hit.payload) for hit in hits] for hits in lists]


def alias_target(engine: Engine, alias: str) -> str:
    """The collection that an alias names.

    Raises:
        CollectionNotFoundError: None.
    """
    target = engine.aliases().get(alias)
    if target is None:
        raise CollectionNotFoundError(
            f"alias {alias!r} names no collection yet; build one with `keydistill reindex INVENTORY`"
        )
    return target


def student_loader(settings: Settings) -> StudentLoader:
    """Loads students into the runtime, and with the threads, that the settings name.

    Where the settings have a `shared` storage, a student that is not on this machine comes from there.
    """

    def load(source: str, dimension: int, version: str) -> Student:
        shared = shared_storage(settings)
        # Without one, whether it is the right student is seen when it is loaded: its files are read but once.
        here = source if shared is None else local_student(source, dimension, version, settings.home, shared)
        return student_of(settings, here, dimension=dimension)

    return load
