"""This machine's copies of what a run works with: its student and its snapshot."""

from functools import partial
from pathlib import Path

from encoders import StudentFiles
from errors import StudentError, StudentMismatchError
from ingest import RunSources
from runs import ReindexRun, RunStore
from settings import Settings
from workers.shared_storage import SharedStorage


def student_folder(run: ReindexRun, settings: Settings, shared: SharedStorage | None) -> str:
    """What the run's student is loaded from here: what the record says, or a checked copy of it.

    Raises:
        StudentMismatchError: Neither is there in the version that the run began with.
        StorageError: The shared storage cannot be read.
    """
    try:
        found = StudentFiles.find(run.student, dimension=run.dimension).version
    except StudentError as error:
        found = str(error)
    if found == run.student_version:
        return run.student
    name = f"students/{run.student_version}"
    if shared is None or not shared.has(name):
        raise StudentMismatchError(
            f"run {run.id} began with student {run.student_version}, {run.student} here is: {found}; put that one "
            "there, or set `shared` so that workers on other machines get it"
        )
    # The last part of the path is part of the version.
    target = settings.home / "cache" / name / Path(run.student).name
    shared.fetch_folder(name, target)
    return str(target)


def snapshot_folder(run_id: str, settings: Settings, shared: SharedStorage | None) -> Path:
    """A run's snapshot here: the one that was made here, or a checked copy.

    Raises:
        StorageError: The shared storage cannot be read, or has none.
    """
    folder = settings.home / "runs" / run_id / "snapshot"
    if shared is not None and not folder.exists():
        shared.fetch_folder(f"snapshots/{run_id}", folder)
    return folder


def shared_sources(settings: Settings, store: RunStore) -> RunSources:
    """Students and snapshots of runs, from this machine or from the shared storage of the settings, if there is one."""
    shared = None if settings.shared is None else SharedStorage(settings.shared, settings.home)

    def publish(run_id: str) -> None:
        if shared is not None:
            shared.put_folder(store.folder(run_id) / "snapshot", f"snapshots/{run_id}")

    return RunSources(
        settings,
        store,
        student_source=partial(student_folder, settings=settings, shared=shared),
        snapshot_folder=partial(snapshot_folder, settings=settings, shared=shared),
        publish_snapshot=publish,
    )
