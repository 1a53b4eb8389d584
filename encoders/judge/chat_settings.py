"""Settings of a chat endpoint: where it is, and how hard it may be pressed."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlsplit

from pydantic import SecretStr

from keydistill.errors import SettingsError

_OWN_FIELDS = ("model", "messages", "stream", "n")


@dataclass(frozen=True, slots=True)
class ChatSettings:
    """Settings of a `ChatJudge`.

    Attributes:
        url: Base address of the endpoint, as in http://localhost:8000/v1.
        model: Name of the model at that endpoint.
        api_key: Key that is sent as bearer token; None where none is needed.
        concurrency: Most requests in flight.
        requests_per_minute: Most requests per minute; None sets no limit.
        tokens_per_minute: Most tokens per minute, of input and output, estimated beforehand; None sets no limit.
        timeout_seconds: Time limit of one request, from its first byte to its last.
        connect_seconds: Time limit of making a connection.
        retries: Times that a request is repeated which failed for a reason that may pass.
        backoff_seconds: Mean of the first pause before a repetition; it doubles, up to half a minute.
        longest_wait_seconds: An endpoint that asks for a longer pause than this is taken as unavailable.
        asks: Most times that a pair is asked about while the answers are malformed; at temperature 0 at most two, the
            second with a reminder, for a third would be the second again.
        request: Fields added to the body of each request; null takes out one that keydistill sends otherwise.
    """

    url: str
    model: str
    api_key: SecretStr | None = None
    concurrency: int = 8
    requests_per_minute: float | None = None
    tokens_per_minute: float | None = None
    timeout_seconds: float = 60.0
    connect_seconds: float = 10.0
    retries: int = 6
    backoff_seconds: float = 0.5
    longest_wait_seconds: float = 300.0
    asks: int = 3
    request: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        try:
            address = urlsplit(self.url)
            usable = address.scheme in ("http", "https") and address.hostname and address.port != 0
        except ValueError:
            usable = False
        if not usable:
            raise SettingsError("the judge's address is no http address; write http://localhost:8000/v1")
        if address.username or address.password:
            raise SettingsError("the judge's address holds a user or password; put the key into judge_api_key")
        if address.query:
            raise SettingsError("the judge's address has a ?, but a path must follow it; put a key into judge_api_key")
        key = self.api_key.get_secret_value() if self.api_key else ""
        # Elsewhere it would be refused by an error that shows it.
        if not (key.isascii() and key.isprintable()) or " " in key:
            raise SettingsError("judge_api_key holds a space, a line end or a letter that is not ASCII; copy it again")
        if not self.model.strip():
            raise SettingsError("the judge has no model; name one with --model or judge_model")
        for name in _OWN_FIELDS:
            if name in self.request:
                raise SettingsError(f"judge_request holds {name!r}, which keydistill sets itself; take it out")
