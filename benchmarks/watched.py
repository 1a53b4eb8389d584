"""Commands of the product in processes of their own, and the memory of processes."""

import os
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from keydistill.capacity.parts import optimisers_of, own_memory


def watched(
    arguments: list[str],
    environment: dict[str, str],
    look: Callable[[], None] = lambda: None,
    *,
    module: bool = False,
    may_fail: bool = False,
) -> dict[str, Any]:
    """What a command prints, its seconds, and the peaks of its memory and of its children's, in bytes."""
    program = arguments if module else ["-m", "keydistill.cli.main", *arguments]
    began = time.perf_counter()
    with tempfile.TemporaryFile() as output:
        process = subprocess.Popen(
            [sys.executable, *program], stdout=output, env={**os.environ, "HF_HUB_OFFLINE": "1", **environment}
        )
        peaks: dict[str, int] = {}
        ended = threading.Event()

        def watch_disk() -> None:
            while not ended.wait(1.0):
                look()

        watcher = threading.Thread(target=watch_disk)
        watcher.start()
        try:
            while process.poll() is None:
                _note(peaks, "command", process.pid)
                for child in optimisers_of(process.pid):
                    _note(peaks, "optimiser", child)
                time.sleep(0.2)
        finally:
            process.kill()
            ended.set()
            watcher.join()
        if process.returncode != 0 and not may_fail:
            raise SystemExit(f"{' '.join(arguments)} failed")
        output.seek(0)
        return {"seconds": time.perf_counter() - began, "peaks": peaks, "output": output.read().decode()}


def own_mb(pid: int) -> float:
    """Memory of a process that is no pages of files, in MB of 1,000 kB as the kernel counts them."""
    return own_memory(pid) / 1_024_000


def _note(peaks: dict[str, int], name: str, pid: int) -> None:
    """Raise the peaks of a process: all that is resident, and the part that is not pages of files.

    Pages of files are what the kernel takes back first when memory is short.
    """
    try:
        lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    except (FileNotFoundError, ProcessLookupError):
        return
    status = dict(line.split(":", 1) for line in lines if ":" in line)
    for field, what in (("VmRSS", "resident"), ("RssAnon", "anonymous")):
        if field in status:
            key = f"{name} {what}"
            peaks[key] = max(peaks.get(key, 0), int(status[field].split()[0]) * 1024)
