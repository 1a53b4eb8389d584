"""Lines of the workers' logs: names and ids in them come in messages, which anyone can send who reaches Redis."""

import logging
from typing import Any

from keydistill.errors import one_line


def one_line_each(logger: logging.Logger, **_: Any) -> None:
    """Let every message of a logger be one line without control characters; a traceback still follows on its own."""
    for handler in logger.handlers:
        handler.addFilter(_escaped)


def _escaped(record: logging.LogRecord) -> bool:
    record.msg, record.args = one_line(record.getMessage()), None
    return True
