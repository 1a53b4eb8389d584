"""Metrics of the home's disk, the registry of models, and what needs a person."""

import shutil
from collections.abc import Iterator
from contextlib import suppress

from prometheus_client.core import GaugeMetricFamily

from keydistill.distillation.registry import MODEL_KINDS, Registry
from keydistill.execution import findings, signs_of
from keydistill.exporter.families import counts, gauge, unlabelled
from keydistill.runs import RunStore
from keydistill.settings import Settings


def disk_metrics(settings: Settings) -> Iterator[GaugeMetricFamily]:
    """Metrics of the file system that the home is on."""
    usage = shutil.disk_usage(settings.home)
    yield unlabelled("home_filesystem_free_bytes", "Free space where the home is.", usage.free)
    yield unlabelled("home_filesystem_size_bytes", "Size of the file system where the home is.", usage.total)


def model_metrics(settings: Settings) -> Iterator[GaugeMetricFamily]:
    """Metrics of the registry."""
    registry = Registry.of(settings)
    versions = registry.versions()
    yield gauge(
        "models",
        "Versions in the registry.",
        ("kind",),
        {(kind,): sum(version.kind == kind for version in versions) for kind in MODEL_KINDS},
    )
    sizes = dict.fromkeys(MODEL_KINDS, 0.0)
    for version in versions:
        # One that is removed at this moment has no size any more.
        with suppress(FileNotFoundError):
            sizes[version.kind] += sum(file.stat().st_size for file in version.folder.rglob("*") if file.is_file())
    yield gauge(
        "models_size_bytes", "Size of the registry.", ("kind",), {(kind,): size for kind, size in sizes.items()}
    )
    promoted = {kind: registry.promoted_name(kind) for kind in MODEL_KINDS}
    yield gauge(
        "promoted_model_info",
        "Promoted version: always 1.",
        ("kind", "version"),
        {(kind, name): 1 for kind, name in promoted.items() if name is not None},
    )


def finding_metrics(settings: Settings, store: RunStore) -> Iterator[GaugeMetricFamily]:
    """What `keydistill status` says is wrong, by severity."""
    found = counts((finding.severity,) for finding in findings(settings, store, signs_of(settings)))
    yield gauge(
        "findings",
        "What `keydistill status` finds, by severity.",
        ("severity",),
        {("warning",): 0, ("error",): 0} | found,
    )
