"""Lines of a log: one JSON object each, or text with the same fields."""

import json
import logging
import re
from datetime import UTC, datetime
from typing import Any

from keydistill.errors import one_line
from keydistill.telemetry.context import present_context
from keydistill.telemetry.masks import masked_text
from keydistill.telemetry.tracing import present_ids

# Name under which a record has the fields of whoever logged it.
FIELDS = "keydistill_fields"
# JSON lets them stand in texts; a terminal that shows the line should not get them.
_RAW = re.compile("[\x7f-\x9f\u2028-\u202e\u2066-\u2069\ud800-\udfff]")


def log(logger: logging.Logger, message: str, level: int = logging.INFO, **fields: Any) -> None:
    """Log a message with fields of its own; those that are None are left out."""
    given = {name: value for name, value in fields.items() if value is not None}
    logger.log(level, "%s", message, extra={FIELDS: given})


class JsonLines(logging.Formatter):
    """A record as one JSON object: timestamp, level, logger and message, what the work is about, and its own fields."""

    def format(self, record: logging.LogRecord) -> str:
        """One line, whatever the values hold; secrets are masked."""
        fields = {
            "timestamp": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": one_line(record.getMessage().strip()),
            **_fields_of(record),
        }
        if traceback := _traceback(self, record):
            fields["traceback"] = traceback
        line = json.dumps(fields, ensure_ascii=False, default=str)
        return _RAW.sub(lambda match: json.dumps(match[0])[1:-1].replace("\x7f", "\\u007f"), masked_text(line))


class TextLines(logging.Formatter):
    """A record as text: time, level, message, then `name=value` of each field."""

    def format(self, record: logging.LogRecord) -> str:
        """One line, and a traceback's lines after it."""
        at = datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds")
        fields = "".join(f" {name}={value}" for name, value in _fields_of(record).items())
        lines = [one_line(f"{at} {record.levelname} {record.getMessage().strip()}{fields}")]
        if traceback := _traceback(self, record):
            lines += map(one_line, traceback.splitlines())
        return masked_text("\n".join(lines))


def _fields_of(record: logging.LogRecord) -> dict[str, Any]:
    return {**present_context(), **present_ids(), **getattr(record, FIELDS, {})}


def _traceback(formatter: logging.Formatter, record: logging.LogRecord) -> str | None:
    if record.exc_info and record.exc_info[0] is not None:
        return formatter.formatException(record.exc_info)
    return record.exc_text
