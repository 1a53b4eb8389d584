"""Where the student and the snapshot of a run are on this machine."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from contextvars import copy_context
from pathlib import Path
from threading import Thread

from keydistill.encoders import Student, StudentFiles, student_of
from keydistill.errors import KeydistillError, StudentMismatchError
from keydistill.ingest.snapshot.snapshot import Snapshot
from keydistill.runs import ReindexRun, RunStore
from keydistill.settings import Settings

# Bytes of a row in a file, rather too many, and rows from which the student is loaded beside the reading of them.
_ROW_BYTES = 100
_MANY_ROWS = 20_000


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
        self._loaded_for: int | None = None

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

    def student_of(self, run: ReindexRun, texts: int | None = None) -> Student:
        """The run's student, loaded; it stays loaded until another run's student is asked for, or for more texts.

        Args:
            run: The run.
            texts: Number of texts that it is to embed, roughly, by which the runtime "auto" chooses; None if nobody
                knows.

        Raises:
            StudentMismatchError: The student is no longer the one that the run began with.
        """
        # An estimate may be off by half, which decides nothing.
        serves_as_many = self._loaded_for is None or (texts is not None and texts <= 2 * self._loaded_for)
        if self._student is None or self._student.version != run.student_version or not serves_as_many:
            files = self.files_of(run)
            # What reads keyphrases with a table leaves only the gate's items to the runtime.
            read = texts if files.layout.keyphrases is None else self._settings.gate_sample
            self._student = student_of(self._settings, files.source, dimension=run.dimension, texts=read)
            self._loaded_for = texts
        return self._student

    @contextmanager
    def student_beside(self, run: ReindexRun) -> Iterator[None]:
        """Load the student of a run, and export it if that pays, while the block reads the run's inventory.

        Only where the files are large: otherwise it pays for few students, and the rows are known in a moment.
        """
        rows = sum(Path(file).stat().st_size for file in run.files if Path(file).is_file()) // _ROW_BYTES
        if rows < _MANY_ROWS or run.executor != "local":
            yield
            return

        def load() -> None:
            # What is wrong with the student is told where it is needed.
            with suppress(KeydistillError):
                self.student_of(run, rows)

        beside = Thread(target=copy_context().run, args=(load,), name="student")
        beside.start()
        try:
            yield
        finally:
            beside.join()

    def snapshot(self, run_id: str) -> Snapshot:
        """The snapshot that the run of this id made.

        Raises:
            InputError: The snapshot is missing or incomplete.
        """
        return Snapshot.open(self._snapshot_folder(run_id))
