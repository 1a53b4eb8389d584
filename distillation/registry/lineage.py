"""Lineage: where a model came from, in enough detail to make it again, and to say what differs between two."""

import importlib.metadata
import platform
from collections.abc import Mapping, Sequence
from contextlib import closing
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Self

from keydistill.errors import InputError
from keydistill.files import file_sha256
from keydistill.tables import open_source, read_rows, total_rows

# Packages whose version can change what training or scoring computes.
_PACKAGES = (
    "keydistill",
    "torch",
    "sentence-transformers",
    "transformers",
    "tokenizers",
    "datasets",
    "accelerate",
    "numpy",
    "pyarrow",
)


@dataclass(frozen=True, slots=True)
class InputFile:
    """A file that a model was made from.

    Attributes:
        role: Role that the file had: "clicks", "judgments", "inventory", ...
        path: Path as it was named then; it says where to look, and identifies nothing.
        sha256: SHA-256 of its bytes.
        rows: Number of rows of the table; None where the file is no table.
    """

    role: str
    path: str
    sha256: str
    rows: int | None = None

    @classmethod
    def of(cls, role: str, path: Path) -> Self:
        """Read a file: its hash, and its rows if it is a table.

        Raises:
            InputError: It cannot be read.
        """
        try:
            digest = file_sha256(path)
        except OSError as error:
            raise InputError(f"{path} cannot be read: {error.strerror}; the lineage needs its hash") from None
        return cls(role, str(path), digest, _rows(path))


@dataclass(frozen=True, slots=True)
class Lineage:
    """The lineage of a model: what it was made from.

    Attributes:
        inputs: All files that were read.
        settings: Everything that was chosen, fit for JSON and without secrets.
        seed: Seed of all random choices; None where there were none.
        parent: Version that it continues, such as "student/20261123-ab12cd34ef56".
        packages: Versions by package, "python" among them.
    """

    inputs: tuple[InputFile, ...] = ()
    settings: Mapping[str, Any] = field(default_factory=dict)
    seed: int | None = None
    parent: str | None = None
    packages: Mapping[str, str] = field(default_factory=dict)

    @classmethod
    def collect(
        cls,
        inputs: Mapping[str, Path | Sequence[Path]],
        settings: Mapping[str, Any],
        *,
        seed: int | None = None,
        parent: str | None = None,
    ) -> Self:
        """Collect the lineage of what is made here and now: hash the files, and look up the versions of the packages.

        Args:
            inputs: File or files by role.
            settings: Everything that was chosen.
            seed: Seed of all random choices.
            parent: Version that the model continues.

        Raises:
            InputError: A file cannot be read.
        """
        files = [
            InputFile.of(role, path)
            for role, paths in inputs.items()
            for path in ([paths] if isinstance(paths, Path) else paths)
        ]
        return cls(tuple(files), dict(settings), seed, parent, package_versions())

    @classmethod
    def from_dict(cls, content: Mapping[str, Any]) -> Self:
        """The lineage that `as_dict` was called on."""
        return cls(**{**content, "inputs": tuple(InputFile(**file) for file in content["inputs"])})

    def as_dict(self) -> dict[str, Any]:
        """Everything, fit for JSON."""
        return {
            "inputs": [asdict(file) for file in self.inputs],
            "settings": dict(self.settings),
            "seed": self.seed,
            "parent": self.parent,
            "packages": dict(self.packages),
        }

    def identity(self) -> dict[str, Any]:
        """The part that tells this lineage from any other: everything but the names of the files."""
        content = self.as_dict()
        for file in content["inputs"]:
            del file["path"]
        return content


@dataclass(frozen=True, slots=True)
class LineageDifference:
    """A value that two lineages do not share; None where one of them does not have it."""

    name: str
    a: Any
    b: Any


def differences(a: Lineage, b: Lineage) -> list[LineageDifference]:
    """The values in which two lineages differ, in the order in which they first come.

    >>> differences(Lineage(seed=1, settings={"epochs": 2}), Lineage(seed=1, settings={"epochs": 3}))
    [LineageDifference(name='settings.epochs', a=2, b=3)]
    """
    values_a, values_b = _flat(a), _flat(b)
    return [
        LineageDifference(name, values_a.get(name), values_b.get(name))
        for name in dict.fromkeys([*values_a, *values_b])
        if values_a.get(name) != values_b.get(name)
    ]


def package_versions() -> dict[str, str]:
    """Versions of Python and of the packages that a model depends on; without those that are not installed."""
    versions = {"python": platform.python_version()}
    for name in _PACKAGES:
        try:
            versions[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            continue
    return versions


def flattened(values: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """Nested mappings as one, with dotted names.

    >>> flattened({"recall": {"10": 0.7}, "items": 3})
    {'recall.10': 0.7, 'items': 3}
    """
    flat: dict[str, Any] = {}
    for name, value in values.items():
        if isinstance(value, Mapping) and value:
            flat.update(flattened(value, f"{prefix}{name}."))
        else:
            flat[f"{prefix}{name}"] = value
    return flat


def _flat(lineage: Lineage) -> dict[str, Any]:
    roles: dict[str, int] = {}
    inputs: dict[str, Any] = {}
    for file in lineage.inputs:
        number = roles[file.role] = roles.get(file.role, 0) + 1
        name = file.role if number == 1 else f"{file.role} {number}"
        inputs[name] = {"sha256": file.sha256, "rows": file.rows}
    other_values = {name: value for name, value in lineage.identity().items() if name != "inputs"}
    return flattened({"inputs": inputs, **other_values})


def _rows(path: Path) -> int | None:
    rows = total_rows([path])
    if rows is not None:
        return rows
    try:
        with open_source(path) as source, closing(read_rows(source, known=(), required=())) as batches:
            return sum(len(batch.rows) + len(batch.malformed) for batch in batches)
    except InputError:
        # No table, such as a prompt template; its hash says all.
        return None
