"""What an endpoint says when it does not answer: how long to wait, what to change, and what must not be repeated."""

import json
import math
import re
import time
from collections.abc import Iterator, Mapping
from email.utils import parsedate_to_datetime
from typing import Any

from keydistill.encoders.judge.chat_settings import ChatSettings
from keydistill.masking import masked

# Alternatives of a token that are asked for; some servers give fewer.
MOST_ALTERNATIVES = 20


def refused_fields(said: str, request: Mapping[str, Any]) -> str:
    r"""What to do where an endpoint names fields of the request, or a number of alternatives that it gives.

    >>> refused_fields("unknown field max_tokens", {"max_tokens": 8}).partition("as in ")[2]
    'KEYDISTILL_JUDGE_REQUEST=\'{"max_tokens": null}\' (docs/judge.md)'
    """
    words = set(re.findall(r"\w+", said))
    fields: dict[str, int | None] = dict.fromkeys(words & request.keys() - {"logprobs", "top_logprobs"})
    if "logprob" in said:
        fewer = [int(number) for number in re.findall(r"\d+", said) if 0 < int(number) < MOST_ALTERNATIVES]
        fields |= {"top_logprobs": fewer[-1]} if fewer else {"logprobs": None, "top_logprobs": None}
    if not fields:
        return ""
    return (
        "; judge_request changes the fields of a request or leaves them out, as in "
        f"KEYDISTILL_JUDGE_REQUEST='{json.dumps(fields, sort_keys=True)}' (docs/judge.md)"
    )


def secrets_of(settings: ChatSettings) -> list[str]:
    """The key, and what is masked in the fields of the request, the longest first."""
    key = settings.api_key.get_secret_value() if settings.api_key else ""
    return sorted({text for text in (key, *_masked_texts(settings.request)) if text}, key=len, reverse=True)


def _masked_texts(value: object, name: str = "") -> Iterator[str]:
    if isinstance(value, Mapping):
        for key, each in value.items():
            yield from _masked_texts(each, f"{name} {key}")
    elif isinstance(value, list | tuple):
        for each in value:
            yield from _masked_texts(each, name)
    elif isinstance(value, str) and masked(value, name) != value:
        yield value


# What to do where no request will fare better, by status.
HINTS: Mapping[int, str] = {
    401: "set judge_api_key (KEYDISTILL_JUDGE_API_KEY), and name the endpoint in judge_url or judge_endpoints",
    403: "the key may not use this model; check judge_api_key and judge_model",
    404: "check the address, which mostly ends in /v1, and the model's name",
    429: "its quota is used up",
}


def retry_after_seconds(header: str | None) -> float:
    """Seconds of a Retry-After header, which holds seconds or a date; 0 if it says nothing.

    >>> retry_after_seconds("7"), retry_after_seconds(None), retry_after_seconds("Wed, 21 Oct 2015 07:28:00 GMT")
    (7.0, 0.0, 0.0)
    """
    try:
        seconds = float(header or 0)
    except ValueError:
        try:
            seconds = parsedate_to_datetime(header or "").timestamp() - time.time()
        except ValueError:
            return 0.0
    return max(0.0, seconds) if math.isfinite(seconds) else 0.0
