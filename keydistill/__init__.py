"""Recommends advertiser keyphrases: distilled bi-encoder retrieval out of millions of buyer queries.

What services and notebooks need stands here, and is imported when it is first asked for:

    from keydistill import LiveRetriever, keyphrase_filter, load_settings, open_engine
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from keydistill.encoders import Assistant, Student
    from keydistill.errors import KeydistillError
    from keydistill.retrieval import LiveRetriever, Recommendation, Retriever
    from keydistill.settings import Settings, load_settings
    from keydistill.vectorstore import AnyOf, Equals, Filter, Range, keyphrase_filter, open_engine

    __version__: str

__all__ = [
    "AnyOf",
    "Assistant",
    "Equals",
    "Filter",
    "KeydistillError",
    "LiveRetriever",
    "Range",
    "Recommendation",
    "Retriever",
    "Settings",
    "Student",
    "__version__",
    "keyphrase_filter",
    "load_settings",
    "open_engine",
]

# The rooms that have them.
_ROOMS = {
    "encoders": ("Assistant", "Student"),
    "errors": ("KeydistillError",),
    "retrieval": ("LiveRetriever", "Recommendation", "Retriever"),
    "settings": ("Settings", "load_settings"),
    "vectorstore": ("AnyOf", "Equals", "Filter", "Range", "keyphrase_filter", "open_engine"),
}
_ROOM_OF = {name: room for room, names in _ROOMS.items() for name in names}


def __getattr__(name: str) -> Any:
    value: Any
    if name == "__version__":
        # Importing this takes a sixth of what a whole search may.
        from importlib.metadata import version

        value = version("keydistill")
    elif name in _ROOM_OF:
        value = getattr(import_module(f"keydistill.{_ROOM_OF[name]}"), name)
    else:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    # Asked for once.
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
