"""Logs: one JSON object a line, on standard error."""

import logging
from datetime import UTC, datetime
from typing import Any

from pydantic_core import to_json

FIELDS = "keydistill_fields"


class JsonLines(logging.Formatter):
    """A record as a JSON object, with the fields that whoever logged it gave along."""

    def format(self, record: logging.LogRecord) -> str:
        """One line, whatever the values hold."""
        fields: dict[str, Any] = {
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": record.getMessage(),
            **getattr(record, FIELDS, {}),
        }
        if record.exc_info:
            fields["traceback"] = self.formatException(record.exc_info)
        return to_json(fields, fallback=str).decode()


def configure_logs() -> None:
    """Send what this process logs to standard error as JSON."""
    handler = logging.StreamHandler()
    handler.setFormatter(JsonLines())
    logging.basicConfig(level=logging.INFO, handlers=[handler], force=True)
    # One line for every request of a client says nothing to whoever runs the service.
    logging.getLogger("httpx").setLevel(logging.WARNING)
