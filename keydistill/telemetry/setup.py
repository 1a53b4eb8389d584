"""Sending what a process logs to standard error, in one form."""

import logging
import re
import sys
import threading
from types import TracebackType
from typing import Any, TextIO, cast

from keydistill.telemetry.format import LogFormat, log_format
from keydistill.telemetry.lines import JsonLines, TextLines

# Loggers that say something for every request of a client.
_NOISY = ("httpx", "sentence_transformers")
_PREFIX = re.compile(r"(error|warning|note|usage): +", re.IGNORECASE)
_LEVELS = {"error": logging.ERROR, "warning": logging.WARNING}


def configure_logs(default: LogFormat = "text", logger: str = "keydistill") -> None:
    """Send what this process logs to standard error, as text or JSON.

    Args:
        default: Form where the settings name none.
        logger: Name for what goes to standard error without being logged.
    """
    if log_format(default) == "json":
        in_json(logger)
        return
    _to_root(sys.stderr, TextLines())


def in_json(logger: str) -> None:
    """Let everything that this process writes to standard error be JSON lines: its logs, messages and tracebacks."""
    raw = sys.stderr
    if isinstance(raw, _JsonStream):
        return
    _to_root(raw, JsonLines())
    sys.stderr = cast(TextIO, _JsonStream(raw, logging.getLogger(logger)))
    # warnings.warn
    logging.captureWarnings(True)
    sys.excepthook = _log_uncaught
    threading.excepthook = lambda lost: _log_uncaught(lost.exc_type, lost.exc_value, lost.exc_traceback)


def _to_root(stream: TextIO, formatter: logging.Formatter) -> None:
    handler = logging.StreamHandler(stream)
    handler.setFormatter(formatter)
    logging.basicConfig(level=logging.INFO, handlers=[handler], force=True)
    for noisy in _NOISY:
        logging.getLogger(noisy).setLevel(logging.WARNING)


def _log_uncaught(kind: type[BaseException], error: BaseException | None, traceback: TracebackType | None) -> None:
    if error is None or issubclass(kind, KeyboardInterrupt):
        return
    logging.getLogger("keydistill").critical("%s: %s", kind.__name__, error, exc_info=(kind, error, traceback))


class _JsonStream:
    """Standard error of a process whose log is JSON: what is printed there becomes a message for each line."""

    def __init__(self, stream: TextIO, logger: logging.Logger) -> None:
        self._stream, self._logger = stream, logger
        self._begun = ""

    def write(self, text: str) -> int:
        """Log the lines that are whole."""
        *lines, self._begun = (self._begun + text).split("\n")
        for line in lines:
            self._log(line)
        return len(text)

    def flush(self) -> None:
        """Log the beginning of a line, too, as a question to a person is."""
        begun, self._begun = self._begun, ""
        self._log(begun)
        self._stream.flush()

    def isatty(self) -> bool:
        """Nobody draws into a log."""
        return False

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)

    def _log(self, line: str) -> None:
        if not line.strip():
            return
        prefix = _PREFIX.match(line)
        word = prefix[1].lower() if prefix else ""
        level = _LEVELS.get(word, logging.INFO)
        self._logger.log(level, "%s", line[prefix.end() :] if prefix and word in _LEVELS else line)
