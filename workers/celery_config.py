"""Celery's settings for work that takes hours, each with its reason and source.

Names are Celery's: https://docs.celeryq.dev/en/stable/userguide/configuration.html
"""

from typing import Any

from kombu.entity import Queue
from kombu.transport import TRANSPORT_ALIASES

from keydistill.runs import QUEUE_PREFIX
from keydistill.settings import Settings, redis_address

# Queues, each with what is done there, and so which pool suits it.
QUEUES = {
    "control": "moves runs on; never imports torch; prefork, a few processes",
    "embed": "parts and verification; one process per student in memory",
    "judge": "waits for the judge's endpoint; one process, the requests run side by side in it",
    "train": "trains in a child process; one process per machine or GPU",
}
_ROUTES = {
    "keydistill.embed_part": {"queue": "embed"},
    "keydistill.retrain_stages": {"queue": "train"},
}
_TRANSPORT = "keydistill.workers.transport:Transport"
TRANSPORT_ALIASES.update(dict.fromkeys(("redis", "rediss"), _TRANSPORT))
# More than the time that a message can be on its way beyond the work itself.
_MARGIN_SECONDS = 600


def celery_config(settings: Settings) -> dict[str, Any]:
    """The values to update `Celery.conf` with; needs `redis_url`.

    Raises:
        SettingsError: The address of Redis or its options cannot be used.
    """
    address = redis_address(settings)
    url = _kombu_url(address.url)
    # Redis hands a message out again that was not acknowledged for so long: longer than the longest part, or the part
    # would be done twice at once (user guide, "Backends and brokers", Redis, "Visibility timeout"). Three settings are
    # read for it, and the shortest counts: the broker's options, the result backend's, and the plain one.
    visibility_seconds = settings.part_seconds + _MARGIN_SECONDS
    transport = {
        "visibility_timeout": visibility_seconds,
        "global_keyprefix": QUEUE_PREFIX,
        # Of whoever sends a message: a Redis that is away is an error within seconds. Workers, whose connection is
        # bounded by `broker_connection_max_retries` instead, wait for it.
        "socket_connect_timeout": 5,
        "max_retries": 2,
        "interval_start": 0,
        "interval_step": 0.5,
        "interval_max": 1,
    }
    return {
        "broker_url": url,
        # None turns TLS off; the options are those of Redis' client.
        "broker_use_ssl": address.tls or None,
        "redis_backend_use_ssl": address.tls or None,
        "redis_socket_connect_timeout": 5,
        "broker_transport_options": transport,
        "result_backend": url,
        "result_backend_transport_options": transport,
        "visibility_timeout": visibility_seconds,
        # A restart of Redis must not stop the workers for good; at start the check of `check_start` is quicker and
        # clearer.
        "broker_connection_retry_on_startup": True,
        "broker_connection_max_retries": None,
        # Nothing depends on a result; they are kept a day for people who ask with `celery result`.
        "result_expires": 86_400,
        # Pickle would let anybody who writes to Redis run code here (user guide, "Security").
        "task_serializer": "json",
        "result_serializer": "json",
        "accept_content": ["json"],
        "task_queues": [Queue(name) for name in QUEUES],
        "task_default_queue": "control",
        "task_routes": _ROUTES,
        # A process takes one message and no other waits behind it ("Optimizing", "Prefetch limits").
        "worker_prefetch_multiplier": 1,
        # Parts and steps are safe to repeat: acknowledged when done, back in the queue when the worker dies. Tasks that
        # train say otherwise: they run for hours, have checkpoints, and the watchdog starts them again.
        "task_acks_late": True,
        # Past its limit the pool process is killed, and the attempt counts.
        "task_annotations": {"keydistill.embed_part": {"time_limit": settings.part_seconds}},
        # Without it the task of a killed child counts as done, also with late acknowledgement; attempts are counted in
        # the run's record, so that a part that kills its worker does not go round for ever
        # ("task_reject_on_worker_lost").
        "task_reject_on_worker_lost": True,
        # A lost connection makes a task redeliverable: it is stopped here, or two workers would do it.
        "worker_cancel_long_running_tasks_on_connection_loss": True,
        # At SIGQUIT, or SIGTERM with REMAP_SIGTERM=SIGQUIT, a task has this long to end, then it goes back to the
        # queue ("Workers guide", "Soft shutdown").
        "worker_soft_shutdown_timeout": 10.0,
        "worker_enable_soft_shutdown_on_idle": True,
        # Our log lines appear with Celery's; task arguments hold paths only.
        "worker_hijack_root_logger": True,
        "worker_redirect_stdouts": False,
        # Nobody listens to gossip between workers here.
        "worker_send_task_events": False,
        "task_track_started": True,
    }


def _kombu_url(url: str) -> str:
    """The address as kombu reads it, which has a spelling of its own for sockets."""
    if not url.startswith("unix://"):
        return url
    path, _, query = url.removeprefix("unix://").partition("?")
    return f"redis+socket://{path}" + (f"?{query.replace('db=', 'virtual_host=')}" if query else "")
