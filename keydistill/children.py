"""Processes that we start, and that must not outlive us."""

import ctypes
import signal
import sys

_PR_SET_PDEATHSIG = 1


def die_with_parent() -> None:
    """Have the kernel kill this process when the one that started it is killed; on Linux only (prctl(2)).

    A caller that is killed can stop nothing, and what it started would go on with work that another does by then.
    """
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
