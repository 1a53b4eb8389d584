"""Cache of the judgments that were paid for, in one SQLite file that several processes may share."""

import sqlite3
import time
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import Self

from keydistill.encoders.judge import Judgment
from keydistill.errors import StorageError

# The table's own version, in case it ever changes.
_VERSION = 1
_BUSY_SECONDS = 60.0

Label = tuple[bool, float | None]


class JudgmentCache:
    """A cache from the key of a judge and a pair to label and probability; pairs without a label are not kept.

    Each judgment is written at once: a process that is killed loses none that it put here. (A machine that loses its
    power may lose the last few, which are then asked for again.)

    Args:
        path: File of the cache, which is made where it is missing; None keeps judgments in memory.

    Raises:
        StorageError: It cannot be opened, or is no cache.
    """

    def __init__(self, path: Path | None) -> None:
        self._path = path
        try:
            if path is not None:
                path.parent.mkdir(parents=True, exist_ok=True)
            # Autocommit: every statement is a transaction of its own.
            self._database = sqlite3.connect(path or ":memory:", timeout=_BUSY_SECONDS, isolation_level=None)
        except (OSError, sqlite3.Error) as error:
            raise self._failure(error) from None
        try:
            # Readers and a writer do not wait for each other: https://sqlite.org/wal.html
            self._database.execute("PRAGMA journal_mode = WAL")
            self._database.execute("PRAGMA synchronous = NORMAL")
            (version,) = self._database.execute("PRAGMA user_version").fetchone()
            if version not in (0, _VERSION):
                raise StorageError(f"cache {path} is of version {version}, expected {_VERSION}; name another file")
            self._database.execute(
                "CREATE TABLE IF NOT EXISTS judgments (key BLOB PRIMARY KEY, label INTEGER NOT NULL, probability REAL, "
                "judge TEXT NOT NULL, prompt_version TEXT NOT NULL, judged_at REAL NOT NULL) WITHOUT ROWID"
            )
            self._database.execute(f"PRAGMA user_version = {_VERSION}")
        except (sqlite3.Error, StorageError) as error:
            self._database.close()
            raise error if isinstance(error, StorageError) else self._failure(error) from None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def get(self, key: bytes) -> Label | None:
        """Label and probability of a pair, None where the pair was not judged.

        Raises:
            StorageError: The file cannot be read.
        """
        try:
            row = self._database.execute("SELECT label, probability FROM judgments WHERE key = ?", (key,)).fetchone()
        except sqlite3.Error as error:
            raise self._failure(error) from None
        return None if row is None else (bool(row[0]), row[1])

    def put(self, key: bytes, judgment: Judgment, judge: str, prompt_version: str) -> None:
        """Keep a judgment that has a label; one that is there already stays.

        Raises:
            StorageError: The file cannot be written.
        """
        row = (key, judgment.label, judgment.probability, judge, prompt_version, time.time())
        try:
            self._database.execute("INSERT OR IGNORE INTO judgments VALUES (?, ?, ?, ?, ?, ?)", row)
        except sqlite3.Error as error:
            raise self._failure(error) from None

    def counts(self) -> Mapping[tuple[str, str], int]:
        """Number of judgments of each judge and prompt version."""
        rows = self._database.execute(
            "SELECT judge, prompt_version, count(*) FROM judgments GROUP BY judge, prompt_version ORDER BY 1, 2"
        )
        return {(judge, version): count for judge, version, count in rows}

    def close(self) -> None:
        """Close the file. Closing twice does nothing."""
        self._database.close()

    def _failure(self, error: Exception) -> StorageError:
        return StorageError(f"cache of judgments {self._path} cannot be used: {error}; name another file with --cache")
