"""From an item's title to the keyphrases it should be advertised on, by one generation from start to end."""

from collections.abc import Sequence
from typing import Self, Unpack

from keydistill.encoders import ItemFields, Student
from keydistill.retrieval.generation import Generation, alias_target
from keydistill.retrieval.lists import ListArguments
from keydistill.retrieval.recommendation import Recommendation
from keydistill.settings import Settings
from keydistill.vectorstore import CollectionInfo, Engine, Filter, SearchParams


class Retriever:
    """Queries the generation that was live when it was opened; swaps do not reach it (`LiveRetriever` follows them)."""

    def __init__(self, engine: Engine, collection: str, student: Student, params: SearchParams | None = None) -> None:
        """Bind a collection and a student.

        Raises:
            StudentMismatchError: Another student built the collection.
        """
        self.generation = Generation.of(engine, engine.info(collection), student, params)

    @classmethod
    def open(cls, settings: Settings, engine: Engine, *, texts: int | None = None) -> Self:
        """The retriever of the live collection, its student loaded; see `Generation.live` for arguments and errors."""
        retriever = cls.__new__(cls)
        retriever.generation = Generation.live(settings, engine, texts=texts)
        return retriever

    @property
    def collection(self) -> str:
        """The collection's own name."""
        return self.generation.collection

    @property
    def student(self) -> Student:
        """The student, loaded."""
        return self.generation.student

    def recommend(
        self,
        titles: Sequence[str],
        limit: int = 10,
        filters: Sequence[Filter | None] | None = None,
        *,
        fields: Sequence[ItemFields | None] | None = None,
        **arguments: Unpack[ListArguments],
    ) -> list[list[Recommendation]]:
        """At most `limit` keyphrases for each title, best first; the arguments are those of `Generation.recommend`."""
        return self.generation.recommend(titles, limit, filters, fields=fields, **arguments)


def live_collection(settings: Settings, engine: Engine) -> CollectionInfo:
    """What stands behind the alias.

    Raises:
        CollectionNotFoundError: Nothing does.
    """
    return engine.info(alias_target(engine, settings.alias))
