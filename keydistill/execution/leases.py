"""Leases of the workers: the name of a part's lease, and how long a run keeps its own while nobody works on it."""

from keydistill.runs import part_name
from keydistill.settings import Settings

# How long a lease is reserved for a new or resumed run, until a worker takes it up; the watchdog renews it after that.
RESERVED_SECONDS = 300


def reserve_seconds(settings: Settings) -> float:
    """The seconds for which a run keeps its lease while no worker works on it: some turns of the watchdog."""
    return max(5 * settings.watchdog_seconds, 5 * settings.lease_seconds)


def part_lease(run_id: str, number: int) -> str:
    """Name of the lease on a part."""
    return f"{run_id} {part_name(number)}"
