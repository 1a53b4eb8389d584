"""All checks in their order, and one round of them."""

from collections.abc import Callable, Iterable
from contextlib import closing
from dataclasses import dataclass

from keydistill.doctor import configuration, machine, stored, work
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


CHECKS = (
    Check("settings", "no two settings contradict each other", configuration.contradictions),
    Check("files", "files that settings name are there", configuration.missing_files),
    # Before anything opens a collection, which clears abandoned views away.
    Check("leftovers", "killed processes left no views or work folders", machine.leftovers),
    Check("permissions", "the home is its owner's alone, and can be written", machine.home_permissions),
    Check("redis", "Redis answers, keeps what it gets, and its clock is ours", work.redis_answers),
    Check("engine", "the engine answers: the server, or the embedded catalogue", stored.engine_answers),
    Check("disk", "the next build has room", machine.disk),
    Check("memory", "the next build has memory", machine.memory),
    Check("aliases", "aliases name what can be read, by a student that is there", stored.aliases, ("engine", "redis")),
    Check("collections", "no collection is an orphan, lost or half built", stored.collections, ("engine", "redis")),
    Check("records", "every record of a run, and the log, can be read", stored.records, ("redis",)),
    Check("runs", "runs go on, workers and the beat are alive", work.runs, ("redis",)),
    Check("leases", "no lease is kept for a run that is over", work.leases, ("redis",)),
    Check("schedules", "every schedule fired when it should", work.schedules, ("redis",)),
    Check("models", "models are what was published, and the promoted ones are there", stored.models),
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
