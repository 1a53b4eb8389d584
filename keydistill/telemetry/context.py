"""What the work at hand is about, for every line that is logged meanwhile, by whichever module."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar

_Value = str | int
_present: ContextVar[Mapping[str, _Value]] = ContextVar("keydistill_log_context")


@contextmanager
def log_context(
    *,
    run_id: str | None = None,
    part: int | None = None,
    alias: str | None = None,
    generation: str | None = None,
    request_id: str | None = None,
) -> Iterator[None]:
    """Put these fields into the lines that the block logs; None leaves what surrounds the block.

    A thread has none of it unless it is started with a copy of the context (`contextvars.copy_context`).

    Args:
        run_id: Run that is worked on.
        part: Part of it.
        alias: Alias that it is about.
        generation: Collection that is built or asked.
        request_id: Request that is answered.
    """
    given = {"run_id": run_id, "part": part, "alias": alias, "generation": generation, "request_id": request_id}
    token = _present.set({**present_context(), **{name: value for name, value in given.items() if value is not None}})
    try:
        yield
    finally:
        _present.reset(token)


def begin_log_context(*, run_id: str | None = None, part: int | None = None) -> None:
    """Put these fields into the lines of this thread from now on, in place of all others: where no block can stand."""
    given = {"run_id": run_id, "part": part}
    _present.set({name: value for name, value in given.items() if value is not None})


def present_context() -> Mapping[str, _Value]:
    """The fields of the blocks around the caller."""
    return _present.get({})
