"""Lines of the workers' logs: which there are by default, and what a line may look like.

Names and ids in them come in messages, which anyone can send who reaches Redis.
"""

import logging
import os
import sys
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

from celery import Celery, signals
from redis.exceptions import RedisError

from keydistill.errors import one_line
from keydistill.telemetry import JsonLines, begin_log_context, in_json, log_format, masked_text

_log = logging.getLogger("keydistill.workers")
# Those that come every minute say something only when they have done something.
_SILENT = frozenset({"keydistill.watchdog"})
# Tasks that are about a run: their arguments, as the log calls them.
_ABOUT_RUNS: Mapping[str, tuple[str, ...]] = {
    "keydistill.advance": ("run_id",),
    "keydistill.embed_part": ("run_id", "part"),
    "keydistill.retrain_stages": ("run_id",),
}


def begin_logs() -> None:
    """Give the log of this worker or beat its form, Celery's own lines included.

    Its lines are those that begin with `--loglevel INFO`; what is ours is logged by default: when a worker is ready,
    when a task begins, and what it has done.
    """
    if log_format() == "json":
        in_json("keydistill.workers")
    signals.after_setup_logger.connect(one_line_each)
    signals.after_setup_task_logger.connect(one_line_each)
    logging.getLogger("keydistill").setLevel(logging.INFO)
    signals.worker_ready.connect(_ready)
    signals.task_prerun.connect(_begun)
    signals.task_postrun.connect(_ended)


def without_banner(app: Celery) -> None:
    """Keep off standard output what Celery prints there in a worker or beat, where programs read the log.

    That is its banner, and what it says of signals.
    """
    if log_format() != "json":
        return
    for name in ("Worker", "Beat"):
        setattr(app, name, partial(_quiet, getattr(app, name)))
    if "worker" in sys.argv:
        from celery.apps import worker

        worker.safe_say = _say


def _say(message: str, *_: Any) -> None:
    """Log from a handler of a signal, which may have interrupted another line: past the buffers of streams."""
    record = logging.LogRecord(_log.name, logging.INFO, "", 0, message.strip(), (), None)
    os.write(2, f"{JsonLines().format(record)}\n".encode())


def _quiet(program: Callable[..., Any], *arguments: Any, **options: Any) -> Any:
    return program(*arguments, **{**options, "quiet": True})


def one_line_each(logger: logging.Logger, **_: Any) -> None:
    """Let every message of a logger be one line without control characters and secrets.

    A traceback follows on its own in text, and is a field in JSON; a lost connection has none: its reason is in the
    line.
    """
    for handler in logger.handlers:
        if _escaped not in handler.filters:
            handler.addFilter(_escaped)
        if log_format() == "json":
            handler.setFormatter(JsonLines())


def _escaped(record: logging.LogRecord) -> bool:
    reason = record.exc_info[1] if record.exc_info else None
    message = record.getMessage()
    if isinstance(reason, RedisError | ConnectionError | TimeoutError):
        record.exc_info = record.exc_text = None
        if str(reason) not in message:
            message = f"{message.strip()} ({type(reason).__name__}: {reason})"
    record.msg, record.args = masked_text(one_line(message)), None
    return True


def _ready(sender: Any = None, **_: Any) -> None:
    _log.info("ready: %s takes messages of %s", sender.hostname, ", ".join(sorted(sender.app.amqp.queues.consume_from)))


def _begun(task: Any = None, args: Any = (), **_: Any) -> None:
    # Lines of Celery about the task, too, have the run from here on.
    begin_log_context(**_about(task.name, args))
    if task.name not in _SILENT:
        _log.info("begun: %s", " ".join(map(str, (task.name, *args))))


def _ended(task: Any = None, args: Any = (), state: str | None = None, **_: Any) -> None:
    if task.name not in _SILENT:
        word = {"SUCCESS": "done", "RETRY": "to be tried again"}.get(str(state), str(state).lower())
        _log.info("%s: %s", word, " ".join(map(str, (task.name, *args))))
    begin_log_context()


def _about(task: str, arguments: Any) -> dict[str, Any]:
    return dict(zip(_ABOUT_RUNS.get(task, ()), arguments, strict=False))
