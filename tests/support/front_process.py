"""Starts and stops the REST front as a process of its own."""

import json
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any, Self
from urllib.request import Request, urlopen

from tests.support.places import ROOT
from tests.support.ports import free_port


class FrontProcess:
    """A running front; `url` is its address. Leaving the block stops it and removes what it held."""

    def __init__(self, folder: Path, *options: str) -> None:
        self.folder = folder
        self._options = options
        self._port = free_port()
        self._process: subprocess.Popen[str] | None = None
        self.start()

    def restart(self, *options: str) -> None:
        """Start it again with other options, on the same port and folder."""
        self.stop()
        self._options = options
        self.start()

    def start(self) -> None:
        """Start it, after a stop on the same port and folder."""
        self._process = subprocess.Popen(
            [
                *(sys.executable, "-m", "tests.support.rest_front", "--folder", str(self.folder)),
                *("--port", str(self._port), "--end-with-stdin", *self._options),
            ],
            cwd=ROOT,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        assert self._process.stdout is not None
        self.url = self._process.stdout.readline().strip()
        if not self.url:
            raise RuntimeError(f"the REST front ended with code {self._process.wait()}; its error stands above")

    def stop(self, *, kill: bool = False) -> None:
        """End the process: politely, or as a power cut would."""
        process, self._process = self._process, None
        if process is None:
            return
        if kill:
            process.kill()
        assert process.stdin is not None
        assert process.stdout is not None
        process.stdin.close()
        try:
            process.wait(timeout=20)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
        process.stdout.close()

    def remove(self) -> None:
        """End the process, and remove what it held: shards begin with files of many megabytes."""
        self.stop()
        shutil.rmtree(self.folder, ignore_errors=True)

    def fault(self, **fields: Any) -> None:
        """Order a fault, see `tests.support.faults.Fault`."""
        self._order("POST", "/_front/faults", fields)

    def faults(self) -> list[dict[str, Any]]:
        """What is ordered, with how often it was seen and done."""
        found: list[dict[str, Any]] = self._order("GET", "/_front/faults")["faults"]
        return found

    def no_faults(self) -> None:
        """End all faults, and the waits that they cause."""
        self._order("DELETE", "/_front/faults")

    def delete_amid_query(self, name: str, ids: list[str]) -> None:
        """Delete these points between the two halves of a collection's next query."""
        self._order("POST", "/_front/amid", {"name": name, "ids": ids})

    def lag(self, seconds: float) -> None:
        """Have the last of several nodes learn so late of changes; what was changed before, all know at once."""
        self._order("POST", "/_front/lag", {"seconds": seconds})

    def requests(self) -> list[dict[str, Any]]:
        """What was asked since the last `forget_requests`."""
        found: list[dict[str, Any]] = self._order("GET", "/_front/requests")["requests"]
        return found

    def forget_requests(self) -> None:
        self._order("DELETE", "/_front/requests")

    def _order(self, method: str, path: str, body: Any = None) -> Any:
        data = None if body is None else json.dumps(body).encode()
        with urlopen(Request(self.url + path, data=data, method=method), timeout=20) as answer:
            return json.load(answer)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.remove()
