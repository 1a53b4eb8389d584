"""Redis, the REST front and Celery workers, each a process of its own, as operations would run them."""

import os
import signal
import subprocess
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

from keydistill.runs import Run, open_store
from keydistill.runs.redis_store import RedisRunStore
from keydistill.settings import Settings, load_settings
from keydistill.vectorstore.server.engine import ServerEngine
from tests.support.front_process import FrontProcess
from tests.support.places import ROOT
from tests.support.redis_server import RedisServer
from tests.support.warm_processes import WarmProcess, warm_command


@dataclass
class Member:
    """A process of the cluster and all its children."""

    name: str
    command: list[str]
    environment: dict[str, str]
    log: Path
    process: WarmProcess | None = None

    def start(self) -> Self:
        if self.process is None or self.process.poll() is not None:
            self.process = WarmProcess(self.command, self.environment, self.log)
        return self

    @property
    def pid(self) -> int:
        assert self.process is not None
        return self.process.pid

    def signal_all(self, number: int) -> None:
        """Signal the process and its children."""
        os.killpg(self.pid, number)

    def kill_children(self) -> None:
        """As the kernel would that runs out of memory."""
        children = Path(f"/proc/{self.pid}/task/{self.pid}/children").read_text().split()
        for child in children:
            os.kill(int(child), signal.SIGKILL)

    def kill(self) -> None:
        """As a power cut would."""
        assert self.process is not None
        # All of them may be gone.
        with suppress(ProcessLookupError):
            self.signal_all(signal.SIGKILL)
        self.process.wait()

    def stop(self, number: int = signal.SIGTERM, seconds: float = 30) -> None:
        """Ask it to end, and wait."""
        if self.process is None or self.process.poll() is not None:
            return
        self.process.send_signal(signal.SIGCONT)
        self.process.send_signal(number)
        try:
            self.process.wait(seconds)
        except subprocess.TimeoutExpired:
            self.kill()


class Cluster:
    """All of it; leaving the block stops every process that it started."""

    def __init__(
        self, folder: Path, student: Path, *, password: str | None = None, front: Sequence[str] = (), **settings: Any
    ) -> None:
        """Start Redis and the front; settings are those of all processes, `front` has options of the front."""
        self.folder = folder
        folder.mkdir(parents=True, exist_ok=True)
        self.redis = RedisServer(folder / "redis", password=password)
        self.front = FrontProcess(folder / "front", *front)
        self._members: dict[str, Member] = {}
        self._values = {
            "home": folder / "home",
            "student": student,
            "engine": "server",
            "qdrant_url": self.front.url,
            "redis_url": self.redis.url,
            "executor": "celery",
            "lease_seconds": 2,
            "watchdog_seconds": 1,
            # Each query of the gate meets the faults too, and waits before it is repeated.
            "gate_sample": 20,
            "part_attempts": 3,
            # What is away for longer fails, and is taken up again.
            "qdrant_patience_seconds": 0,
            "threads": 1,
            **settings,
        }
        self._app = "tests.support.crashing_app"
        self.settings: Settings = load_settings(**{name: str(value) for name, value in self._values.items()})
        self.environment = {
            **{name: value for name, value in os.environ.items() if not name.startswith("KEYDISTILL_")},
            **{f"KEYDISTILL_{name.upper()}": str(value) for name, value in self._values.items()},
            "PYTHONPATH": str(ROOT),
            "HF_HUB_OFFLINE": "1",
            "OMP_NUM_THREADS": "1",
        }
        store = open_store(self.settings)
        assert isinstance(store, RedisRunStore)
        self.store = store
        self.engine = ServerEngine(self.front.url, api_key=self.settings.qdrant_api_key)

    def worker(self, queue: str, number: int = 1) -> Member:
        """A running worker of a queue; a dead one is started again."""
        name = f"{queue}{number}"
        command = ["worker", "-Q", queue, "-P", "prefork", "-c", "1", "-n", f"{name}@%h", "--loglevel", "INFO"]
        return self._member(name, command)

    def worker_with(self, queue: str, **environment: str) -> Member:
        """A worker that has other settings than the rest."""
        member = self.worker(f"{queue}", 9)
        member.kill()
        member.environment = {**self.environment, **environment}
        return member.start()

    def beat(self, number: int = 1) -> Member:
        """A running beat."""
        return self._member(f"beat{number}", ["beat", "--loglevel", "INFO", "--max-interval", "1"])

    def command(self, *arguments: str | Path) -> WarmProcess:
        """A running command."""
        return warm_command(arguments, self.environment, self.folder / "commands")

    def keydistill(self, *arguments: str | Path) -> subprocess.CompletedProcess[str]:
        """Run a command to its end."""
        command = self.command(*arguments)
        try:
            printed, errors = command.communicate(timeout=120)
        finally:
            command.kill()
        return subprocess.CompletedProcess(list(arguments), command.wait(), printed, errors)

    def wait(self, run_id: str, until: Callable[[Any], bool], what: str, seconds: float = 90) -> Any:
        """The run, as soon as its record is as asked for."""
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline:
            run = self.store.load(run_id)
            if until(run):
                return run
            time.sleep(0.02)
        raise AssertionError(f"run never was {what}: {run}\n{self.logs()}")

    def wait_over(self, run_id: str, seconds: float = 120) -> Run:
        """The run once it is over or failed."""
        found: Run = self.wait(run_id, lambda run: run.is_over or run.state == "failed", "over", seconds)
        return found

    def wait_free(self, lease: str, seconds: float = 30) -> None:
        """Return once nobody holds a lease: whoever ends a run lets go of it a moment later."""
        deadline = time.monotonic() + seconds
        while (holder := self.store.holder(lease)) is not None:
            assert time.monotonic() < deadline, f"{holder} holds {lease}\n{self.logs()}"
            time.sleep(0.02)

    def logs(self) -> str:
        """The end of every log."""
        return "\n".join(
            f"--- {member.name}\n" + member.log.read_text(errors="replace")[-3_000:]
            for member in self._members.values()
            if member.log.exists()
        )

    def _member(self, name: str, arguments: list[str]) -> Member:
        if name not in self._members:
            command = ["celery", "-A", self._app, *arguments]
            self._members[name] = Member(name, command, self.environment, self.folder / f"{name}.log")
        return self._members[name].start()

    def terminate_members(self) -> None:
        """Ask workers and beat to end, all at once, and wait."""
        for member in self._members.values():
            if member.process is not None and member.process.poll() is None:
                member.process.send_signal(signal.SIGTERM)
        for member in self._members.values():
            member.stop()

    def restart_members(self, **environment: str) -> None:
        """End workers and beat, and start them with other variables."""
        self.terminate_members()
        self.environment.update(environment)
        for member in self._members.values():
            member.start()

    def stop_all_but_first(self) -> None:
        """Stop all but the first worker of each queue and the first beat."""
        for name, member in self._members.items():
            if not name.endswith("1"):
                member.stop()

    def stop_members(self) -> None:
        """Stop workers and beat."""
        for member in self._members.values():
            if member.process is not None and member.process.poll() is None:
                member.signal_all(signal.SIGCONT)
                member.kill()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.stop_members()
        self.engine.close()
        self.store.close()
        self.front.remove()
        self.redis.stop()
