"""Small frozen dataclasses that are stored as JSON: read in one place, checked, with one line for what is wrong."""

from collections.abc import Hashable
from functools import cache
from typing import Any, TypeVar, cast

from pydantic import TypeAdapter, ValidationError

_T = TypeVar("_T")


def read_json(kind: type[_T], text: str | bytes) -> _T:
    """What `dataclasses.asdict` gave for an object of a kind, and was written as JSON.

    Raises:
        ValueError: It is something else, in a field or as a whole; the message is one line.
    """
    try:
        return cast(_T, _reader(cast(Hashable, kind)).validate_json(text, strict=True))
    except ValidationError as error:
        raise ValueError(first_problem(error)) from None


def first_problem(error: ValidationError) -> str:
    """One line that says where JSON is not what it should be, and why."""
    first = error.errors(include_url=False, include_context=False)[0]
    place = ".".join(str(part) for part in first["loc"])
    return f"{place + ': ' if place else ''}{first['msg']}, not {repr(first['input'])[:60]}"


# Made when the first object is read: a command that reads none does not wait for it.
@cache
def _reader(kind: Any) -> TypeAdapter[Any]:
    return TypeAdapter(kind)
