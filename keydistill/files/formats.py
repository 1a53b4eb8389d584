"""Numbers of the formats in which records stand on the disk: what a newer keydistill wrote is named and left alone."""

from collections.abc import Mapping
from typing import Any

_FORMAT = "format"
_WRITER = "written_by"


class NewerFormatError(ValueError):
    """A newer keydistill wrote it; the text goes on from the name of the file: "was written by ..."."""


def stamped(format_number: int, values: Mapping[str, Any]) -> dict[str, Any]:
    """The values of a record with the number of their format and the version of keydistill that writes them."""
    # Importing this takes a sixth of what a whole search may, and a search writes no record.
    from importlib.metadata import PackageNotFoundError, version

    try:
        writer = version("keydistill")
    except PackageNotFoundError:
        writer = "unknown"
    return {_FORMAT: format_number, _WRITER: writer, **values}


def without_stamp(values: Mapping[str, Any], newest: int) -> dict[str, Any]:
    """The inverse of `stamped`; values without a stamp are of the first format, from before there were numbers.

    Args:
        values: The record as it was read.
        newest: The newest format that the caller reads.

    Raises:
        NewerFormatError: Its format is newer.
        ValueError: Its format is no number.
    """
    found = values.get(_FORMAT, 1)
    if not isinstance(found, int) or isinstance(found, bool):
        raise ValueError(f"format {found!r} is no number")
    if found > newest:
        raise NewerFormatError(
            f"was written by a newer keydistill ({values.get(_WRITER, 'version unknown')}, format {found}; this one "
            f"reads format {newest}); upgrade keydistill and leave it as it is"
        )
    return {name: value for name, value in values.items() if name not in (_FORMAT, _WRITER)}
