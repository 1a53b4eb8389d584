"""The Celery application with faults that files in `home` order: `celery -A tests.support.crashing_app`.

home/poison       holds a word; a part with it in a keyphrase kills the process that embeds it
home/disk-full    while it is there, writing a snapshot finds the disk full
"""

import errno
import os
import signal
from collections.abc import Sequence
from typing import Any

from keydistill.encoders import Student, Vectors
from keydistill.ingest.snapshot.parts import PartWriter
from keydistill.settings import load_settings
from keydistill.workers.app import app

__all__ = ["app"]

_HOME = load_settings().home
_embed = Student.embed_keyphrases
_write = PartWriter.write


def _poisoned(self: Student, keyphrases: Sequence[str], *rest: Any) -> Vectors:
    poison = _HOME / "poison"
    if poison.exists() and any(poison.read_text() in keyphrase.split() for keyphrase in keyphrases):
        os.kill(os.getpid(), signal.SIGKILL)
    return _embed(self, keyphrases, *rest)


def _full(self: PartWriter, *rest: Any) -> None:
    if (_HOME / "disk-full").exists():
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(_HOME))
    _write(self, *rest)


# By `setattr`: what stands in takes the arguments as they come.
setattr(Student, "embed_keyphrases", _poisoned)  # noqa: B010
setattr(PartWriter, "write", _full)  # noqa: B010
