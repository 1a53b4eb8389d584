"""The Celery application: `celery -A keydistill.workers.app worker -Q control` and so on; see docs/workers.md."""

import logging
import sys

from celery import Celery, signals

from keydistill.errors import KeydistillError, RedisRefusedError, RedisUnavailableError, SettingsError, one_line
from keydistill.files import protect_home
from keydistill.settings import Settings, load_settings
from keydistill.telemetry import begin_traces, end_traces, remember_secrets
from keydistill.workers.celery_config import celery_config
from keydistill.workers.failures import one_line_at_the_end
from keydistill.workers.log_lines import begin_logs, without_banner
from keydistill.workers.presence import WorkerPresence
from keydistill.workers.schedules import beat_config


def _settings() -> Settings:
    settings = load_settings()
    if settings.redis_url is None:
        raise SettingsError("redis_url is not set; workers need it: KEYDISTILL_REDIS_URL=redis://HOST:6379/0")
    protect_home(settings.home, settings.home_group)
    remember_secrets(settings)
    return settings


def _app() -> Celery:
    settings = _settings()
    celery = Celery("keydistill", include=["keydistill.workers.tasks"])
    celery.conf.update({**celery_config(settings), **beat_config(settings)})
    celery.steps["consumer"].add(WorkerPresence)
    without_banner(celery)
    if not {"worker", "beat"} & set(sys.argv):
        # A command such as `celery call` shall say within seconds that Redis is away.
        celery.conf.result_backend_transport_options = {
            **celery.conf.result_backend_transport_options,
            "retry_policy": {"max_retries": 1, "interval_start": 0, "interval_step": 0, "interval_max": 0},
        }
    return celery


_of_celery = "celery" in sys.argv[0]
begin_logs()
try:
    app = _app()
except KeydistillError as error:
    if not _of_celery:
        raise
    # If it were raised, Celery would print a traceback around it.
    sys.exit(f"error: {one_line(str(error))}")
if _of_celery:
    one_line_at_the_end()


# At their own level they would log a line for every request to the engine.
for noisy in ("httpx", "sentence_transformers"):
    logging.getLogger(noisy).setLevel(logging.WARNING)


@signals.worker_process_shutdown.connect  # type: ignore[untyped-decorator,unused-ignore]
def _end_traces(**_: object) -> None:
    end_traces()


@signals.celeryd_after_setup.connect  # type: ignore[untyped-decorator,unused-ignore]
def _check(instance: object, **_: object) -> None:
    from keydistill.workers.start_checks import check_start

    try:
        settings = _settings()
        # Here it says that the extra is missing; each process of the pool begins its own.
        begin_traces(settings, "worker")
        check_start(settings, set(app.amqp.queues.consume_from))
    except KeydistillError as error:
        sys.exit(f"error: {one_line(str(error))}")


@signals.beat_init.connect  # type: ignore[untyped-decorator,unused-ignore]
def _check_beat(**_: object) -> None:
    from keydistill.workers.start_checks import check_beat

    try:
        begin_traces(_settings(), "beat")
        check_beat(_settings())
    except RedisUnavailableError as error:
        if isinstance(error, RedisRefusedError):
            sys.exit(f"error: {one_line(str(error))}")
        logging.getLogger(__name__).warning("beat: %s; waiting for it", error)
    except KeydistillError as error:
        sys.exit(f"error: {one_line(str(error))}")
