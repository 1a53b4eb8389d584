"""Programs in processes of their own that do not import torch once more: they are forked from one that has.

A worker that embeds takes seconds of the processor to import what it computes with, and tests start many. The server
that they are forked from has imported only modules of others, and computed nothing; each imports what is ours itself.
"""

import gc
import multiprocessing
import os
import runpy
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from multiprocessing.context import ForkServerProcess
from pathlib import Path

from tests.support.places import ROOT

_CONTEXT = multiprocessing.get_context("forkserver")
_CONTEXT.set_forkserver_preload(
    ["sentence_transformers", "duckdb", "pyarrow.parquet", "qdrant_client", "celery.bin.celery"]
)


class WarmProcess:
    """`python -m MODULE ARGUMENTS` in the root of the checkout, in a session of its own; it has the face of a `Popen`.

    What it prints goes to the end of a file; what goes to standard error, to a second one if there is one.
    """

    def __init__(
        self, arguments: Sequence[str | Path], environment: Mapping[str, str], output: Path, errors: Path | None = None
    ) -> None:
        self._output, self._errors = output, errors or output
        self._process: ForkServerProcess = _CONTEXT.Process(
            target=_run, args=([*map(str, arguments)], dict(environment), self._output, self._errors)
        )
        self._process.start()
        # As with `Popen`, its group can be signalled from now on.
        with suppress(ProcessLookupError):
            while os.getpgid(self.pid) != self.pid and self.poll() is None:
                time.sleep(0.001)

    @property
    def pid(self) -> int:
        assert self._process.pid is not None
        return self._process.pid

    @property
    def returncode(self) -> int | None:
        """The status it ended with, the number of a signal below zero; None while it runs."""
        return self._process.exitcode

    def poll(self) -> int | None:
        return self.returncode

    def wait(self, timeout: float | None = None) -> int:
        """Wait for its end.

        Raises:
            subprocess.TimeoutExpired: It has not ended after so many seconds.
        """
        self._process.join(timeout)
        status = self.returncode
        if status is None:
            raise subprocess.TimeoutExpired("a warm process", timeout or 0.0)
        return status

    def communicate(self, timeout: float | None = None) -> tuple[str, str]:
        """Wait for its end; what it printed, and what it wrote to standard error."""
        self.wait(timeout)
        return self._output.read_text(encoding="utf-8"), self._errors.read_text(encoding="utf-8")

    def send_signal(self, number: int) -> None:
        if self.poll() is None:
            os.kill(self.pid, number)

    def kill(self) -> None:
        self.send_signal(signal.SIGKILL)


def warm_command(
    arguments: Sequence[str | Path], environment: Mapping[str, str], folder: Path, module: str = "keydistill.cli.main"
) -> WarmProcess:
    """A running `keydistill ARGUMENTS`, or another module; its output goes to files in the folder."""
    folder.mkdir(parents=True, exist_ok=True)
    files = [Path(tempfile.mkstemp(dir=folder, suffix=suffix)[1]) for suffix in (".out", ".err")]
    return WarmProcess([module, *arguments], environment, *files)


def _run(arguments: Sequence[str], environment: Mapping[str, str], output: Path, errors: Path) -> None:
    os.setsid()
    # What the server has imported is no garbage.
    gc.freeze()
    flags = os.O_WRONLY | os.O_CREAT | os.O_APPEND
    for target, path, mode in ((0, os.devnull, os.O_RDONLY), (1, output, flags), (2, errors, flags)):
        opened = os.open(path, mode)
        os.dup2(opened, target)
        os.close(opened)
    # The server ignores it.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    os.environ.clear()
    os.environ.update(environment)
    os.chdir(ROOT)
    module, *rest = arguments
    sys.argv = [module, *rest]
    runpy.run_module(module, run_name="__main__", alter_sys=True)
