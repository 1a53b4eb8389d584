"""Bringing a backup back. What exists is never replaced: a restore adds, and moves aliases only where it is told to."""

import json
from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path

from keydistill.backup.archive import Archive
from keydistill.backup.lease import LEASE, only_one
from keydistill.backup.manifest import Manifest, SavedCollection, SavedModel
from keydistill.backup.points import content_key, fitting_spec, put_points
from keydistill.backup.records import at_rest, saved_records
from keydistill.distillation.registry import MODEL_KINDS, Registry
from keydistill.encoders import StudentFiles
from keydistill.errors import (
    CollectionLostError,
    CollectionNotFoundError,
    InputError,
    RunStateError,
    StudentError,
)
from keydistill.files import private_mode, replace_json, whole_folder
from keydistill.ingest.aliases import AliasHistory, alone
from keydistill.progress import NO_PROGRESS, Progress
from keydistill.runs import (
    RESTORE_MARK,
    AliasChange,
    ReindexRun,
    Run,
    RunStore,
    open_shared_store,
    remember_installation,
)
from keydistill.settings import Settings
from keydistill.vectorstore import Engine, check_alias_owner


@dataclass(frozen=True, slots=True)
class RestorePlan:
    """What a restore does.

    Attributes:
        backup: Id of the backup.
        present: What is here already, in words; empty for an empty installation.
        make: Points of the collections to make.
        keep: Collections that are here already, each with how they relate to those of the backup.
        point: Aliases to set, each with what it names now and will name.
        stored_anew: Collections that are made without a setting of theirs, each with why this engine cannot do it.
    """

    backup: str
    present: tuple[str, ...]
    make: Mapping[str, int]
    keep: Mapping[str, str]
    point: Mapping[str, tuple[str | None, str]]
    stored_anew: Mapping[str, list[str]]


class Restoring:
    """Restores one backup into the installation of the settings."""

    def __init__(
        self,
        settings: Settings,
        engine: Engine,
        store: RunStore,
        archive: Archive,
        manifest: Manifest,
        progress: Progress = NO_PROGRESS,
    ) -> None:
        self._settings = settings
        self._engine = engine
        self._store = store
        self._archive = archive
        self._manifest = manifest
        self._progress = progress
        self._registry = Registry.of(settings)

    def plan(self) -> RestorePlan:
        """What `restore` would do."""
        collections = self._engine.collections()
        make: dict[str, int] = {}
        keep: dict[str, str] = {}
        for name, saved in self._manifest.collections.items():
            state = self._state_of(name, saved, collections)
            if state is None:
                make[name] = saved.points
            else:
                keep[name] = state
        aliases = self._engine.aliases()
        point = {
            alias: (aliases.get(alias), target)
            for alias, target in self._manifest.aliases.items()
            if aliases.get(alias) != target
        }
        stored_anew = {name: fitting_spec(self._engine, self._manifest.collections[name])[1] for name in make}
        return RestorePlan(
            self._manifest.id,
            self._present(collections),
            make,
            keep,
            point,
            {name: reasons for name, reasons in stored_anew.items() if reasons},
        )

    def restore(self, *, force: bool = False) -> RestorePlan:
        """Bring everything back: models, collections, snapshots, runs, log, aliases, pauses.

        A restore that was killed is taken up by the same call.

        Args:
            force: Restore although something is here: what is missing is added, what is here stays, and aliases are
                moved, which the log says.

        Returns:
            What was done.

        Raises:
            InputError: Something is here, and `force` is not set.
            StorageError: A file of the backup is missing or damaged.
        """
        with only_one(self._store):
            plan = self.plan()
            if plan.present and not force and not self._is_begun:
                raise InputError(
                    f"this installation is not empty: {', '.join(plan.present)}; restore into an empty one (--home), "
                    "or with --force, which adds what is missing, replaces nothing and moves the aliases"
                )
            # Before anything is made: what cannot be read is found out here.
            runs, history = saved_records(self._archive, self._manifest)
            self._begin()
            places = {model.source: self._restore_model(model) for model in self._manifest.models}
            self._restore_promotions()
            for name in plan.make:
                self._restore_collection(name, self._manifest.collections[name], places)
            for run_id, files in self._manifest.snapshots.items():
                self._fetch_folder(files, self._store.folder(run_id) / "snapshot")
            for name, digest in self._manifest.verdicts.items():
                if not (file := self._settings.judgments_folder / name).exists():
                    self._archive.fetch(digest, file)
            self._restore_runs(runs, places)
            self._restore_history(history)
            for alias, (before, target) in plan.point.items():
                self._point(alias, before, target)
            self._restore_pauses()
            replace_json(
                self._settings.home / "restored" / f"{self._manifest.id}-settings.json", self._manifest.settings
            )
            (self._settings.home / RESTORE_MARK).unlink()
        return plan

    @property
    def _is_begun(self) -> bool:
        try:
            return bool(json.loads((self._settings.home / RESTORE_MARK).read_bytes()) == self._manifest.id)
        except (FileNotFoundError, ValueError):
            return False

    @cached_property
    def _installation(self) -> str:
        if not (self._settings.home / "installation.json").exists():
            # A home without one becomes the one that was lost: on a server its aliases are still its own.
            remember_installation(self._settings.home, self._manifest.installation)
        return self._store.installation()

    def _begin(self) -> None:
        (self._settings.home / "tmp").mkdir(parents=True, exist_ok=True)
        replace_json(self._settings.home / RESTORE_MARK, self._manifest.id)

    def _present(self, collections: list[str]) -> tuple[str, ...]:
        """What stands in the way of a restore into an empty installation. Of a server only what has our names."""
        ours = set(collections)
        if self._engine.changes_in_place:
            ours &= {*self._manifest.collections, *self._manifest.aliases}
            ours |= set(self._engine.aliases()) & set(self._manifest.aliases)
        counts = {"runs": len(self._store.all()), "changes of aliases": len(self._store.history())}
        return tuple(
            f"{count:,} {what}" for what, count in {**counts, "collections or aliases": len(ours)}.items() if count
        )

    def _state_of(self, name: str, saved: SavedCollection, collections: list[str]) -> str | None:
        """Why a collection is not made: one of its name is here; None where it is to be made."""
        if name not in collections:
            return None
        try:
            info = self._engine.info(name)
        except CollectionNotFoundError:
            return None
        except CollectionLostError:
            return "lost here; drop it with `keydistill collections prune --collection`, then restore again"
        if info.state == "building":
            return None if self._is_begun else "it is being built here"
        return "the same points" if content_key(info) == saved.key else "other points than in the backup; they stay"

    def _restore_collection(self, name: str, saved: SavedCollection, places: Mapping[str, str]) -> None:
        if name in self._engine.collections():
            self._engine.drop(name)  # what a restore of this backup that was killed has left
        metadata = {**saved.metadata, "installation": self._installation}
        if "student" in metadata:
            metadata["student"] = places.get(metadata["student"], metadata["student"])
        self._progress.start(f"restore {name}", saved.points, "points")
        put_points(
            self._engine,
            name,
            replace(saved, metadata=metadata),
            self._archive,
            self._settings.home / "tmp",
            self._settings.upsert_batch,
            self._progress,
        )

    def _restore_model(self, model: SavedModel) -> str:
        """The folder of a model here."""
        if model.place is not None:
            folder = self._registry.root / model.place
        elif _is_version(model.source, model.version):
            return model.source
        else:
            # The last part of the path is part of a student's version.
            folder = self._settings.home / "students" / str(model.version) / Path(model.source).name
        self._fetch_folder(model.files, folder, private_mode(0o444))
        return str(folder)

    def _fetch_folder(self, files: Mapping[str, str], folder: Path, mode: int | None = None) -> None:
        if folder.is_dir() and any(folder.iterdir()):
            return
        folder.parent.mkdir(parents=True, exist_ok=True)
        with whole_folder(folder) as draft:
            self._archive.fetch_folder(files, draft)
            for file in draft.rglob("*"):
                if mode is not None and file.is_file():
                    file.chmod(mode)

    def _restore_promotions(self) -> None:
        for kind in MODEL_KINDS:
            pointer, digest = self._registry.pointer(kind), self._manifest.promotions.get(kind)
            if digest is not None and not pointer.exists():
                replace_json(pointer, json.loads(self._archive.contents(digest)))

    def _restore_runs(self, runs: list[Run], places: Mapping[str, str]) -> None:
        present = {run.id for run in self._store.all()}
        for run in runs:
            if run.id in present:
                continue
            if isinstance(run, ReindexRun):
                run = replace(run, student=places.get(run.student, run.student))
            try:
                self._store.add(at_rest(run, self._manifest.id))
            except RunStateError:
                continue  # a record that cannot be read has this id, and stays
        for run_id, digest in self._manifest.unreadable.items():
            record = self._store.folder(run_id) / "run.json"
            if run_id not in present and not record.exists():
                self._archive.fetch(digest, record)

    def _restore_history(self, changes: list[AliasChange]) -> None:
        """Add the lines that are missing at the end; a log that went another way stays as it is."""
        present = self._store.history()
        if changes[: len(present)] == present:
            for change in changes[len(present) :]:
                self._store.note(change)

    def _point(self, alias: str, before: str | None, target: str) -> None:
        if not self._settings.take_over:
            check_alias_owner(self._engine, alias, self._installation)
        history = AliasHistory(self._engine, self._store, alias)
        with alone(self._store, alias, LEASE) as lease:
            if before is not None:
                history.check_may_move()
            self._engine.swap_alias(alias, target, before, lease.check)
            if before is not None:
                owner = history.owner_of(target)
                run_id = None if owner is None else owner.id
                why = f"restored from backup {self._manifest.id}"
                self._store.note(AliasChange.made("swap", alias, before, target, why=why, run=run_id))

    def _restore_pauses(self) -> None:
        if self._settings.redis_url is not None:
            for name in self._manifest.paused:
                open_shared_store(self._settings).schedules.pause(name)


def _is_version(source: str, version: str | None) -> bool:
    try:
        found = StudentFiles.find(source).version
    except StudentError:
        return False
    return version is not None and found == version
