"""Checks of the work: runs, leases, Redis, workers, schedules."""

import time
from collections.abc import Iterator
from datetime import UTC, datetime
from functools import partial

from keydistill.doctor.complaint import Complaint
from keydistill.doctor.patient import Patient
from keydistill.execution import findings
from keydistill.ingest.aliases import alias_lease, content_lease
from keydistill.runs import ReindexRun

_SKEW_SECONDS = 2.0


def runs(patient: Patient) -> Iterator[Complaint]:
    """What `keydistill status` finds: runs that do not go on, workers and beats that are away."""
    for finding in findings(patient.settings, patient.store, patient.signs):
        cure = "keydistill status" if finding.run is None else f"keydistill runs show {finding.run}"
        about = "" if finding.run is None else f"run {finding.run}: "
        yield Complaint(finding.severity, f"{about}{finding.text}", cure)


def leases(patient: Patient) -> Iterator[Complaint]:
    """No lease is kept for a run on which nobody will work any more."""
    store = patient.store
    for run in store.all():
        if not run.is_at_rest:
            continue
        names = [run.lease_name]
        if isinstance(run, ReindexRun):
            names += [content_lease(run), alias_lease(run.alias)]
        for name in names:
            if store.holder(name) == run.id:
                yield Complaint(
                    "warning",
                    f"the lease {name} is kept for run {run.id}, which is {run.state}",
                    "keydistill doctor --fix, or wait until it expires",
                    partial(store.give_up, name, run.id),
                )


def redis_answers(patient: Patient) -> Iterator[Complaint]:
    """Redis answers, keeps what it is given, and holds records that this keydistill reads."""
    if patient.settings.redis_url is None:
        return
    skew = patient.clock_skew()
    if abs(skew) > _SKEW_SECONDS:
        yield Complaint(
            "warning",
            f"the clock of Redis is {skew:+,.1f} s off this machine's: times of runs and signs of life mislead",
            "let both machines keep their time by NTP",
        )
    for sign in patient.signs:
        # Of one that is behind nothing can be told: its sign may be as old.
        ahead = sign.at - (time.time() + skew)
        if ahead > _SKEW_SECONDS:
            yield Complaint(
                "warning",
                f"the clock of {sign.name} is {ahead:,.1f} s ahead of Redis': it will count as alive when it is dead",
                "let its machine keep its time by NTP",
            )
    store = patient.shared_store
    store.check_format()
    policy = store.eviction_policy()
    if policy not in (None, "noeviction"):
        yield Complaint(
            "error",
            f"Redis throws keys away when its memory is full (maxmemory-policy {policy})",
            "set maxmemory-policy noeviction",
        )


def schedules(patient: Patient) -> Iterator[Complaint]:
    """Schedules start what they shall: none never ran, or missed its time twice."""
    settings = patient.settings
    if not settings.schedules or settings.redis_url is None:
        return
    from keydistill.workers import missed_times

    marks = patient.shared_store.schedules
    for name in settings.schedules:
        if marks.is_paused(name):
            continue
        last = marks.last(name)
        cure = "see that one beat runs: celery -A keydistill.workers.app beat; keydistill schedule list"
        if last is None:
            yield Complaint("warning", f"schedule {name} has never started anything", cure)
            continue
        if missed_times(settings, name, last.at, datetime.now(UTC), 2) == 2:
            yield Complaint("warning", f"schedule {name} missed its time twice; it fired last at {last.at}", cure)
