"""From an item's title to the keyphrases it should be advertised on."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Self

from encoders import Student
from errors import CollectionNotFoundError, StudentMismatchError
from settings import Settings
from vectorstore import CollectionInfo, Engine, Filter, SearchParams


@dataclass(frozen=True, slots=True)
class Recommendation:
    """A keyphrase for an item; `score` is the cosine similarity of the two."""

    keyphrase: str
    score: float
    payload: dict[str, Any]


class Retriever:
    """Queries the collection that stood behind an alias when it was opened, with the student that built it.

    It asks the collection by its own name and never by the alias, so that a swap cannot put another student's vectors
    under its queries.
    """

    def __init__(self, engine: Engine, collection: str, student: Student, params: SearchParams | None = None) -> None:
        """Bind a collection and a student.

        Raises:
            StudentMismatchError: Another student built the collection.
        """
        info = engine.info(collection)
        built_by = info.metadata.get("student_version")
        if built_by != student.version:
            raise StudentMismatchError(
                f"collection {info.name} was built by student {built_by}, not by {student.version}; "
                "their vectors cannot be compared: load that student, or reindex with this one"
            )
        self.collection = info.name
        self.student = student
        self._engine = engine
        self._params = params

    @classmethod
    def open(cls, settings: Settings, engine: Engine) -> Self:
        """The retriever of the live collection, its student loaded.

        Raises:
            CollectionNotFoundError: Nothing is live yet.
            StudentError: Its student cannot be found any more, or is another one now.
        """
        info = live_collection(settings, engine)
        student = Student.load(str(info.metadata["student"]), dimension=info.dimension, threads=settings.threads)
        params = SearchParams(ef=settings.search_ef, oversampling=settings.search_oversampling)
        return cls(engine, info.name, student, params)

    def recommend(
        self,
        titles: Sequence[str],
        limit: int = 10,
        filters: Sequence[Filter | None] | None = None,
        *,
        categories: Sequence[str | None] | None = None,
    ) -> list[list[Recommendation]]:
        """The `limit` keyphrases nearest to each title, best first.

        Args:
            titles: n item titles.
            limit: Most keyphrases per item; fewer come back where fewer pass the filter.
            filters: A filter per title, or None for none at all.
            categories: The leaf category of each item as a path, where it is known: some students read it.
        """
        if not titles:
            return []
        vectors = self.student.embed_items(titles, categories)
        found = self._engine.query_batch(self.collection, vectors, limit, filters, self._params)
        return [[Recommendation(hit.payload["keyphrase"], hit.score, hit.payload) for hit in hits] for hits in found]


def live_collection(settings: Settings, engine: Engine) -> CollectionInfo:
    """What stands behind the alias.

    Raises:
        CollectionNotFoundError: Nothing does.
    """
    target = engine.aliases().get(settings.alias)
    if target is None:
        raise CollectionNotFoundError(
            f"alias {settings.alias!r} names no collection yet; build one with `keydistill reindex INVENTORY`"
        )
    return engine.info(target)
