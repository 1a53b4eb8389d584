"""Checks of versions: of what is installed here, and of every part that answers."""

import re
from collections.abc import Iterator
from importlib.metadata import PackageNotFoundError, distribution, version

from keydistill.doctor.complaint import Complaint
from keydistill.doctor.patient import Patient
from keydistill.vectorstore.server import ServerEngine

# The oldest that tests were run with; Valkey states the version of Redis that it is compatible with.
_OLDEST_REDIS = (7, 2)
_UPGRADE = "upgrade it, or pip install -c constraints.txt 'keydistill[...]' of the version that fits it"


def packages(patient: Patient) -> Iterator[Complaint]:
    """Python packages are of the versions that keydistill is tested with."""
    from packaging.requirements import Requirement

    for text in distribution("keydistill").requires or ():
        requirement = Requirement(text)
        # Of extras only what is there counts: which were meant to be installed nobody knows.
        try:
            present = version(requirement.name)
        except PackageNotFoundError:
            if requirement.marker is None:
                yield Complaint("error", f"{requirement.name} is not installed", "pip install keydistill")
            continue
        if requirement.marker is not None and 'extra == "dev"' in str(requirement.marker):
            continue
        if not requirement.specifier.contains(present, prereleases=True):
            yield Complaint(
                "warning",
                f"{requirement.name} {present} is installed, keydistill is tested with {requirement.specifier}",
                f"pip install '{requirement.name}{requirement.specifier}'",
            )


def servers(patient: Patient) -> Iterator[Complaint]:
    """Qdrant, Redis, workers and beats are of versions that go together with what is installed here."""
    settings = patient.settings
    if settings.engine == "server":
        yield from _qdrant(patient)
    if settings.redis_url is None:
        return
    redis = patient.redis_version()
    if _numbers(redis) < _OLDEST_REDIS:
        oldest = ".".join(map(str, _OLDEST_REDIS))
        yield Complaint("warning", f"Redis is of version {redis}; expected {oldest} or newer", "upgrade it")
    own = version("keydistill")
    for sign in patient.signs:
        if sign.is_fresh and sign.version != own:
            yield Complaint(
                "warning",
                f"{sign.name} runs keydistill {sign.version or 'of a version that it does not say'}, here is {own}",
                "install the same version on all machines, and start it again",
            )


def _qdrant(patient: Patient) -> Iterator[Complaint]:
    engine = patient.engine
    if not isinstance(engine, ServerEngine):
        return
    from qdrant_client.common.version_check import is_compatible

    server, client = engine.server_version, version("qdrant-client")
    if not is_compatible(client, server):
        yield Complaint(
            "warning",
            f"the Qdrant server is of version {server}, its client of {client}: more than one minor version apart",
            _UPGRADE,
        )


def _numbers(text: str) -> tuple[int, ...]:
    return tuple(map(int, re.findall(r"\d+", text)[:2]))
