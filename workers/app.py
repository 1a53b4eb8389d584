"""The Celery application: `celery -A keydistill.workers.app worker -Q control` and so on; see docs/workers.md."""

import logging
import sys

from celery import Celery, signals

from keydistill.errors import KeydistillError, SettingsError, one_line
from keydistill.settings import Settings, load_settings
from keydistill.workers.celery_config import celery_config
from keydistill.workers.log_lines import one_line_each
from keydistill.workers.schedules import beat_config


def _settings() -> Settings:
    settings = load_settings()
    if settings.redis_url is None:
        raise SettingsError("redis_url is not set; workers need it: KEYDISTILL_REDIS_URL=redis://HOST:6379/0")
    return settings


def _app() -> Celery:
    settings = _settings()
    celery = Celery("keydistill", include=["keydistill.workers.tasks"])
    celery.conf.update({**celery_config(settings), **beat_config(settings)})
    return celery


try:
    app = _app()
except KeydistillError as error:
    if "celery" not in sys.argv[0]:
        raise
    # If it were raised, Celery would print a traceback around it.
    sys.exit(f"error: {one_line(str(error))}")


# At their own level they would log a line for every request to the engine.
for noisy in ("httpx", "sentence_transformers"):
    logging.getLogger(noisy).setLevel(logging.WARNING)


signals.after_setup_logger.connect(one_line_each)
signals.after_setup_task_logger.connect(one_line_each)


@signals.celeryd_after_setup.connect  # type: ignore[untyped-decorator,unused-ignore]
def _check(instance: object, **_: object) -> None:
    from keydistill.workers.start_checks import check_start

    try:
        check_start(_settings(), set(app.amqp.queues.consume_from))
    except KeydistillError as error:
        sys.exit(f"error: {one_line(str(error))}")
