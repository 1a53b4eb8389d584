"""Starts and stops `keydistill serve` as a process of its own, as a user does."""

import json
import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any, Self
from urllib.request import urlopen

from tests.support.places import ROOT

PATIENCE_SECONDS = 60.0


class ServiceProcess:
    """A running service; `url` is its address, `log` the objects that it logged. Leaving the block ends it."""

    def __init__(self, home: Path, *options: str, ready: bool = True, **variables: str) -> None:
        """Start it on a free port, and wait until it is ready.

        Args:
            home: Folder of its collections.
            options: Options of the command.
            ready: Whether to wait until it is ready.
            variables: Settings, without their prefix.
        """
        environment = {name: value for name, value in os.environ.items() if not name.startswith("KEYDISTILL_")}
        settings = {"home": str(home), "runtime": "numpy", "serve_port": "0", **variables}
        self.process = subprocess.Popen(
            [sys.executable, "-m", "keydistill.cli.main", "serve", *options],
            env={
                **environment,
                "PYTHONPATH": str(ROOT),
                "HF_HUB_OFFLINE": "1",
                **{f"KEYDISTILL_{name.upper()}": value for name, value in settings.items()},
            },
            stderr=subprocess.PIPE,
            text=True,
        )
        self.log: list[dict[str, Any]] = []
        self.lines: list[str] = []
        self._listening = threading.Event()
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()
        try:
            if not self._listening.wait(PATIENCE_SECONDS) or not self.url:
                raise RuntimeError(f"the service did not start: {''.join(self.lines[-5:])}")
            if ready:
                self.wait_until_ready()
        except BaseException:
            self.end(signal.SIGKILL)
            raise

    url = ""

    def wait_until_ready(self) -> None:
        until = time.monotonic() + PATIENCE_SECONDS
        while not self.is_ready():
            if time.monotonic() > until or self.process.poll() is not None:
                raise RuntimeError(f"the service is not ready: {''.join(self.lines[-5:])}")
            time.sleep(0.05)

    def is_ready(self) -> bool:
        """Whether `/readyz` says so, over http."""
        try:
            with urlopen(f"{self.url}/readyz", timeout=10) as answer:
                return bool(answer.status == 200)
        except OSError:  # also a status that says no
            return False

    def requests(self) -> list[dict[str, Any]]:
        """What it logged of requests."""
        return [line for line in self.log if line["message"] == "request"]

    def end(self, number: int = signal.SIGTERM) -> int:
        """Send a signal, wait for the end, and return the status."""
        if self.process.poll() is None:
            self.process.send_signal(number)
        status = self.process.wait(timeout=PATIENCE_SECONDS)
        self._reader.join(PATIENCE_SECONDS)
        assert self.process.stderr is not None
        self.process.stderr.close()
        return status

    def _read(self) -> None:
        assert self.process.stderr is not None
        for line in self.process.stderr:
            self.lines.append(line)
            try:
                entry = json.loads(line)
            except ValueError:
                continue
            self.log.append(entry)
            if entry.get("message") == "listening":
                self.url = entry["url"]
                self._listening.set()
        self._listening.set()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.end()
