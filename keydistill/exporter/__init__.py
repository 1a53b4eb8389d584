"""The exporter: what Prometheus reads about runs, aliases, workers, queues, schedules and models."""

from keydistill.exporter.collector import OperationsCollector
from keydistill.exporter.run import exposition, run_exporter

__all__ = ["OperationsCollector", "exposition", "run_exporter"]
