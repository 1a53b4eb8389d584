"""Families of metrics, made of the records at the time of a scrape.

Names and units follow Prometheus' conventions (https://prometheus.io/docs/practices/naming/). Of work that starts and
ends, what matters most is when it last succeeded (https://prometheus.io/docs/practices/instrumentation/#batch-jobs).
"""

from collections.abc import Iterable, Mapping
from datetime import datetime

from prometheus_client.core import GaugeMetricFamily


def gauge(
    name: str, help_text: str, labels: tuple[str, ...], values: Mapping[tuple[str, ...], float]
) -> GaugeMetricFamily:
    """A gauge with one value for each combination of labels."""
    family = GaugeMetricFamily(f"keydistill_{name}", help_text, labels=labels)
    for key, value in values.items():
        family.add_metric(key, value)
    return family


def unlabelled(name: str, help_text: str, value: float) -> GaugeMetricFamily:
    """A gauge without labels."""
    return GaugeMetricFamily(f"keydistill_{name}", help_text, value=value)


def counts(keys: Iterable[tuple[str, ...]]) -> dict[tuple[str, ...], float]:
    """How often each key occurs."""
    numbers: dict[tuple[str, ...], float] = {}
    for key in keys:
        numbers[key] = numbers.get(key, 0) + 1
    return numbers


def seconds_of(stamp: str) -> float:
    """The time of a record's stamp, in seconds since 1970.

    >>> seconds_of("1970-01-01T00:01:00+00:00")
    60.0
    """
    return datetime.fromisoformat(stamp).timestamp()
