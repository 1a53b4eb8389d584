"""The installation that is looked at: its parts, each opened when a check first asks for it."""

import shutil
import time
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

from keydistill.runs import RunStore, SharedRunStore, Sign, open_shared_store, open_store, redis_clock, redis_version
from keydistill.settings import Settings, present_config_file
from keydistill.vectorstore import CollectionInfo, Engine, open_engine


@dataclass
class Patient:
    """An installation, and what of the machine a test may replace.

    Attributes:
        settings: Settings in force; what does not answer is not waited for.
    """

    settings: Settings
    _opened: list[Engine] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.settings = self.settings.model_copy(
            update={"qdrant_retries": 0, "qdrant_timeout_seconds": min(2, self.settings.qdrant_timeout_seconds)}
        )

    @cached_property
    def engine(self) -> Engine:
        """The engine; raises EngineUnavailableError where it does not answer."""
        engine = open_engine(self.settings, left_in_files=True)
        self._opened.append(engine)
        return engine

    @cached_property
    def store(self) -> RunStore:
        """The store of runs."""
        return open_store(self.settings)

    @cached_property
    def shared_store(self) -> SharedRunStore:
        """The store of runs in Redis."""
        return open_shared_store(self.settings)

    @cached_property
    def signs(self) -> list[Sign]:
        """Signs of life of workers and beats."""
        from keydistill.execution import signs_of

        return signs_of(self.settings)

    @cached_property
    def live(self) -> CollectionInfo | None:
        """The live collection, where there is one."""
        target = self.engine.aliases().get(self.settings.alias)
        return None if target is None else self.engine.info(target)

    def free_bytes(self, folder: Path) -> int:
        """Free bytes of the disk that holds a folder, or that is to hold it."""
        while not folder.exists():
            folder = folder.parent
        return shutil.disk_usage(folder).free

    def free_memory(self) -> int | None:
        """Bytes of memory that are to be had; None where the system does not say."""
        try:
            lines = Path("/proc/meminfo").read_text().splitlines()
        except OSError:
            return None
        available = [line.split()[1] for line in lines if line.startswith("MemAvailable")]
        return 1_024 * int(available[0]) if available else None

    def clock_skew(self) -> float:
        """Seconds that the clock of Redis is ahead of ours, of which the journey is less than a few hundredths."""
        before = time.time()
        theirs = redis_clock(self.settings)
        return theirs - (before + time.time()) / 2

    def config_file(self) -> Path | None:
        """The file of the settings, if there is one."""
        return present_config_file()

    def redis_version(self) -> str:
        """Version of Redis."""
        return redis_version(self.settings)

    def close(self) -> None:
        """Let go of what was opened."""
        for engine in self._opened:
            engine.close()
