"""Messages to workers from other processes: the command line, a service, a test."""

import time
from functools import cache
from typing import Any

from celery import Celery, signals
from kombu.exceptions import OperationalError

from keydistill.errors import RedisUnavailableError
from keydistill.execution import Send
from keydistill.runs import SENT_AT
from keydistill.settings import Settings
from keydistill.telemetry import carried
from keydistill.workers.celery_config import celery_config

TRACEPARENT = "traceparent"


@signals.before_task_publish.connect  # type: ignore[untyped-decorator,unused-ignore]
def _stamp(headers: dict[str, Any] | None = None, **_: Any) -> None:
    """Write into every message of this process when it was sent, and in which span."""
    if headers is not None:
        headers[SENT_AT] = time.time()
        if (trace := carried()) is not None:
            headers[TRACEPARENT] = trace


def sender(settings: Settings) -> Send:
    """A function that sends messages to the workers of these settings; its first call needs `redis_url`."""

    @cache
    def client() -> Celery:
        app = Celery("keydistill", set_as_current=False)
        app.conf.update(celery_config(settings))
        return app

    def send(task: str, *arguments: object, queue: str) -> None:
        sender_of(client())(task, *arguments, queue=queue)

    return send


def sender_of(app: Celery) -> Send:
    """A function that sends messages through a Celery application."""

    def send(task: str, *arguments: object, queue: str) -> None:
        try:
            app.send_task(task, args=arguments, queue=queue, ignore_result=True)
        except OperationalError as error:
            # Only the type is shown: the text may hold the address of Redis, though not the password.
            raise RedisUnavailableError(
                f"the workers' queue cannot be reached ({type(error).__name__}); see that Redis runs"
            ) from None

    return send
