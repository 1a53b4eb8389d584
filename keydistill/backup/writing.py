"""Making a backup while runs go on: nothing is stopped, and what changed while it was read is read again."""

import json
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path

from keydistill.backup.archive import Archive
from keydistill.backup.lease import LEASE, only_one
from keydistill.backup.manifest import Manifest, Part, SavedCollection, SavedModel
from keydistill.backup.points import content_key, keep_points
from keydistill.backup.scope import Scope
from keydistill.distillation.registry import MODEL_KINDS, Registry
from keydistill.errors import (
    CollectionLostError,
    CollectionNotFoundError,
    InputError,
    ModelError,
    StorageError,
)
from keydistill.ingest.aliases import AliasHistory, accepted_syncs, content_lease, patiently
from keydistill.progress import NO_PROGRESS, Progress
from keydistill.runs import RESTORE_MARK, RunStore, now, open_shared_store, stored_run
from keydistill.settings import Settings
from keydistill.vectorstore import CollectionInfo, CollectionMetadata, CollectionSpec, Engine

_ATTEMPTS = 4


@dataclass(frozen=True, slots=True)
class BackupReport:
    """What a backup holds and what it took.

    Attributes:
        backup: Its id.
        collections: Points of each collection.
        files: Number of files that it needs, and `bytes` of them.
        written: Number of files that were not there yet, and `written_bytes` of them.
        left_out: What could not be backed up, each with the reason.
        dropped: Ids of the earlier backups that were deleted.
        verified: Whether every file was read back and is what it should be; None where nobody asked.
    """

    backup: str
    collections: dict[str, int]
    files: int
    bytes: int
    written: int
    written_bytes: int
    left_out: dict[str, str]
    dropped: list[str]
    verified: bool | None


class _ChangedMeanwhileError(Exception):
    """A collection's points changed while they were read."""


class Backup:
    """Makes backups of an installation."""

    def __init__(
        self, settings: Settings, engine: Engine, store: RunStore, archive: Archive, progress: Progress = NO_PROGRESS
    ) -> None:
        self._settings = settings
        self._engine = engine
        self._store = store
        self._archive = archive
        self._progress = progress
        self._left_out: dict[str, str] = {}

    def make(self, *, keep: int | None = None, verify: bool = False) -> BackupReport:
        """Back up everything that cannot be made again.

        Args:
            keep: Number of backups that stay, with the new one; None: all. All stay where something was left out,
                as an earlier one may be the only one that has it.
            verify: Read everything back.

        Raises:
            RunBusyError: Another backup or restore is under way, or a sync that does not end.
            StorageError: The place cannot be written, or what is there is damaged or of another installation.
            InputError: The place lies in the home, or a restore into the home did not end.
        """
        self._check_home()
        with only_one(self._store):
            self._check_place()
            manifest = self._manifest()
            self._archive.add(manifest)
            problems = self._archive.damage(manifest) if verify else {}
            if problems:
                raise StorageError(f"backup {manifest.id} is damaged: {next(iter(problems.values()))}")
            dropped = [] if keep is None or self._left_out else self._archive.retain(keep)
        sizes = self._archive.sizes(manifest)
        return BackupReport(
            backup=manifest.id,
            collections={name: saved.points for name, saved in manifest.collections.items()},
            files=len(sizes),
            bytes=sum(sizes.values()),
            written=self._archive.written,
            written_bytes=self._archive.written_bytes,
            left_out=self._left_out,
            dropped=dropped,
            verified=True if verify else None,
        )

    def _check_home(self) -> None:
        """Refuse what would be no backup, and could with `keep` be the end of those that are."""
        home = self._settings.home
        if (home / RESTORE_MARK).exists():
            raise InputError(
                f"a restore into {home} did not end, and what it has not brought back yet would not be in a backup; "
                "give the same `keydistill restore` again first"
            )
        if self._archive.is_within(home):
            raise InputError(
                f"{self._archive.shown} lies in the home {home}, and would be lost with it; choose another place"
            )

    def _check_place(self) -> None:
        """Refuse a place with backups of somebody else, whose retention would delete ours."""
        if not self._archive.manifests():
            return
        owner = self._archive.manifest().installation
        if owner != self._store.installation():
            raise StorageError(
                f"{self._archive.shown} holds backups of another installation ({owner}); choose a folder of its own"
            )

    def _manifest(self) -> Manifest:
        installation = self._store.installation()
        scope, collections = self._consistent(installation)
        models = self._models(collections)
        moment = datetime.now(UTC)
        runs = self._store.all()
        known = {run.id for run in runs}
        return Manifest(
            id=f"{moment:%Y%m%dT%H%M%S}-{moment:%f}",
            created_at=now(),
            installation=installation,
            engine=self._settings.engine,
            aliases={alias: target for alias, target in scope.aliases.items() if target in collections},
            collections=collections,
            models=models,
            promotions=self._promotions(),
            runs=self._archive.keep_bytes(_lines([stored_run(run) for run in runs])),
            history=self._archive.keep_bytes(_lines([change.as_dict() for change in scope.history])),
            snapshots=self._snapshots(scope, collections),
            paused=self._paused(),
            verdicts=self._verdicts(),
            settings=json.loads(json.dumps(self._settings.shown(), default=str)),
            unreadable={
                record.parent.name: self._archive.keep_file(record)
                for record in sorted((self._settings.home / "runs").glob("*/run.json"))
                if record.parent.name not in known
            },
        )

    def _consistent(self, installation: str) -> tuple[Scope, dict[str, SavedCollection]]:
        """Collections as the aliases and the log name them, of one moment: read again what changed meanwhile."""
        saved: dict[str, SavedCollection] = {}
        for attempt in range(_ATTEMPTS):
            scope = Scope.of(self._engine, self._store, installation)
            self._left_out = {}
            try:
                for name in scope.collections:
                    saved[name] = self._collection(name, saved.get(name), held=attempt == _ATTEMPTS - 1)
            except (_ChangedMeanwhileError, CollectionNotFoundError):
                continue
            except CollectionLostError as error:
                self._left_out[name] = str(error)
                saved = {**saved, **self._others(scope, name)}
            if scope == Scope.of(self._engine, self._store, installation):
                return scope, {name: saved[name] for name in scope.collections if name in saved}
        raise StorageError(
            "aliases or collections changed each time they were read; back up again when runs are at rest"
        )

    def _others(self, scope: Scope, lost: str) -> dict[str, SavedCollection]:
        """The collections but those that are lost."""
        others: dict[str, SavedCollection] = {}
        for name in scope.collections:
            try:
                if name != lost:
                    others[name] = self._collection(name, None, held=True)
            except CollectionLostError as error:
                self._left_out[name] = str(error)
        return others

    def _collection(self, name: str, earlier: SavedCollection | None, *, held: bool) -> SavedCollection:
        info = self._engine.info(name)
        metadata = CollectionMetadata.parse(info)
        key = content_key(info)
        if earlier is not None and earlier.key == key:
            return self._saved(info, key, earlier.parts)
        parts = None if metadata.applying else self._archive.parts_of(key)
        if parts is None:
            parts = self._read(name, key, info, held=held or bool(metadata.applying))
        return self._saved(info, key, parts)

    def _read(self, name: str, key: str, info: CollectionInfo, *, held: bool) -> tuple[Part, ...]:
        """The points, stored; nobody is kept from changing them unless they are `held`, where they change in place."""
        owner = AliasHistory(self._engine, self._store, self._settings.alias).owner_of(name)
        work = self._settings.home / "tmp"
        work.mkdir(parents=True, exist_ok=True)
        with ExitStack() as stack:
            if held and owner is not None and self._engine.changes_in_place:
                stack.enter_context(patiently(self._store, content_lease(owner), LEASE))
                info = self._engine.info(name)
                key = content_key(info)
            self._progress.start(f"back up {name}", info.points, "points")
            parts = keep_points(self._engine, name, self._archive, work, self._progress)
            after = self._engine.info(name)
        if content_key(after) != key or sum(part.rows for part in parts) != after.points:
            raise _ChangedMeanwhileError
        if not CollectionMetadata.parse(after).applying:
            self._archive.remember_parts(key, parts)
        return parts

    def _saved(self, info: CollectionInfo, key: str, parts: tuple[Part, ...]) -> SavedCollection:
        spec = info.spec or CollectionSpec(info.dimension)
        stored = replace(spec, payload_indexes=dict(info.payload_indexes)).as_dict()
        return SavedCollection(key, stored, dict(info.metadata), sum(part.rows for part in parts), parts)

    def _models(self, collections: dict[str, SavedCollection]) -> tuple[SavedModel, ...]:
        root = Registry.of(self._settings).root
        students = {
            str(saved.metadata["student"]): saved.metadata.get("student_version")
            for saved in collections.values()
            if saved.metadata.get("student")
        }
        for kind in MODEL_KINDS:
            promoted = Registry.of(self._settings).promoted_name(kind)
            if promoted is not None:
                students.setdefault(str(root / kind / promoted), None)
        models = []
        for source, version in students.items():
            folder = Path(source).expanduser()
            if not folder.is_dir():
                # A name of the model hub can be had again; a folder that is gone cannot.
                if folder.is_absolute() and self._settings.shared is None:
                    self._left_out[source] = "the folder of this model is not there any more"
                continue
            inside = folder.resolve().is_relative_to(root.resolve())
            place = folder.resolve().relative_to(root.resolve()).as_posix() if inside else None
            # The manifest of a version names every file; beside one that nobody published lie caches, or a .git.
            files = self._archive.keep_folder(folder, with_hidden=inside)
            models.append(SavedModel(source, place, version, files))
            if place is not None and place.partition("/")[0] in MODEL_KINDS:
                try:
                    Registry.of(self._settings).get(place).verify_for_use()
                except ModelError as error:
                    self._left_out[source] = str(error)
        return tuple(models)

    def _promotions(self) -> dict[str, str]:
        registry = Registry.of(self._settings)
        pointers = {kind: registry.pointer(kind) for kind in MODEL_KINDS}
        # They may be replaced meanwhile: read once.
        return {kind: self._archive.keep_bytes(path.read_bytes()) for kind, path in pointers.items() if path.is_file()}

    def _verdicts(self) -> dict[str, str]:
        """What people said on the page, which grows line by line: without a line that is being written."""
        # An item is written before its verdict, so read after it.
        paths = [self._settings.judgments_folder / name for name in ("judgments.jsonl", "items.jsonl")]
        contents = {path.name: path.read_bytes() for path in paths if path.is_file()}
        return {name: self._archive.keep_bytes(text[: text.rfind(b"\n") + 1]) for name, text in contents.items()}

    def _snapshots(self, scope: Scope, collections: dict[str, SavedCollection]) -> dict[str, dict[str, str]]:
        """Snapshots that the next sync compares with."""
        needed: dict[str, None] = {}
        for saved in collections.values():
            needed.update(
                dict.fromkeys([str(saved.metadata.get("snapshot_run", "")), *saved.metadata.get("applying", ())])
            )
        for alias in scope.aliases:
            needed.update(dict.fromkeys(sync.id for sync in accepted_syncs(self._store, alias)[-1:]))
        folders = {run_id: self._store.folder(run_id) / "snapshot" for run_id in needed if run_id}
        return {run_id: self._archive.keep_folder(folder) for run_id, folder in folders.items() if folder.is_dir()}

    def _paused(self) -> tuple[str, ...]:
        if self._settings.redis_url is None:
            return ()
        marks = open_shared_store(self._settings).schedules
        return tuple(sorted(name for name in self._settings.schedules if marks.is_paused(name)))


def _lines(values: Sequence[object]) -> bytes:
    return b"".join(json.dumps(value).encode() + b"\n" for value in values)
