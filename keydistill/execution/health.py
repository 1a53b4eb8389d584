"""Health: what keeps runs from going on, and queries from being answered, by severity."""

from collections.abc import Mapping, Sequence
from contextlib import closing, suppress
from dataclasses import dataclass
from typing import Literal

from keydistill.errors import RedisUnavailableError
from keydistill.execution.queues import queue_of
from keydistill.execution.schedules import schedule_problems
from keydistill.runs import Run, RunStore, Sign, open_shared_store, open_signs, unfinished_runs
from keydistill.settings import Settings

Severity = Literal["warning", "error"]


@dataclass(frozen=True, slots=True)
class Finding:
    """Something that a person should look at.

    Attributes:
        severity: "error" where queries cannot be answered, "warning" where runs do not go on.
        text: One line on what it is, and what to do.
        run: Id of the run that it is about, if it is about one.
    """

    severity: Severity
    text: str
    run: str | None = None


def worker_missing(settings: Settings, run: Run) -> str | None:
    """One line where no worker shows a sign of life that would take up what comes next in a run; otherwise None."""
    if settings.redis_url is None or run.is_at_rest:
        return None
    with suppress(RedisUnavailableError):
        return _worker_missing(run, signs_of(settings))
    return None


def _worker_missing(run: Run, signs: Sequence[Sign]) -> str | None:
    queue = queue_of(run)
    if any(queue in sign.queues and sign.is_fresh for sign in signs):
        return None
    return (
        f"no worker of queue {queue} shows a sign of life; run {run.id} waits until there is one: "
        f"`celery -A keydistill.workers.app worker -Q {queue}`"
    )


def waiting_reason(settings: Settings, run: Run) -> str | None:
    """Why a run that workers carry out does not go on just now, as far as that is known."""
    if settings.redis_url is None:
        return None
    with suppress(RedisUnavailableError):
        return _waiting_reason(run, _troubles(settings, [run]), signs_of(settings))
    return None


def _waiting_reason(run: Run, troubles: Mapping[str, str], signs: Sequence[Sign]) -> str | None:
    if run.executor != "celery" or run.is_at_rest or run.is_paused:
        return None
    return f"{troubles[run.id]}; it is tried again" if run.id in troubles else _worker_missing(run, signs)


def _troubles(settings: Settings, runs: Sequence[Run]) -> dict[str, str]:
    """Why work of these runs is tried again, by their ids."""
    with closing(open_signs(settings)) as signs:
        troubles = {run.id: signs.trouble(run.id) for run in runs if run.executor == "celery"}
    return {run_id: trouble for run_id, trouble in troubles.items() if trouble is not None}


def signs_of(settings: Settings) -> list[Sign]:
    """The last signs of life of workers and beats; none without Redis."""
    if settings.redis_url is None:
        return []
    with closing(open_signs(settings)) as signs:
        return signs.all()


def findings(settings: Settings, store: RunStore, signs: Sequence[Sign]) -> list[Finding]:
    """What is wrong with unfinished runs, workers, the beat and schedules."""
    runs = unfinished_runs(store.all())
    waits: dict[str, str | None] = {}
    if settings.redis_url is not None:
        troubles = _troubles(settings, runs)
        waits = {run.id: _waiting_reason(run, troubles, signs) for run in runs}
    of_runs = ((run.id, _of_run(store, run, waits.get(run.id))) for run in runs)
    lines = [finding_of_sign(sign) for sign in signs]
    if settings.redis_url is not None:
        if settings.schedules and not any(not sign.queues and sign.is_fresh for sign in signs):
            lines.append("no beat shows a sign of life, and schedules start nothing without one")
        lines += [f"schedule {name} cannot start anything: {why}" for name, why in schedule_problems(settings).items()]
        lines += _fired_in_vain(settings)
    return [
        *(Finding("warning", text, run_id) for run_id, text in of_runs if text is not None),
        *(Finding("warning", line) for line in lines if line is not None),
    ]


def _of_run(store: RunStore, run: Run, waits: str | None) -> str | None:
    if run.state == "failed":
        return run.error or "failed"
    if store.is_lost(run.id):
        return f"lost from Redis; go on with `keydistill {run.kind} --resume {run.id}`"
    if run.is_paused:
        return None
    if run.executor == "celery":
        return None if waits is None else f"waits: {waits}"
    if store.holder(run.lease_name) != run.id:
        return f"interrupted; go on with `keydistill {run.kind} --resume {run.id}`"
    return None


def finding_of_sign(sign: Sign) -> str | None:
    """What is wrong with who gave a sign, if something is."""
    if not sign.is_fresh:
        return f"{sign.name} gave its last sign of life {sign.age_seconds:,.0f} s ago and was not told to end"
    if sign.stopped:
        return f"{sign.name}: processes {', '.join(map(str, sign.stopped))} of its pool are stopped; kill them"
    return None


def _fired_in_vain(settings: Settings) -> list[str]:
    marks = open_shared_store(settings).schedules
    fired = {name: marks.last(name) for name in settings.schedules if not marks.is_paused(name)}
    return [
        f"schedule {name} started nothing at {last.at}: {last.said}"
        for name, last in fired.items()
        if last is not None and last.run is None and last.said not in (None, "paused")
    ]
