"""Records of runs as they stand in Redis: under which key, and as which text."""

import json
from uuid import uuid4

from keydistill.errors import RunError
from keydistill.files import NewerFormatError, without_stamp
from keydistill.runs.record import Run, run_of_values, stored_run
from keydistill.runs.redis_lease import PREFIX, SAME_VERSION

_MARK = "mark"


def run_key(run_id: str) -> str:
    """The key of a run's record."""
    return f"{PREFIX}run:{run_id}"


def text_of(run: Run) -> str:
    """The record as it is stored, different from any other that was ever written."""
    return json.dumps({**stored_run(run), _MARK: uuid4().hex})


def run_of(text: str | bytes) -> Run:
    """The inverse of `text_of`.

    Raises:
        RunError: Another version of keydistill wrote it, or somebody else.
    """
    try:
        values = json.loads(text)
        if not isinstance(values, dict):
            raise ValueError("it is no object")
        values.pop(_MARK, None)
        return run_of_values(values)
    except NewerFormatError as error:
        raise RunError(f"run {values.get('id')!r} in Redis {error}") from None
    except ValueError as error:
        raise RunError(f"a run in Redis cannot be read ({error}): {text[:60]!r}...; {SAME_VERSION}") from None


def check_mark(text: str | bytes, newest: int) -> None:
    """Raise unless a stored number of a format, alone or with the version that wrote it, is one that we read.

    Raises:
        NewerFormatError: A newer keydistill wrote it.
        ValueError: It is no number.
    """
    values = json.loads(text)
    without_stamp(values if isinstance(values, dict) else {"format": values}, newest)
