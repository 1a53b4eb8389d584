"""The manifest of a backup: everything that it holds, each file by the SHA-256 of its contents."""

import json
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, field
from pathlib import PurePath
from typing import Any, Self

from pydantic import TypeAdapter, ValidationError

from keydistill.errors import StorageError, first_problem
from keydistill.files import NewerFormatError, stamped, without_stamp

_FORMAT = 1
# Relative names, each with the digest of the contents.
Files = Mapping[str, str]


@dataclass(frozen=True, slots=True)
class Part:
    """Points of a collection: the digest of a Parquet file, and its rows."""

    digest: str
    rows: int


@dataclass(frozen=True, slots=True)
class SavedCollection:
    """A collection as points, in the order of their ids.

    Attributes:
        key: Digest of what decides the points: of two collections of one key only one is stored.
        spec: Fields of its `CollectionSpec`.
        metadata: Metadata of the collection.
        points: Number of its points.
        parts: Files of the points.
    """

    key: str
    spec: Mapping[str, Any]
    metadata: Mapping[str, Any]
    points: int
    parts: tuple[Part, ...]


@dataclass(frozen=True, slots=True)
class SavedModel:
    """The files of a model.

    Attributes:
        source: Folder that records and metadata name it by.
        place: Where it belongs below the registry, as in "student/20261123-ab12cd34ef56"; None outside of it.
        version: Version of a student outside of the registry.
        files: Its files.
    """

    source: str
    place: str | None
    version: str | None
    files: Files


@dataclass(frozen=True, slots=True, kw_only=True)
class Manifest:
    """One backup.

    Attributes:
        id: Time of the backup, to the microsecond.
        created_at: Time of the backup, UTC.
        installation: Id of the installation that it is of.
        engine: Engine that held the collections.
        aliases: Aliases, each with the collection that it named.
        collections: Collections by their names.
        models: Models of the collections, and the promoted ones.
        promotions: Per kind of model, the digest of the file with its promotions.
        runs: Digest of the file with the records of all runs, a line each.
        history: Digest of the audit log, a line each.
        snapshots: Snapshots that syncs go on from: the id of the run, and its files.
        paused: Names of the paused schedules.
        settings: Settings in force, secrets masked.
        unreadable: Records of runs that could not be read: their files, by the id of the run.
        verdicts: Files with what people accepted and rejected on the page of the service.
    """

    id: str
    created_at: str
    installation: str
    engine: str
    aliases: Mapping[str, str]
    collections: Mapping[str, SavedCollection]
    models: tuple[SavedModel, ...]
    promotions: Mapping[str, str]
    runs: str
    history: str
    snapshots: Mapping[str, Files]
    paused: tuple[str, ...]
    settings: Mapping[str, Any]
    unreadable: Files = field(default_factory=dict)
    verdicts: Files = field(default_factory=dict)

    def digests(self) -> Iterator[str]:
        """Digests of all files that the backup needs; one may come up several times."""
        yield self.runs
        yield self.history
        yield from self.promotions.values()
        yield from self.unreadable.values()
        yield from self.verdicts.values()
        for files in (*self.snapshots.values(), *(model.files for model in self.models)):
            yield from files.values()
        for collection in self.collections.values():
            yield from (part.digest for part in collection.parts)

    def as_json(self) -> bytes:
        """The manifest as it is stored."""
        return json.dumps(stamped(_FORMAT, asdict(self)), indent=1).encode()

    @classmethod
    def parse(cls, text: bytes, where: str) -> Self:
        """The inverse of `as_json`.

        Raises:
            StorageError: A newer keydistill wrote it, or it is none.
        """
        try:
            values = without_stamp(json.loads(text), _FORMAT)
            manifest = TypeAdapter(cls).validate_python(values)
        except NewerFormatError as error:
            raise StorageError(f"{where} {error}") from None
        except ValidationError as error:
            raise StorageError(
                f"{where} is no manifest of a backup: {first_problem(error)}; take another one"
            ) from None
        except (ValueError, AttributeError, TypeError) as error:
            raise StorageError(f"{where} is no manifest of a backup ({error}); take another one") from None
        for name in manifest._names_of_files():
            check_plain(name, where)
        return manifest

    def _names_of_files(self) -> Iterator[str]:
        """Names that become parts of paths where the backup is restored."""
        yield self.id
        yield from (*self.promotions, *self.snapshots, *self.unreadable, *self.verdicts, *self.collections)
        for model in self.models:
            kind, _, version = (model.place or f"student/{model.version}").partition("/")
            yield from (kind, version, PurePath(model.source).name)


def check_plain(name: str, where: str) -> None:
    """Raise unless a name that a backup holds can be part of a path and leads nowhere else.

    Raises:
        StorageError: It does not.
    """
    if not name or name in (".", "..") or "/" in name or "\0" in name:
        raise StorageError(f"{where} has the name {name!r}, which leads out of its folder; do not trust this backup")
