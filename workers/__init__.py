"""Runs carried out by Celery workers, and the schedules that start them."""

if not __name__.startswith("keydistill."):
    raise ImportError(f"{__name__} is a part of the package keydistill; import keydistill.{__name__}")

from keydistill.workers.schedules import next_times

__all__ = [
    "next_times",
]
