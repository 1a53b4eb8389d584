"""Celery: the application, its tasks, and the beat that starts runs by schedules.

What is exported needs Celery, and so is imported when it is first used: the package itself can be imported without.
"""

if not __name__.startswith("keydistill."):
    raise ImportError(f"{__name__} is a part of the package keydistill; import keydistill.{__name__}")

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from keydistill.workers.celery_config import QUEUES
    from keydistill.workers.messages import sender
    from keydistill.workers.schedules import missed_times, next_times

__all__ = ["QUEUES", "missed_times", "next_times", "sender"]

_MODULES = {
    "QUEUES": "celery_config",
    "missed_times": "schedules",
    "next_times": "schedules",
    "sender": "messages",
}


def __getattr__(name: str) -> Any:
    if name not in _MODULES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_MODULES[name]}"), name)
