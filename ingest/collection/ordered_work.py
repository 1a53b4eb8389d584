"""Work that another thread does in the order of the calls, one piece behind the caller."""

from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from contextvars import copy_context
from typing import ParamSpec

Arguments = ParamSpec("Arguments")


@contextmanager
def in_turn(work: Callable[Arguments, None]) -> Iterator[Callable[Arguments, None]]:
    """A function that does `work` on another thread, after waiting for the end of the previous call.

    So at most one call is under way and none waits: memory stays that of two. An error of `work` is raised by the next
    call, or at the end of the block; after it nothing more is done.

    >>> numbers = []
    >>> with in_turn(numbers.append) as put:
    ...     for number in range(3):
    ...         put(number)
    >>> numbers
    [0, 1, 2]
    """
    under_way: list[Future[None]] = []

    def put(*arguments: Arguments.args, **named: Arguments.kwargs) -> None:
        if under_way:
            under_way.pop().result()
        context = copy_context()
        under_way.append(thread.submit(lambda: context.run(work, *arguments, **named)))

    with ThreadPoolExecutor(1, thread_name_prefix="in-turn") as thread:
        yield put
        if under_way:
            under_way.pop().result()
