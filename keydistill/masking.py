"""Values as they may be shown: addresses without user, password and query, and nothing that looks like a key."""

import re
from collections.abc import Mapping
from typing import Any

from pydantic import BaseModel, SecretStr

MASK = "**********"
# Names of what is a secret if it is a text; a number, as of `max_tokens`, is none.
_SECRET_NAME = re.compile(
    "(?<![a-z])(api.?key|key|token|secret|password|passwd|auth|authorization|headers?|cookies?|credentials?)(?![a-z])",
    re.IGNORECASE,
)


def shown_address(url: str, mask: str = "") -> str:
    """The address without user, password and query, or with a mask for each of them.

    >>> shown_address("https://ann:secret@search.example:6333/qdrant?key=1")
    'https://search.example:6333/qdrant'
    >>> shown_address("s3://ID:with/slash@bucket/prefix", "***")
    's3://***@bucket/prefix'
    """
    scheme, _, rest = (url if "://" in url else f"http://{url}").partition("://")
    # From the first :// to the last @: a password may hold any character, and fsspec chains addresses.
    _, at, place = rest.rpartition("@")
    place, *query = re.split("[?#]", place, maxsplit=1)
    shown_user = f"{mask}@" if at and mask else ""
    shown_query = f"?{mask}" if query and mask else ""
    return f"{scheme}://{shown_user}{place.rstrip('/')}{shown_query}"


def masked(value: Any, name: str = "") -> Any:
    """A setting as it may be shown, in plain values.

    Args:
        value: Text, number, list, mapping, model or `SecretStr`.
        name: What it is called, by which a secret is known.
    """
    if isinstance(value, SecretStr):
        return MASK
    if isinstance(value, BaseModel):
        value = value.model_dump()
    if isinstance(value, Mapping):
        return {key: masked(each, f"{name} {key}") for key, each in value.items()}
    if isinstance(value, list | tuple):
        return [masked(each, name) for each in value]
    if not isinstance(value, str):
        return value
    if "://" in value or (name.endswith("_url") and "@" in value):
        return shown_address(value, MASK)
    return MASK if _SECRET_NAME.search(name) else value
