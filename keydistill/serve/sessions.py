"""Sessions of the page: a login by an API key, kept in a cookie that every process of the service can check.

A cookie names its key and its end, and is signed by a secret that lasts as long as the service, together with the
key's hash: a key that is removed or replaced takes its sessions along, and none of it has to be stored.
"""

import hashlib
import hmac
import time
from urllib.parse import urlsplit

from starlette.datastructures import Headers
from starlette.requests import cookie_parser
from starlette.responses import Response

from keydistill.serve.keys import Keys

# A working day, after which a browser that was left open asks for the key again.
SECONDS = 12 * 3_600
_COOKIE = "keydistill-session"
# Browsers take a cookie with this prefix only over TLS, and from this very host.
_SECURE_COOKIE = f"__Host-{_COOKIE}"


class Sessions:
    """The sessions of the page."""

    def __init__(self, keys: Keys, secret: bytes) -> None:
        """Check and sign by `secret`, which all processes behind one port share.

        Args:
            keys: API keys of the service.
            secret: Random bytes that nobody else knows.
        """
        self._keys, self._secret = keys, secret

    def begin(self, response: Response, key: str, scheme: str) -> str | None:
        """Give a session to whoever has a key.

        Args:
            response: Answer that takes the cookie.
            key: The key that was given.
            scheme: "https" where the browser came over TLS.

        Returns:
            The name of the key; None where it opens nothing, and then there is no cookie.
        """
        name = self._keys.name_of(key)
        if name is not None:
            self._set(response, scheme, self._signed(name, int(time.time()) + SECONDS), SECONDS)
        return name

    def end(self, response: Response, scheme: str) -> None:
        """Have the browser forget its session."""
        self._set(response, scheme, "", 0)

    def name_of(self, headers: Headers, scheme: str) -> str | None:
        """The name of the key whose session a request has; None where it has none, or one that is over."""
        cookie = cookie_parser(headers.get("cookie", "")).get(_cookie_name(scheme), "")
        try:
            encoded, end, _ = cookie.split(".")
            name = bytes.fromhex(encoded).decode()
            seconds = int(end)
        except ValueError:
            return None
        if seconds <= time.time() or not hmac.compare_digest(self._signed(name, seconds).encode(), cookie.encode()):
            return None
        return name if self._keys.hash_of(name) is not None else None

    def _signed(self, name: str, end: int) -> str:
        claim = f"{name.encode().hex()}.{end}"
        message = f"{claim}.{self._keys.hash_of(name)}"
        return f"{claim}.{hmac.new(self._secret, message.encode(), hashlib.sha256).hexdigest()}"

    def _set(self, response: Response, scheme: str, value: str, seconds: int) -> None:
        response.set_cookie(
            _cookie_name(scheme),
            value,
            max_age=seconds,
            secure=scheme == "https",
            httponly=True,
            samesite="strict",
        )


def comes_from_own_page(headers: Headers) -> bool:
    """Whether a browser says that a request was made by a page of this very address: no other site can say so.

    Browsers of the last years say it in `Sec-Fetch-Site` over TLS and on this machine; all say it in `Origin`.
    """
    site = headers.get("sec-fetch-site")
    if site is not None:
        return site == "same-origin"
    try:
        return urlsplit(headers.get("origin", "")).netloc.lower() == headers.get("host", "").lower() != ""
    except ValueError:
        return False


def _cookie_name(scheme: str) -> str:
    return _SECURE_COOKIE if scheme == "https" else _COOKIE
