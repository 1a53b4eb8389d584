"""Metrics of workers, beats, queues, leases and schedules, of which Redis knows."""

import time
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime, timedelta

from prometheus_client.core import GaugeMetricFamily

from keydistill.execution import signs_of
from keydistill.exporter.families import counts, gauge, seconds_of
from keydistill.runs import OldestMessage, Run, SharedRunStore
from keydistill.settings import Settings
from keydistill.workers import QUEUES, missed_times

# Times of a schedule that are counted since it last fired: more make no difference.
_MOST_MISSED = 10


class Waiting:
    """How long the oldest message of each queue waits, also of one that does not say when it was sent."""

    def __init__(self) -> None:
        self._seen: dict[str, tuple[str, float]] = {}

    def seconds(self, queue: str, oldest: OldestMessage | None) -> float:
        """Time since `oldest` was sent, or first found at a queue's end; 0 where the queue is empty."""
        if oldest is None:
            self._seen.pop(queue, None)
            return 0.0
        if oldest.sent_at is not None:
            return max(0.0, time.time() - oldest.sent_at)
        if self._seen.get(queue, ("", 0.0))[0] != oldest.digest:
            self._seen[queue] = oldest.digest, time.monotonic()
        return time.monotonic() - self._seen[queue][1]


def worker_metrics(
    settings: Settings, store: SharedRunStore, runs: Sequence[Run], waiting: Waiting
) -> Iterator[GaugeMetricFamily]:
    """Metrics of all that works on runs by messages."""
    signs = signs_of(settings)
    yield gauge(
        "node_last_sign_timestamp_seconds",
        "Time of the last sign of life of a worker or beat that was not told to end.",
        ("node", "role"),
        {(sign.name, "worker" if sign.queues else "beat"): sign.at for sign in signs},
    )
    yield gauge(
        "node_stopped_processes",
        "Processes of a worker's pool that are stopped, and so end nothing that they have begun.",
        ("node",),
        {(sign.name,): len(sign.stopped) for sign in signs if sign.queues},
    )
    alive = [sign for sign in signs if sign.is_fresh]
    fresh = counts((queue,) for sign in alive for queue in sign.queues)
    yield gauge("workers", "Workers that are alive.", ("queue",), {(queue,): 0 for queue in QUEUES} | fresh)
    yield gauge("beats", "Beats that are alive; one of them fires.", (), {(): sum(not sign.queues for sign in alive)})
    yield gauge(
        "queue_messages",
        "Messages to workers that none has taken.",
        ("queue",),
        {(queue,): store.messages_waiting(queue) for queue in QUEUES},
    )
    yield gauge(
        "queue_oldest_wait_seconds",
        "Time since the oldest message was sent, or since this exporter saw it where it does not say.",
        ("queue",),
        {(queue,): waiting.seconds(queue, store.oldest_message(queue)) for queue in QUEUES},
    )
    names = sorted({run.lease_name for run in runs})
    holders = {name: holder for name in names if (holder := store.holder(name)) is not None}
    yield gauge(
        "lease_info",
        "Lease and the run that holds it: always 1.",
        ("lease", "run"),
        dict.fromkeys(holders.items(), 1),
    )
    yield from _schedules(settings, store)


def _schedules(settings: Settings, store: SharedRunStore) -> Iterator[GaugeMetricFamily]:
    fired = {name: store.schedules.last(name) for name in settings.schedules}
    # A minute ago, or a schedule that fires at this moment would have been missed.
    until = datetime.now(UTC) - timedelta(minutes=1)
    yield gauge(
        "schedule_last_fired_timestamp_seconds",
        "Time at which a schedule last fired.",
        ("schedule",),
        {(name,): seconds_of(last.at) for name, last in fired.items() if last is not None},
    )
    yield gauge(
        "schedule_missed",
        f"Times at which a schedule that is not paused should have fired since it last did, up to {_MOST_MISSED}.",
        ("schedule",),
        {
            (name,): 0
            if store.schedules.is_paused(name)
            else missed_times(settings, name, last.at, until, _MOST_MISSED)
            for name, last in fired.items()
            if last is not None
        },
    )
    yield gauge(
        "schedule_failed",
        "Whether a schedule started nothing when it last fired, although it is not paused.",
        ("schedule",),
        {
            (name,): last.run is None and last.said not in (None, "paused")
            for name, last in fired.items()
            if last is not None
        },
    )
    yield gauge(
        "schedule_paused",
        "Whether a schedule starts nothing until it is resumed.",
        ("schedule",),
        {(name,): store.schedules.is_paused(name) for name in settings.schedules},
    )
