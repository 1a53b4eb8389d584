"""Where the parts of a run are on this machine: its student, loaded once, and its snapshot."""

from collections.abc import Callable
from pathlib import Path

from keydistill.encoders import Student, StudentFiles, student_of
from keydistill.errors import StudentMismatchError
from keydistill.ingest.snapshot.snapshot import Snapshot
from keydistill.runs import ReindexRun, RunStore
from keydistill.settings import Settings


class RunSources:
    """Students and snapshots of runs; workers give their own ways to come by them."""

    def __init__(
        self,
        settings: Settings,
        store: RunStore,
        *,
        student_source: Callable[[ReindexRun], str] | None = None,
        snapshot_folder: Callable[[str], Path] | None = None,
        publish_snapshot: Callable[[str], None] | None = None,
    ) -> None:
        """Say where things are; nothing is loaded yet.

        Args:
            settings: Those of this machine.
            store: Has the runs' folders.
            student_source: Where a run's student is on this machine; None takes what the record says.
            snapshot_folder: Where the complete snapshot of a run of this id is on this machine; None takes the run's
                folder in the store.
            publish_snapshot: Puts the snapshot that a run of this id has just made where other machines find it.
        """
        self._settings = settings
        self._student_source = student_source or (lambda run: run.student)
        self._snapshot_folder = snapshot_folder or (lambda run_id: store.folder(run_id) / "snapshot")
        self.publish_snapshot = publish_snapshot or (lambda run_id: None)
        self._student: Student | None = None

    def files_of(self, run: ReindexRun) -> StudentFiles:
        """The files of the run's student.

        Raises:
            StudentMismatchError: They are no longer those that the run began with.
        """
        files = StudentFiles.find(self._student_source(run), dimension=run.dimension)
        if files.version != run.student_version:
            raise StudentMismatchError(
                f"run {run.id} began with student {run.student_version}, {run.student} is {files.version} now; "
                "put the old one back, or start a new run"
            )
        return files

    def student_of(self, run: ReindexRun) -> Student:
        """The run's student, loaded; the last one is kept.

        Raises:
            StudentMismatchError: It is no longer the one that the run began with.
        """
        if self._student is None or self._student.version != run.student_version:
            source = self.files_of(run).source
            self._student = student_of(self._settings, source, dimension=run.dimension)
        return self._student

    def snapshot(self, run_id: str) -> Snapshot:
        """The snapshot that the run of this id made.

        Raises:
            InputError: It is not there, or not whole.
        """
        return Snapshot.open(self._snapshot_folder(run_id))
