"""All checks in their order, and one round of them."""

from collections.abc import Callable, Iterable
from contextlib import closing
from dataclasses import dataclass

from keydistill.doctor import configuration, machine, stored, versions, work
from keydistill.doctor.complaint import Complaint
from keydistill.doctor.patient import Patient
from keydistill.errors import KeydistillError


@dataclass(frozen=True, slots=True)
class Check:
    """One check.

    Attributes:
        name: Its name.
        summary: What it makes sure of.
        run: The check.
        needs: Checks without whose success it could only repeat what they said.
    """

    name: str
    summary: str
    run: Callable[[Patient], Iterable[Complaint]]
    needs: tuple[str, ...] = ()


# What most others ask.
_BOTH = ("engine", "redis")
CHECKS = (
    Check("settings", "no two settings contradict each other", configuration.contradictions),
    Check("files", "files that settings name are there", configuration.missing_files),
    Check("packages", "Python packages are of the versions that go together", versions.packages),
    Check("home", "the home is there", machine.home_is_there),
    Check("secrets", "files with secrets are their owner's alone", machine.private_files),
    # Before anything opens a collection, which clears abandoned views away.
    Check("leftovers", "killed processes left no views or work folders", machine.leftovers, ("home",)),
    Check("permissions", "the home is its owner's alone, and can be written", machine.home_permissions, ("home",)),
    Check("redis", "Redis answers, keeps what it gets, and its clock is ours", work.redis_answers),
    Check("engine", "the engine answers: the server, or the embedded catalogue", stored.engine_answers, ("home",)),
    Check("servers", "Qdrant, Redis, workers and beats are of versions that go together", versions.servers, _BOTH),
    Check("disk", "the next build has room", machine.disk, ("home",)),
    Check("memory", "the next build has memory", machine.memory, ("home",)),
    Check("aliases", "aliases name what can be read, by a student that is there", stored.aliases, _BOTH),
    Check("collections", "no collection is an orphan, lost or half built", stored.collections, _BOTH),
    Check("records", "every record of a run, and the log, can be read", stored.records, ("home", "redis")),
    Check("snapshots", "snapshots belong to runs, and what is live has its own", stored.snapshots, _BOTH),
    Check("runs", "runs go on, workers and the beat are alive", work.runs, ("home", "redis")),
    Check("leases", "no lease is kept for a run that is over", work.leases, ("home", "redis")),
    Check("schedules", "every schedule fired when it should", work.schedules, ("redis",)),
    Check("models", "models are what was published, and the promoted ones are there", stored.models, ("home",)),
)


@dataclass(frozen=True, slots=True)
class Diagnosis:
    """A finding of a check, and whether it was mended."""

    check: str
    complaint: Complaint
    fixed: bool = False


def diagnose(patient: Patient, *, fix: bool = False) -> list[Diagnosis]:
    """What all checks find; the patient is closed afterwards.

    Args:
        patient: The installation.
        fix: Mend what is safe to mend.
    """
    diagnoses: list[Diagnosis] = []
    broken: set[str] = set()
    with closing(patient):
        for check in CHECKS:
            if broken.intersection(check.needs):
                # What needs this one can no more be done.
                broken.add(check.name)
                continue
            try:
                complaints = list(check.run(patient))
            except KeydistillError as error:
                broken.add(check.name)
                complaints = [
                    Complaint("error", str(error), f"mend that, then `keydistill doctor` again: {check.summary}")
                ]
            for complaint in complaints:
                if fix and complaint.fix is not None:
                    complaint.fix()
                diagnoses.append(Diagnosis(check.name, complaint, fix and complaint.fix is not None))
    return diagnoses
