"""This machine's copies of what a run works with: its student and its snapshot."""

from functools import partial
from pathlib import Path

from keydistill.errors import StudentMismatchError
from keydistill.ingest.snapshot import RunSources
from keydistill.runs import ReindexRun, RunStore
from keydistill.settings import Settings
from keydistill.storage import SharedStorage, local_student, share_student, shared_storage


def student_folder(run: ReindexRun, settings: Settings, shared: SharedStorage | None) -> str:
    """The place to load the run's student from on this machine: the one in the record, or a checked copy of it.

    Raises:
        StudentMismatchError: Neither has the version that the run began with.
        StorageError: The shared storage cannot be read.
    """
    try:
        return local_student(run.student, run.dimension, run.student_version, settings.home, shared)
    except StudentMismatchError as error:
        raise StudentMismatchError(f"run {run.id} began with {error}") from None


def snapshot_folder(run_id: str, settings: Settings, shared: SharedStorage | None) -> Path:
    """The folder of a run's snapshot on this machine: the one that was made here, or a checked copy.

    Raises:
        StorageError: The shared storage cannot be read, or has no such snapshot.
    """
    folder = settings.home / "runs" / run_id / "snapshot"
    if shared is not None and not folder.exists():
        shared.fetch_folder(f"snapshots/{run_id}", folder)
    return folder


def shared_sources(settings: Settings, store: RunStore) -> RunSources:
    """Students and snapshots of runs, from this machine or from the shared storage of the settings, if there is one."""
    shared = shared_storage(settings)

    def publish(run_id: str) -> None:
        if shared is None:
            return
        shared.put_folder(store.folder(run_id) / "snapshot", f"snapshots/{run_id}")
        run = store.load(run_id)
        if isinstance(run, ReindexRun):
            # An ordered run has shared its student already; services that follow the alias need it in any case.
            share_student(shared, run.student, run.student_version)

    return RunSources(
        settings,
        store,
        student_source=partial(student_folder, settings=settings, shared=shared),
        snapshot_folder=partial(snapshot_folder, settings=settings, shared=shared),
        publish_snapshot=publish,
    )
