"""The address of Redis and its TLS options, checked once for all who connect: commands, workers and the beat.

Redis' own client, Celery's broker and result backend, and RedBeat read options out of an address in ways that differ,
and their errors show pieces of the password. So what they get is made here.
"""

import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl, urlsplit

from keydistill.errors import SettingsError
from keydistill.settings.fields import Settings

_EXPECTED = "expected one like redis://:PASSWORD@HOST:6379/0"
_ESCAPES = "; characters of a password are escaped: % as %25, # as %23, / as %2F, ? as %3F, @ as %40, : as %3A"
# What `ssl_cert_reqs` may be, in the spellings of Redis' client and of Celery.
_CHECKS = {
    "required": "required",
    "cert_required": "required",
    "optional": "optional",
    "cert_optional": "optional",
    "none": "none",
    "cert_none": "none",
}
_FILES = {
    "ssl_ca_certs": "redis_ca_certificate",
    "ssl_certfile": "redis_client_certificate",
    "ssl_keyfile": "redis_client_key",
}


@dataclass(frozen=True, slots=True)
class RedisAddress:
    """An address without options, and the options of its TLS.

    Attributes:
        url: Address with user and password; rediss turns TLS on.
        tls: Options of TLS by the names of Redis' client; empty without TLS.
        place: Host and port, or the path of a socket: the part that may be shown.
    """

    url: str = field(repr=False)
    tls: dict[str, Any]
    place: str


def redis_address(settings: Settings) -> RedisAddress:
    """The address of Redis that the settings name.

    Raises:
        SettingsError: There is none, or it or its options cannot be used; the message has no part of it but its scheme.
    """
    if settings.redis_url is None:
        raise SettingsError("redis_url is not set; set KEYDISTILL_REDIS_URL=redis://HOST:6379/0")
    url = settings.redis_url.get_secret_value().strip()
    scheme = url.partition("://")[0].lower() if "://" in url else ""
    if scheme not in ("redis", "rediss", "unix"):
        raise SettingsError(f"redis_url {_scheme_problem(scheme)}; {_EXPECTED}, or rediss:// for TLS")
    without_query, _, query = url.partition("?")
    _, at, place = without_query.partition("://")[2].rpartition("@")
    if "#" in url or "@" in query or _is_broken(without_query):
        raise SettingsError(f"redis_url is no address of a Redis; {_EXPECTED}{_ESCAPES}")
    if scheme == "unix":
        if query and not re.fullmatch(r"db=\d+", query):
            raise SettingsError("redis_url: the address of a socket takes no option but ?db=NUMBER")
        return RedisAddress(url, {}, place if at else url.removeprefix("unix://").partition("?")[0])
    parts = urlsplit(without_query)
    place = f"{parts.hostname}:{parts.port or 6379}"
    tls = _tls_of(settings, query)
    if scheme == "redis":
        if tls:
            raise SettingsError(f"redis_url begins with redis://, but {', '.join(tls)} is given; TLS needs rediss://")
        return RedisAddress(without_query, {}, place)
    checked = {"ssl_cert_reqs": "required", **tls}
    # Where the certificate is not looked at, nor is the name in it.
    checked.setdefault("ssl_check_hostname", checked["ssl_cert_reqs"] != "none")
    if checked["ssl_cert_reqs"] == "none" and checked["ssl_check_hostname"]:
        raise SettingsError("redis_url: ssl_check_hostname needs ssl_cert_reqs=required")
    return RedisAddress(without_query, checked, place)


def _scheme_problem(scheme: str) -> str:
    if "sentinel" in scheme or "cluster" in scheme:
        return (
            f"begins with {scheme}://, which is not supported: name the primary itself, or an address that leads to it "
            "(a service name, or a proxy)"
        )
    # A text that is no scheme may be a piece of the password.
    known = scheme if scheme in ("http", "https", "amqp", "amqps", "valkey", "valkeys", "redis+socket") else None
    return f"begins with {known}://" if known else "names no scheme that is known"


def _is_broken(url: str) -> bool:
    """Whether an address, without its options, is none, or has a password that is not escaped."""
    scheme, _, rest = url.partition("://")
    secret, at, place = rest.rpartition("@")
    if scheme.lower() == "unix":
        return not place.startswith("/") or re.search("[@/]", secret) is not None or _is_unescaped(secret)
    user, _, password = secret.partition(":")
    if at and ("@" in secret or "/" in secret or ":" in password or _is_unescaped(user) or _is_unescaped(password)):
        return True
    try:
        parts = urlsplit(f"//{place}")
        port = parts.port
    except ValueError:
        return True
    return not (
        parts.hostname
        and port != 0
        and re.fullmatch(r"/?|/\d+", parts.path)
        and re.fullmatch(r"[A-Za-z0-9._-]+|[0-9A-Fa-f:.%]+", parts.hostname)
    )


def _is_unescaped(text: str) -> bool:
    return re.search(r"%(?![0-9A-Fa-f]{2})|[\s\[\]]", text) is not None


def _tls_of(settings: Settings, query: str) -> dict[str, Any]:
    """The options of TLS, out of the address and the settings, by the names of Redis' client."""
    tls: dict[str, Any] = {}
    for name, value in parse_qsl(query, keep_blank_values=True):
        if name == "ssl_cert_reqs":
            if value.lower() not in _CHECKS:
                raise SettingsError("redis_url: ssl_cert_reqs is none of required, optional and none")
            tls[name] = _CHECKS[value.lower()]
        elif name == "ssl_check_hostname":
            if value.lower() not in ("true", "false"):
                raise SettingsError("redis_url: ssl_check_hostname is neither true nor false")
            tls[name] = value.lower() == "true"
        elif name in _FILES:
            tls[name] = value
        else:
            names = ", ".join(["ssl_cert_reqs", "ssl_check_hostname", *_FILES])
            raise SettingsError(f"redis_url has an option that is not known; it takes {names}{_ESCAPES}")
    for name, setting in _FILES.items():
        path = getattr(settings, setting)
        if path is not None:
            if name in tls and Path(tls[name]) != path:
                raise SettingsError(f"{name} in redis_url and the setting {setting} differ; remove one of them")
            tls[name] = str(path.expanduser())
        if name in tls and not Path(tls[name]).is_file():
            raise SettingsError(f"setting {setting!r} ({name} in redis_url): there is no such file: {tls[name]}")
    if ("ssl_keyfile" in tls) != ("ssl_certfile" in tls) and "ssl_keyfile" in tls:
        raise SettingsError("setting 'redis_client_key' is set, but redis_client_certificate is not")
    return tls
