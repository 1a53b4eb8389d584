"""A version in the registry: its record, and how it is told from any other."""

import hashlib
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, get_args

from keydistill.distillation.registry.lineage import Lineage
from keydistill.errors import ModelChangedError, ModelError
from keydistill.files import NewerFormatError, file_sha256, first_difference, remembered_sha256, without_stamp

ModelKind = Literal["student", "assistant"]
MODEL_KINDS: tuple[ModelKind, ...] = get_args(ModelKind)

# Of the manifest and of the pointer to the promoted version; what is in the other sheets belongs to it.
FORMAT = 1
CARD, LINEAGE, METRICS, MANIFEST = "README.md", "lineage.json", "metrics.json", "manifest.json"
# What the registry adds to a model's own files.
SHEETS = frozenset({CARD, LINEAGE, METRICS, MANIFEST})


@dataclass(frozen=True, slots=True)
class ModelVersion:
    """A published version.

    Attributes:
        kind: "student" or "assistant".
        name: Day and hash, such as "20261123-ab12cd34ef56".
        folder: Folder of its files, which `Student.load` or `Assistant.load` takes.
        created_at: Time at which it was published, UTC.
        digest: SHA-256 over the model's own files and the lineage.
        files: SHA-256 of each file but the manifest, by name.
        bytes: Total size of these files.
        lineage: Lineage: what it was made from.
        metrics: Metrics that were measured of it.
    """

    kind: ModelKind
    name: str
    folder: Path
    created_at: str
    digest: str
    files: Mapping[str, str]
    bytes: int
    lineage: Lineage
    metrics: Mapping[str, Any]

    @classmethod
    def read(cls, kind: ModelKind, folder: Path) -> "ModelVersion":
        """The version in a folder; trusts the hashes that stand there, which `verify` compares.

        Raises:
            ModelError: A newer keydistill wrote it.
            ModelChangedError: What the registry wrote there is damaged.
        """
        try:
            manifest = without_stamp(_json_of(folder / MANIFEST), FORMAT)
            lineage, metrics = (_json_of(folder / sheet) for sheet in (LINEAGE, METRICS))
            return cls(
                kind=kind,
                name=folder.name,
                folder=folder,
                created_at=manifest["created_at"],
                digest=manifest["digest"],
                files=manifest["files"],
                bytes=manifest["bytes"],
                lineage=Lineage.from_dict(lineage),
                metrics=metrics,
            )
        except NewerFormatError as error:
            raise ModelError(f"{folder / MANIFEST} {error}") from None
        except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
            raise ModelChangedError(f"{folder} is damaged ({error}); {_CURE}") from None

    @property
    def full_name(self) -> str:
        """Kind and name, as settings and commands take them."""
        return f"{self.kind}/{self.name}"

    def verify(self, hash_of: Callable[[Path], str] = file_sha256) -> None:
        """Compare every file with what was published.

        Raises:
            ModelChangedError: A file was changed, removed or added; the message names it.
        """
        difference = first_difference(self.folder, self.files, (MANIFEST,), hash_of)
        if difference is not None:
            path, problem = difference
            raise ModelChangedError(f"{path} {problem} after {self.full_name} was published; do not use it: {_CURE}")
        contents = {name: digest for name, digest in self.files.items() if name not in SHEETS}
        if version_digest(self.kind, contents, self.lineage) != self.digest:
            raise ModelChangedError(
                f"{self.folder / MANIFEST} was changed after {self.full_name} was published; do not use it: {_CURE}"
            )

    def verify_for_use(self) -> None:
        """`verify`, each file once per process while its size and times stay: for whoever is about to load them.

        Raises:
            ModelChangedError: See `verify`.
        """
        self.verify(remembered_sha256)

    def as_dict(self) -> dict[str, Any]:
        """Everything, fit for JSON."""
        return {
            "version": self.full_name,
            "kind": self.kind,
            "folder": str(self.folder),
            "created_at": self.created_at,
            "digest": self.digest,
            "bytes": self.bytes,
            "files": dict(self.files),
            "metrics": dict(self.metrics),
            "lineage": self.lineage.as_dict(),
        }


@dataclass(frozen=True, slots=True)
class Promotion:
    """One move of the pointer to the promoted version; `previous` is None for the first."""

    version: str
    previous: str | None
    at: str
    by: str
    reason: str


_CURE = "remove this folder and publish the model again"


def version_digest(kind: ModelKind, files: Mapping[str, str], lineage: Lineage) -> str:
    """SHA-256 (hex) over what makes a version that version: the hashes of its model files, and its lineage."""
    identity = {"kind": kind, "files": dict(files), "lineage": lineage.identity()}
    return hashlib.sha256(json.dumps(identity, sort_keys=True).encode()).hexdigest()


def regular_files(folder: Path) -> list[Path]:
    """All files below a folder, in the order of their names."""
    return sorted(path for path in folder.rglob("*") if path.is_file())


def file_name(path: Path, folder: Path) -> str:
    """A file's name as it stands in a manifest: relative, with slashes."""
    return path.relative_to(folder).as_posix()


def _json_of(path: Path) -> Any:
    return json.loads(path.read_text(encoding="utf-8"))
