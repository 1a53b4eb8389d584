"""Waiting for a lease that others hold for a request or two."""

import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager

from keydistill.errors import RunBusyError
from keydistill.runs import Lease, RunStore

_PATIENCE_SECONDS = 30.0


@contextmanager
def alone(store: RunStore, alias: str, run_id: str) -> Iterator[Lease]:
    """The lease under which an alias is changed; a change that is under way is waited for.

    Raises:
        RunBusyError: The change under way does not end.
    """
    with patiently(store, alias_lease(alias), run_id) as lease:
        yield lease


def alias_lease(alias: str) -> str:
    """Name of the lease under which an alias is changed."""
    return f"alias:{alias}"


@contextmanager
def patiently(store: RunStore, name: str, run_id: str) -> Iterator[Lease]:
    """A lease of any name, waited for while somebody else holds it.

    Raises:
        RunBusyError: Its holder does not let go.
    """
    deadline = time.monotonic() + _PATIENCE_SECONDS
    with ExitStack() as stack:
        while True:
            try:
                lease = stack.enter_context(store.lease(name, run_id))
                break
            except RunBusyError:
                if time.monotonic() > deadline:
                    raise
                time.sleep(0.1)
        yield lease
