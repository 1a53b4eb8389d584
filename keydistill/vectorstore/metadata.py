"""The metadata of a collection, typed; an engine keeps them as plain values, beside those of other programs."""

from collections.abc import Mapping
from typing import Any, Self, TypedDict

from pydantic import BaseModel, ConfigDict, ValidationError

from keydistill.errors import VectorStoreError, first_problem
from keydistill.vectorstore.engine import CollectionInfo


class MetadataChanges(TypedDict, total=False):
    """Values of `CollectionMetadata` that change after the collection was made, for `Engine.set_metadata`.

    None removes one.
    """

    snapshot: str
    snapshot_run: str
    journal: int
    rows: int
    applying: list[str] | None
    search: Mapping[str, Any] | None


class CollectionMetadata(BaseModel):
    """The metadata of a collection; what an older version did not write is None, what others wrote is kept.

    Attributes:
        run: Id of the run that built it.
        student: Folder or model name of the student that built it.
        student_version: Version of that student.
        snapshot: Digest of the snapshot that it holds.
        snapshot_run: Id of the run or sync that took this snapshot.
        journal: Number of the last accepted sync that it holds.
        rows: Number of rows of that snapshot.
        payload_indexes: Fields that are indexed.
        index: Settings that decide the index besides the points.
        created_at: Time at which the collection was made, ISO 8601.
        applying: Ids of the syncs that were begun to be applied to it.
        installation: Id of the installation that built it; an alias is its own that names it.
        search: Search settings that `keydistill tune` chose; `TunedSearch` reads them, and checks them.
    """

    model_config = ConfigDict(frozen=True, extra="allow")

    run: str | None = None
    student: str | None = None
    student_version: str | None = None
    snapshot: str | None = None
    snapshot_run: str | None = None
    journal: int | None = None
    rows: int | None = None
    payload_indexes: tuple[str, ...] | None = None
    index: dict[str, Any] | None = None
    created_at: str | None = None
    applying: tuple[str, ...] | None = None
    installation: str | None = None
    search: Any = None

    @classmethod
    def parse(cls, info: CollectionInfo) -> Self:
        """The metadata in a collection's description.

        Raises:
            VectorStoreError: A value is of another type than keydistill writes.
        """
        try:
            return cls.model_validate(dict(info.metadata))
        except ValidationError as error:
            raise VectorStoreError(
                f"collection {info.name} has damaged metadata: {first_problem(error)}; build it anew with "
                "`keydistill reindex INVENTORY`"
            ) from None

    def as_dict(self) -> dict[str, Any]:
        """Plain values for an engine, without those that are None."""
        return {name: value for name, value in self.model_dump(mode="json").items() if value is not None}

    @property
    def lacking(self) -> list[str]:
        """Names of the missing values, of those that every collection gets when it is built."""
        optional = ("index", "applying", "installation", "search")
        return [name for name in type(self).model_fields if name not in optional and getattr(self, name) is None]
