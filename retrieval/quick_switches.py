"""Work beside queries that are in a hurry: threads get Python's interpreter lock from it sooner."""

import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager

_SECONDS = 0.0005

_mutex = threading.Lock()
_inside = 0
_before = 0.0


@contextmanager
def quick_switches() -> Iterator[None]:
    """For the length of the block a thread that waits for the interpreter lock waits half a millisecond for it.

    Python's own interval is 5 ms (`sys.setswitchinterval`), and a query takes the lock several times. While a thread
    loads a student, which is much Python, every query beside it would pay that each time. The interval is the whole
    process's; it is put back when the last block ends, unless somebody else has set it meanwhile.

    >>> with quick_switches():
    ...     print(f"{sys.getswitchinterval():.4f}")
    0.0005
    """
    global _inside, _before
    with _mutex:
        if _inside == 0:
            _before = sys.getswitchinterval()
            sys.setswitchinterval(min(_before, _SECONDS))
        _inside += 1
    try:
        yield
    finally:
        with _mutex:
            _inside -= 1
            if _inside == 0 and sys.getswitchinterval() < 2 * _SECONDS:
                sys.setswitchinterval(_before)
