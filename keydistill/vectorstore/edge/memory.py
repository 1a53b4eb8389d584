"""Memory that the engine has freed."""

import ctypes
from collections.abc import Callable
from functools import cache


def return_freed_memory() -> None:
    """Give back to the system what the allocator keeps of freed memory, where it can be asked to.

    A shard takes millions of small blocks, a few hundred bytes for each point that is written. glibc keeps what lies
    below a block that is still in use (https://man7.org/linux/man-pages/man3/malloc_trim.3.html): after ten million
    points were written it kept 4 GB, while a child process optimised them and could have had that memory.
    """
    trim = _trim()
    if trim is not None:
        trim(0)


@cache
def _trim() -> Callable[[int], int] | None:
    # Other libraries of C have no such function.
    return getattr(ctypes.CDLL(None), "malloc_trim", None)
