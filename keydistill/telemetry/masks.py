"""Secrets in texts that are logged: known ones by their value, those of addresses and headers by their place."""

import json
import re
from collections.abc import Iterator, Mapping
from typing import Any
from urllib.parse import unquote, urlsplit

from pydantic import BaseModel, SecretStr

from keydistill.masking import MASK, masked

# From the first :// to the last @ of a word: a password may hold any character.
_USER = re.compile(r"(?<=://)[^\s'\"<>]*@")
_BEARER = re.compile(r"\b(bearer|authorization\W{1,3}basic)\s+[\w.~+/=-]{6,}", re.IGNORECASE)
# A shorter one would be found in words that have nothing to do with it.
_SHORTEST = 4
_known: set[str] = set()


def remember_secrets(settings: BaseModel) -> None:
    """Mask the values of these settings' secrets from now on, wherever they come up."""
    for name in type(settings).model_fields:
        for secret in _secrets(getattr(settings, name), name):
            # As a line in JSON has it, too.
            _known.update(text for text in (secret, json.dumps(secret)[1:-1]) if len(text) >= _SHORTEST)


def masked_text(text: str) -> str:
    """The text without secrets.

    >>> masked_text("redis://ann:pa@ss@host:6379/0 refused Bearer abcdefgh")
    'redis://**********@host:6379/0 refused Bearer **********'
    """
    text = _USER.sub(f"{MASK}@", _BEARER.sub(rf"\1 {MASK}", text))
    # The longest first: one may be a part of another.
    for secret in sorted(_known, key=len, reverse=True):
        text = text.replace(secret, MASK)
    return text


def _secrets(value: Any, name: str) -> Iterator[str]:
    if isinstance(value, SecretStr):
        text = value.get_secret_value()
        if "://" not in text:
            yield text
        elif password := urlsplit(text).password:
            yield from (password, unquote(password))
    elif isinstance(value, Mapping):
        for key, each in value.items():
            yield from _secrets(each, f"{name} {key}")
    elif isinstance(value, str) and masked(value, name) == MASK:
        yield value
