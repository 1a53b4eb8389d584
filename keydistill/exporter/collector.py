"""The collector: all metrics, read from the records at each scrape."""

import logging
from collections.abc import Callable, Iterator
from contextlib import closing
from functools import cached_property

from prometheus_client.core import GaugeMetricFamily
from prometheus_client.registry import Collector

from keydistill.errors import KeydistillError, one_line
from keydistill.exporter.aliases import alias_metrics
from keydistill.exporter.families import gauge
from keydistill.exporter.machine import disk_metrics, finding_metrics, model_metrics
from keydistill.exporter.runs import run_metrics
from keydistill.exporter.workers import Waiting, worker_metrics
from keydistill.runs import RunStore, SharedRunStore, open_shared_store, open_store
from keydistill.settings import Settings
from keydistill.vectorstore import open_engine

_log = logging.getLogger(__name__)
_Part = Callable[[], Iterator[GaugeMetricFamily]]


class OperationsCollector(Collector):
    """Metrics of an installation: nothing is counted in this process, so it may be restarted at any time.

    A part that cannot be read is left out, and `keydistill_exporter_up` says so: what a broken Redis knows is missing,
    what the engine knows is not.
    """

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._waiting = Waiting()
        self._problems: dict[str, str] = {}

    def collect(self) -> Iterator[GaugeMetricFamily]:
        """All families that can be read now."""
        parts: dict[str, _Part] = {
            "runs": lambda: run_metrics(self._store.all()),
            "aliases": self._aliases,
            "disk": lambda: disk_metrics(self._settings),
            "models": lambda: model_metrics(self._settings),
            "findings": lambda: finding_metrics(self._settings, self._store),
        }
        if self._settings.redis_url is not None:
            parts["workers"] = self._workers
        up: dict[tuple[str, ...], float] = {}
        for name, part in parts.items():
            families = self._read(name, part)
            up[(name,)] = families is not None
            yield from families or ()
        yield gauge("exporter_up", "Whether a part of what is exported could be read.", ("part",), up)

    def _read(self, name: str, part: _Part) -> list[GaugeMetricFamily] | None:
        """The families of a part; None, and a line in the log for a new reason, where it cannot be read."""
        try:
            families = list(part())
        except (KeydistillError, OSError) as error:
            problem = one_line(str(error))
            if self._problems.get(name) != problem:
                _log.warning("%s cannot be read: %s", name, problem)
            self._problems[name] = problem
            return None
        self._problems.pop(name, None)
        return families

    def _aliases(self) -> Iterator[GaugeMetricFamily]:
        with closing(open_engine(self._settings, left_in_files=True)) as engine:
            yield from alias_metrics(engine, self._store)

    def _workers(self) -> Iterator[GaugeMetricFamily]:
        return worker_metrics(self._settings, self._shared_store, self._store.all(), self._waiting)

    @cached_property
    def _store(self) -> RunStore:
        return open_store(self._settings)

    @cached_property
    def _shared_store(self) -> SharedRunStore:
        return open_shared_store(self._settings)
