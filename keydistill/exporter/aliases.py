"""Metrics of aliases and their live collections."""

from collections.abc import Iterator

from prometheus_client.core import GaugeMetricFamily

from keydistill.errors import CollectionLostError, CollectionNotFoundError
from keydistill.exporter.families import gauge, seconds_of
from keydistill.ingest.aliases import AliasHistory
from keydistill.runs import RunStore
from keydistill.vectorstore import CollectionInfo, CollectionMetadata, Engine

_ALIAS = ("alias",)


def alias_metrics(engine: Engine, store: RunStore) -> Iterator[GaugeMetricFamily]:
    """Metrics of every alias whose collection keydistill built."""
    live: dict[str, CollectionInfo | None] = {}
    for alias, name in engine.aliases().items():
        try:
            info = engine.info(name)
        except (CollectionLostError, CollectionNotFoundError):
            live[alias] = None
            continue
        if info.state != "foreign":
            live[alias] = info
    present = {alias: info for alias, info in live.items() if info is not None}
    described = {alias: CollectionMetadata.parse(info) for alias, info in present.items()}
    yield gauge(
        "alias_lost",
        "Whether the collection that the alias names is gone, so that queries fail.",
        _ALIAS,
        {(alias,): info is None for alias, info in live.items()},
    )
    yield gauge(
        "alias_info",
        "Collection that the alias names, and the student that built it: always 1.",
        ("alias", "collection", "student"),
        {(alias, info.name, described[alias].student_version or ""): 1 for alias, info in present.items()},
    )
    yield gauge(
        "alias_points",
        "Keyphrases in the live collection.",
        _ALIAS,
        {(alias,): info.points for alias, info in present.items() if info.points is not None},
    )
    yield gauge(
        "alias_size_bytes",
        "Size of the live collection on disk, estimated where the server does not say it.",
        _ALIAS,
        {(alias,): info.disk_bytes for alias, info in present.items() if info.disk_bytes is not None},
    )
    yield gauge(
        "alias_built_timestamp_seconds",
        "Time at which the live collection was begun.",
        _ALIAS,
        {(alias,): seconds_of(one.created_at) for alias, one in described.items() if one.created_at is not None},
    )
    histories = {alias: AliasHistory(engine, store, alias) for alias in live}
    yield gauge(
        "alias_changed_timestamp_seconds",
        "Time of the alias's latest change of each kind.",
        ("alias", "action"),
        {
            # The latest come first, and the last one that is written stays.
            (alias, change.action): seconds_of(change.at)
            for alias, history in histories.items()
            for change in reversed(history.written())
        },
    )
    yield gauge(
        "alias_held",
        "Whether somebody keeps the alias from being moved.",
        _ALIAS,
        {(alias,): history.hold() is not None for alias, history in histories.items()},
    )
