"""Optimising one embedded shard, in a process of its own.

`EdgeShard.optimize` keeps the interpreter lock for minutes, so it gets a process in which nothing else waits for it.
Killing that process loses nothing: the next start finds the shard as it was.
"""

import os
import subprocess
import sys
from pathlib import Path

from keydistill.errors import VectorStoreError

_SCRIPT = Path(__file__).with_name("optimize_shard.py")


def optimize_in_child(folder: Path) -> None:
    """Optimise the closed shard in `folder` in a child process and wait for it; the child dies with the caller.

    Raises:
        VectorStoreError: The child failed; the message has its last line.
    """
    child = subprocess.Popen(
        # -P: beside the script stand modules with the names of the standard library's.
        [sys.executable, "-P", str(_SCRIPT), str(folder)],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(path for path in sys.path if path)},
        # Its own session, so that Ctrl-C reaches us alone: the child could not react to it anyway.
        start_new_session=True,
    )
    try:
        _, output = child.communicate()
    except BaseException:
        child.kill()
        child.wait()
        raise
    if child.returncode != 0:
        lines = output.strip().splitlines() or [f"exit status {child.returncode}"]
        raise VectorStoreError(
            f"optimising {folder.name} failed: {lines[-1]}; check free disk space and memory, then resume the run"
        )
