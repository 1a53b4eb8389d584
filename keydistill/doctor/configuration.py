"""Checks of the settings: what contradicts each other, and what they name and is not there."""

from collections.abc import Iterator
from urllib.parse import urlsplit

from keydistill.doctor.complaint import Complaint
from keydistill.doctor.patient import Patient
from keydistill.settings import Settings

_HERE = ("localhost", "127.0.0.1", "::1")
# Pairs of settings of which one is of no use without the other.
_PAIRS = (
    ("qdrant_client_certificate", "qdrant_client_key"),
    ("redis_client_certificate", "redis_client_key"),
    ("judge_url", "judge_model"),
)
_FILES = (
    "qdrant_ca_certificate",
    "qdrant_client_certificate",
    "qdrant_client_key",
    "redis_ca_certificate",
    "redis_client_certificate",
    "redis_client_key",
    "judge_prompt",
    "gate_items",
)


def contradictions(patient: Patient) -> Iterator[Complaint]:
    """Settings that cannot both be meant."""
    settings = patient.settings
    if settings.executor == "celery" and settings.redis_url is None:
        yield _wrong("executor is celery, and redis_url is not set: no worker would hear of a run", "set redis_url")
    if settings.schedules and settings.redis_url is None:
        names = ", ".join(sorted(settings.schedules))
        yield _wrong(f"there are schedules ({names}), and redis_url is not set: nothing fires", "set redis_url")
    for first, second in _PAIRS:
        given = [name for name in (first, second) if getattr(settings, name) is not None]
        if len(given) == 1:
            other = second if given == [first] else first
            yield _wrong(f"{given[0]} is set, and {other} is not", f"set {other}, or neither")
    if settings.engine == "embedded" and settings.qdrant_api_key is not None:
        yield Complaint(
            "warning", "qdrant_api_key is set, and the engine is embedded: no server is asked", "set engine = 'server'"
        )
    if settings.watchdog_seconds > settings.part_seconds:
        yield Complaint(
            "warning",
            f"watchdog_seconds ({settings.watchdog_seconds:g}) is longer than part_seconds ({settings.part_seconds}): "
            "work that nobody does is noticed late",
            "lower watchdog_seconds",
        )
    yield from _endless_parts(settings)
    yield from _unencrypted(settings)


def _endless_parts(settings: Settings) -> Iterator[Complaint]:
    rate = settings.build_rows_per_second
    if settings.redis_url is not None and rate and settings.part_rows / rate > settings.part_seconds:
        yield _wrong(
            f"build_rows_per_second is {rate:g}: a part of {settings.part_rows:,} rows (part_rows) takes longer than "
            f"part_seconds ({settings.part_seconds}) allows, and never ends",
            "lower part_rows, or raise build_rows_per_second or part_seconds",
        )


def missing_files(patient: Patient) -> Iterator[Complaint]:
    """Files that settings name."""
    for name in _FILES:
        path = getattr(patient.settings, name)
        if path is not None and not path.expanduser().is_file():
            yield _wrong(f"{name} names {path}, which is no file here", f"correct {name}")


def _unencrypted(settings: Settings) -> Iterator[Complaint]:
    address = urlsplit(settings.qdrant_url)
    is_away = settings.engine == "server" and address.hostname not in _HERE
    if is_away and address.scheme == "http" and settings.qdrant_api_key is not None:
        yield Complaint(
            "warning", "the API key of Qdrant goes over the network without TLS", "give qdrant_url as https://..."
        )


def _wrong(text: str, cure: str) -> Complaint:
    return Complaint("error", text, f"{cure} (`keydistill settings` shows them all)")
