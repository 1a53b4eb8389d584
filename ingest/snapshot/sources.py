"""Where the student and the snapshot of a run are on this machine."""

from collections.abc import Callable
from pathlib import Path

from keydistill.encoders import Student, StudentFiles, student_of
from keydistill.errors import StudentMismatchError
from keydistill.ingest.snapshot.snapshot import Snapshot
from keydistill.runs import ReindexRun, RunStore
from keydistill.settings import Settings


class RunSources:
    """Students and snapshots of runs; workers pass functions that find them in their own way."""

    def __init__(
        self,
        settings: Settings,
        store: RunStore,
        *,
        student_source: Callable[[ReindexRun], str] | None = None,
        snapshot_folder: Callable[[str], Path] | None = None,
        publish_snapshot: Callable[[str], None] | None = None,
    ) -> None:
        """Sources of which nothing is loaded yet.

        Args:
            settings: Settings of this machine.
            store: Store with the runs' folders.
            student_source: Function from a run to the place of its student on this machine; None takes what the record
                says.
            snapshot_folder: Function from the id of a run to the folder of its complete snapshot on this machine; None
                takes the run's folder in the store.
            publish_snapshot: Function that puts the snapshot that a run of this id has just made where other machines
                find it.
        """
        self._settings = settings
        self._student_source = student_source or (lambda run: run.student)
        self._snapshot_folder = snapshot_folder or (lambda run_id: store.folder(run_id) / "snapshot")
        self.publish_snapshot = publish_snapshot or (lambda run_id: None)
        self._student: Student | None = None

    def files_of(self, run: ReindexRun) -> StudentFiles:
        """The files of the run's student.

        Raises:
            StudentMismatchError: The files are no longer those that the run began with.
        """
        files = StudentFiles.find(self._student_source(run), dimension=run.dimension)
        if files.version != run.student_version:
            raise StudentMismatchError(
                f"run {run.id} began with student {run.student_version}, {run.student} is {files.version} now; "
                "put the old one back, or start a new run"
            )
        return files

    def student_of(self, run: ReindexRun) -> Student:
        """The run's student, loaded; it stays loaded until another run's student is asked for.

        Raises:
            StudentMismatchError: The student is no longer the one that the run began with.
        """
        if self._student is None or self._student.version != run.student_version:
            source = self.files_of(run).source
            self._student = student_of(self._settings, source, dimension=run.dimension)
        return self._student

    def snapshot(self, run_id: str) -> Snapshot:
        """The snapshot that the run of this id made.

        Raises:
            InputError: The snapshot is missing or incomplete.
        """
        return Snapshot.open(self._snapshot_folder(run_id))
