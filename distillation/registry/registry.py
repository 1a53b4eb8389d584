"""The registry of models: versions of students and assistants that are never changed once they are there.

    ROOT/student/20261123-ab12cd34ef56/    the model's files, read-only, and beside them
        README.md        model card
        lineage.json     what it was made from
        metrics.json     how good it was measured to be
        manifest.json    SHA-256 of every other file
    ROOT/student/promoted.json             which version is promoted, and every promotion before
    ROOT/student/.draft-...                a version that is being written

A version's name is the day (UTC) on which it was published and the beginning of the hash of its content and lineage.
"""

import getpass
import json
import logging
import os
from collections.abc import Callable, Mapping
from dataclasses import asdict, replace
from datetime import UTC, datetime
from operator import itemgetter
from pathlib import Path
from typing import Any, Self

from keydistill.distillation.registry.draft import copy_model, draft_folder, kind_lock, write_sheets
from keydistill.distillation.registry.lineage import Lineage
from keydistill.distillation.registry.version import (
    FORMAT,
    LINEAGE,
    MANIFEST,
    MODEL_KINDS,
    ModelKind,
    ModelVersion,
    Promotion,
    version_digest,
)
from keydistill.errors import ModelError, ModelNotFoundError
from keydistill.files import NewerFormatError, replace_json, stamped, sync, without_stamp
from keydistill.settings import Settings

PROMOTED = "promoted"
_log = logging.getLogger(__name__)

_HASH_CHARS = 12
# What a folder must hold to be a model of its kind.
_NEEDED: Mapping[ModelKind, str] = {"student": "modules.json", "assistant": "config.json"}


class Registry:
    """Versions of models in a folder, which any number of processes may use at once."""

    def __init__(self, root: Path) -> None:
        self.root = root.expanduser().absolute()

    @classmethod
    def of(cls, settings: Settings) -> Self:
        """The registry that the settings name."""
        return cls(settings.registry or settings.home / "models")

    def publish(
        self, kind: ModelKind, folder: Path, *, lineage: Lineage, metrics: Mapping[str, Any], parent: str | None = None
    ) -> ModelVersion:
        """Copy a model into the registry; it is there as a whole when this returns, and not at all before.

        Args:
            kind: "student" or "assistant".
            folder: Folder that `save_pretrained` wrote; it stays as it is. The registry writes a README.md of its own.
            lineage: Lineage of the model: what it was made from.
            metrics: Metrics of the model; mappings nested as you like, fit for JSON.
            parent: Version that it continues, where the lineage does not say it.

        Returns:
            The new version, or the one that is there already with the same content and lineage.

        Raises:
            ModelError: The folder holds no model of that kind, or something is not fit for JSON.
            ModelChangedError: The same version is there already, and damaged.
        """
        self._check_kind(kind)
        if not (folder / _NEEDED[kind]).is_file():
            raise ModelError(f"{folder} holds no {kind}: it has no {_NEEDED[kind]}; name the folder of a trained model")
        if parent is not None:
            lineage = replace(lineage, parent=parent)
        # As they will be read back, with lists for tuples.
        lineage = Lineage.from_dict(_json_copy(lineage.as_dict(), "lineage"))
        metrics = _json_copy(metrics, "metrics")
        with draft_folder(self.root / kind) as draft:
            files = copy_model(folder, draft)
            digest = version_digest(kind, files, lineage)
            now = datetime.now(UTC)
            name = f"{now:%Y%m%d}-{digest[:_HASH_CHARS]}"
            target = self.root / kind / name
            write_sheets(draft, ModelVersion(kind, name, target, _stamp(now), digest, files, 0, lineage, metrics))
            with kind_lock(self.root / kind):
                existing = self._with_digest(kind, digest)
                if existing is None:
                    os.rename(draft, target)
                    sync(target.parent)
        if existing is not None:
            existing.verify()
        return existing or ModelVersion.read(kind, target)

    def versions(
        self, kind: ModelKind | None = None, *, on_problem: Callable[[ModelError], object] | None = None
    ) -> list[ModelVersion]:
        """All versions, students first, each kind from the oldest to the newest.

        Args:
            kind: The kind, None for both.
            on_problem: Called for each version that cannot be read, which is left out; None writes to the log.
        """
        on_problem = on_problem or (lambda problem: _log.warning("%s", problem))
        versions: list[ModelVersion] = []
        for each in MODEL_KINDS:
            of_kind: list[tuple[str, int, ModelVersion]] = []
            for name in self._names(each) if kind in (None, each) else ():
                try:
                    version = ModelVersion.read(each, self.root / each / name)
                    # Of several in one second, the manifests were written one after the other.
                    of_kind.append((version.created_at, (version.folder / MANIFEST).stat().st_mtime_ns, version))
                except ModelError as error:
                    on_problem(error)
                except FileNotFoundError:
                    # Somebody has just removed it.
                    continue
            versions += [version for _, _, version in sorted(of_kind, key=itemgetter(0, 1))]
        return versions

    def get(self, name: str, kind: ModelKind | None = None) -> ModelVersion:
        """Return a version by its name.

        Args:
            name: "student/20261123-ab12cd34ef56", also without the kind; the beginning of the name, or of its hash, if
                only one version begins so; or "student/promoted".
            kind: The kind where the name does not say it.

        Raises:
            ModelNotFoundError: There is none, or several.
        """
        prefix, _, wanted_name = name.rpartition("/")
        if prefix:
            self._check_kind(prefix)
        kinds = [each for each in MODEL_KINDS if prefix in ("", each) and kind in (None, each)]
        if wanted_name == PROMOTED and len(kinds) == 1:
            return self._promoted(kinds[0])
        beginning = [
            (each, version)
            for each in kinds
            for version in self._names(each)
            if wanted_name and (version.startswith(wanted_name) or version.partition("-")[2].startswith(wanted_name))
        ]
        fitting = [each for each in beginning if each[1] == wanted_name] or beginning
        if len(fitting) != 1:
            problem = f"{len(fitting)} begin with it" if fitting else "there is none"
            raise ModelNotFoundError(
                f"version {name!r} in {self.root}: {problem}; `keydistill models list` shows them all"
            )
        each, version = fitting[0]
        return ModelVersion.read(each, self.root / each / version)

    def promoted(self, kind: ModelKind) -> ModelVersion | None:
        """The promoted version, None where there is none yet.

        Raises:
            ModelNotFoundError: The one that was promoted is no longer there.
        """
        name = self.promoted_name(kind)
        return None if name is None else self.get(name, kind)

    def promoted_name(self, kind: ModelKind) -> str | None:
        """The name of the promoted version, whether it is still there or not; None where there is none yet."""
        history = self.history(kind)
        return history[-1].version if history else None

    def history(self, kind: ModelKind) -> list[Promotion]:
        """Every promotion, the oldest first.

        Raises:
            ModelError: The file that keeps them is damaged, or a newer keydistill wrote it.
        """
        self._check_kind(kind)
        path = self.pointer(kind)
        try:
            values = without_stamp(json.loads(path.read_text(encoding="utf-8")), FORMAT)
            return [Promotion(**entry) for entry in values["history"]]
        except FileNotFoundError:
            return []
        except NewerFormatError as error:
            raise ModelError(f"{path} {error}") from None
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise ModelError(f"{path} is damaged ({error}); remove it and promote a version again") from None

    def promote(self, version: ModelVersion, *, reason: str = "", by: str | None = None) -> Promotion:
        """Make a version the promoted one of its kind; its files are verified first.

        Args:
            version: A version of this registry.
            reason: Reason of the promotion, for the history.
            by: Who promotes it, for the history; None is the user of this process.

        Returns:
            The promotion; the earlier one where the version is promoted already, which changes nothing.

        Raises:
            ModelChangedError: Its files are not those that were published.
        """
        version.verify()
        with kind_lock(self.root / version.kind):
            history = self.history(version.kind)
            if history and history[-1].version == version.name:
                return history[-1]
            promotion = Promotion(
                version=version.name,
                previous=history[-1].version if history else None,
                at=_stamp(datetime.now(UTC)),
                by=by or _user(),
                reason=reason,
            )
            entries = [asdict(entry) for entry in (*history, promotion)]
            pointer = {"version": version.name, "history": entries}
            replace_json(self.pointer(version.kind), stamped(FORMAT, pointer))
        return promotion

    def _promoted(self, kind: ModelKind) -> ModelVersion:
        version = self.promoted(kind)
        if version is None:
            raise ModelNotFoundError(
                f"no {kind} is promoted in {self.root}; `keydistill models promote VERSION` promotes one, "
                "`keydistill models list` shows them all"
            )
        return version

    def _check_kind(self, kind: str) -> None:
        if kind not in MODEL_KINDS:
            raise ModelNotFoundError(
                f"there are no models of the kind {kind!r}; expected one of {', '.join(MODEL_KINDS)}"
            )

    def pointer(self, kind: ModelKind) -> Path:
        """The file that says which version of a kind is promoted, and which were before."""
        return self.root / kind / f"{PROMOTED}.json"

    def _names(self, kind: ModelKind) -> list[str]:
        return sorted(path.parent.name for path in (self.root / kind).glob(f"[!.]*/{MANIFEST}"))

    def _with_digest(self, kind: ModelKind, digest: str) -> ModelVersion | None:
        for name in self._names(kind):
            if name.endswith(digest[:_HASH_CHARS]):
                version = ModelVersion.read(kind, self.root / kind / name)
                if version.digest == digest:
                    return version
        return None


def resolve_student(settings: Settings) -> str:
    """The source for `Student.load` that the setting `student` means: a version's folder, or the setting as it is.

    Raises:
        ModelNotFoundError: It names a version that the registry does not have.
        ModelChangedError: The files of that version are not those that were published.
    """
    return resolve_model(settings, "student", settings.student)


def resolve_assistant(settings: Settings) -> str | None:
    """The source for `Assistant.load` that the setting `assistant` means; None where it is not set.

    Raises:
        ModelNotFoundError: It names a version that the registry does not have.
        ModelChangedError: The files of that version are not those that were published.
    """
    return None if settings.assistant is None else resolve_model(settings, "assistant", settings.assistant)


def resolve_model(settings: Settings, kind: ModelKind, source: str) -> str:
    """The folder of what `source` names, if that is "promoted" or a version; a folder or model name as it is.

    Raises:
        ModelNotFoundError: It names a version that the registry does not have.
        ModelChangedError: The files of that version are not those that were published.
    """
    folder = Path(source).expanduser()
    if folder.is_dir():
        # Also by its path a version is one.
        if folder.resolve().parent.name == kind and all((folder / sheet).is_file() for sheet in (MANIFEST, LINEAGE)):
            ModelVersion.read(kind, folder.resolve()).verify_for_use()
        return source
    if source == PROMOTED or source.startswith(f"{kind}/"):
        version = Registry.of(settings).get(source, kind)
        version.verify_for_use()
        return str(version.folder)
    return source


def _json_copy(value: Any, part: str) -> Any:
    try:
        return json.loads(json.dumps(value, allow_nan=False))
    except (TypeError, ValueError) as error:
        raise ModelError(f"the {part} of a model must be fit for JSON: {error}") from None


def _stamp(moment: datetime) -> str:
    return f"{moment:%Y-%m-%dT%H:%M:%SZ}"


def _user() -> str:
    try:
        return getpass.getuser()
    except (KeyError, OSError):
        # No account and no environment variable says it, as in some containers.
        return f"uid {os.getuid()}"
