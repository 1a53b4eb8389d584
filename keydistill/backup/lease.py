"""One backup or restore at a time: the retention of one would delete what another has just stored."""

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager

from keydistill.errors import RunBusyError
from keydistill.runs import RunStore

LEASE = "backup"


@contextmanager
def only_one(store: RunStore) -> Iterator[None]:
    """Hold the lease of backups and restores of this installation.

    Raises:
        RunBusyError: Somebody else does.
    """
    with ExitStack() as stack:
        try:
            stack.enter_context(store.lease(LEASE, LEASE))
        except RunBusyError:
            raise RunBusyError(
                "another backup or restore of this installation is under way; start again when it has ended"
            ) from None
        yield
