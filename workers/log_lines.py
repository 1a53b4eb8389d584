"""Lines of the workers' logs: which there are by default, and what a line may look like.

Names and ids in them come in messages, which anyone can send who reaches Redis.
"""

import logging
from typing import Any

from celery import signals
from redis.exceptions import RedisError

from keydistill.errors import one_line

_log = logging.getLogger("keydistill.workers")
# Those that come every minute say something only when they have done something.
_SILENT = frozenset({"keydistill.watchdog"})


def one_line_each(logger: logging.Logger, **_: Any) -> None:
    """Let every message of a logger be one line without control characters; a traceback still follows on its own.

    A lost connection has no traceback: its reason is in the line.
    """
    for handler in logger.handlers:
        handler.addFilter(_escaped)


def _escaped(record: logging.LogRecord) -> bool:
    reason = record.exc_info[1] if record.exc_info else None
    message = record.getMessage()
    if isinstance(reason, RedisError | ConnectionError | TimeoutError):
        record.exc_info = record.exc_text = None
        if str(reason) not in message:
            message = f"{message.strip()} ({type(reason).__name__}: {reason})"
    record.msg, record.args = one_line(message), None
    return True


def lines_by_default() -> None:
    """Log when a worker is ready and when a task begins; what it has done is logged by the task itself.

    Celery's own lines of that begin with `--loglevel INFO`, among many others.
    """
    logging.getLogger("keydistill").setLevel(logging.INFO)
    signals.worker_ready.connect(_ready)
    signals.task_prerun.connect(_begun)
    signals.task_postrun.connect(_ended)


def _ready(sender: Any = None, **_: Any) -> None:
    _log.info("ready: %s takes messages of %s", sender.hostname, ", ".join(sorted(sender.app.amqp.queues.consume_from)))


def _begun(task: Any = None, args: Any = (), **_: Any) -> None:
    if task.name not in _SILENT:
        _log.info("begun: %s", " ".join(map(str, (task.name, *args))))


def _ended(task: Any = None, args: Any = (), state: str | None = None, **_: Any) -> None:
    if task.name not in _SILENT:
        word = {"SUCCESS": "done", "RETRY": "to be tried again"}.get(str(state), str(state).lower())
        _log.info("%s: %s", word, " ".join(map(str, (task.name, *args))))
