"""What Prometheus reads, by its conventions (https://prometheus.io/docs/practices/naming/).

Several processes write into files of one folder, and whichever is asked adds them up: that is prometheus-client's
multiprocess mode, which `PROMETHEUS_MULTIPROC_DIR` turns on before this module is imported.
"""

import os
import time
from collections.abc import Iterator
from pathlib import Path

from prometheus_client import REGISTRY as OWN_PROCESS
from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, disable_created_metrics, generate_latest
from prometheus_client.core import GaugeMetricFamily
from prometheus_client.multiprocess import MultiProcessCollector, mark_process_dead

from keydistill.retrieval import LiveStatus

# Times at which series began, which double the lines and which nobody reads.
disable_created_metrics()  # type: ignore[no-untyped-call]

FOLDER_VARIABLE = "PROMETHEUS_MULTIPROC_DIR"
_SECONDS = (0.001, 0.002, 0.004, 0.008, 0.016, 0.032, 0.064, 0.125, 0.25, 0.5, 1, 2, 4, 8)
_BYTES = (128, 512, 2_048, 8_192, 32_768, 131_072, 524_288, 2_097_152)
_ITEMS = (1, 2, 4, 8, 16, 32, 64, 128, 256)

REQUEST_SECONDS = Histogram(
    "keydistill_http_request_duration_seconds",
    "Time from the request's headers to the end of its answer.",
    ("method", "path", "status"),
    buckets=_SECONDS,
)
REQUEST_BYTES = Histogram("keydistill_http_request_size_bytes", "Size of a request's body.", ("path",), buckets=_BYTES)
QUEUE_ITEMS = Gauge(
    "keydistill_queue_items", "Items that wait to be embedded at the moment.", multiprocess_mode="livesum"
)
WAIT_SECONDS = Histogram("keydistill_queue_wait_seconds", "Time that a request waited for its batch.", buckets=_SECONDS)
BATCH_ITEMS = Histogram("keydistill_batch_size_items", "Items that were embedded together.", buckets=_ITEMS)
EMBED_SECONDS = Histogram("keydistill_embed_duration_seconds", "Time that a batch was embedded.", buckets=_SECONDS)
SEARCH_SECONDS = Histogram("keydistill_search_duration_seconds", "Time that a batch was searched.", buckets=_SECONDS)
REJECTIONS = Counter("keydistill_rejections_total", "Requests that got no result, by the kind of problem.", ("reason",))
READY = Gauge("keydistill_ready_processes", "Processes that are ready.", multiprocess_mode="livesum")
SWAPS = Counter("keydistill_generation_swaps_total", "Changes of the generation, in each process.")
SHADOWED = Counter(
    "keydistill_shadow_requests_total", "Requests that the candidate was, or was to be, asked, too.", ("result",)
)
SHADOW_FAILURES = Counter(
    "keydistill_shadow_failures_total", "What failed in the shadow: a request, a load, a record; no caller saw it."
)


class GenerationCollector:
    """The generation of the process that is asked, and its age; labels of generations that are gone do not linger."""

    def __init__(self, status: LiveStatus | None) -> None:
        self._status = status

    def collect(self) -> Iterator[GaugeMetricFamily]:
        """Metrics of the present generation; none before there is one."""
        if self._status is None:
            return
        info = GaugeMetricFamily(
            "keydistill_generation_info", "The generation that answers: always 1.", labels=("collection", "student")
        )
        info.add_metric((self._status.collection, self._status.student_version), 1)
        yield info
        age = time.time() - self._status.since.timestamp()
        yield GaugeMetricFamily("keydistill_generation_age_seconds", "Time for which it has answered.", value=age)


def exposition(status: LiveStatus | None) -> bytes:
    """All metrics of all processes, in the text format."""
    registry = CollectorRegistry()
    folder = os.environ.get(FOLDER_VARIABLE)
    if folder:
        _forget_dead_processes(Path(folder))
        MultiProcessCollector(registry, path=folder)  # type: ignore[no-untyped-call]
    else:
        registry.register(OWN_PROCESS)
    registry.register(GenerationCollector(status))
    return generate_latest(registry)


def _forget_dead_processes(folder: Path) -> None:
    """Forget the gauges of killed processes, whose queues are gone; what they counted stays."""
    for file in folder.glob("gauge_live*.db"):
        pid = int(file.stem.rpartition("_")[2])
        try:
            os.kill(pid, 0)
        except ProcessLookupError:
            mark_process_dead(pid, path=str(folder))  # type: ignore[no-untyped-call]
        except PermissionError:
            continue
