"""The judge that options or an order ask for."""

import re
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from keydistill.errors import SettingsError
from keydistill.masking import masked

if TYPE_CHECKING:
    from keydistill.encoders.judge import ChatSettings, Judge
    from keydistill.settings import Settings

_FILES = ("labels", "local", "simulation")


def check_judge(settings: "Settings", options: Mapping[str, Any]) -> None:
    """Check that the options, or else the settings, name one judge that can be made; loads and asks none.

    Raises:
        SettingsError: They name no judge or several, or an endpoint that is malformed.
        InputError: The prompt cannot be read.
    """
    from keydistill.encoders.judge import PromptTemplate

    named = [f"--{name}" for name in _FILES if options.get(name) is not None]
    if len(named) > 1:
        raise SettingsError(f"give {' or '.join(named)}, not both")
    if named and options.get("local") is None:
        return
    PromptTemplate.load(options.get("prompt") or settings.judge_prompt)
    if not named:
        _chat_settings(settings, options)


def is_trusted(settings: "Settings", endpoint: str) -> bool:
    """Whether the settings name this endpoint, or one that its path goes on from."""
    named = _origin_and_path(endpoint)
    if named is None:
        return False
    origin, path = named
    for trusted in filter(None, (settings.judge_url, *settings.judge_endpoints)):
        known = _origin_and_path(trusted)
        if known is not None and known[0] == origin and f"{path}/".startswith(f"{known[1]}/"):
            return True
    return False


def _origin_and_path(endpoint: str) -> tuple[tuple[str, str, int], str] | None:
    """Scheme, host and port, and the path; None of what cannot be told apart safely."""
    try:
        parts = urlsplit(endpoint)
        port = parts.port or {"http": 80, "https": 443}.get(parts.scheme)
    except ValueError:
        return None
    # Servers read a path with dots, or with marks that stand for others, in different ways.
    if port is None or not parts.hostname or parts.username is not None or re.search(r"\.\.|[%\\\s]", endpoint):
        return None
    return (parts.scheme, parts.hostname, port), parts.path.rstrip("/")


def judge_of(settings: "Settings", options: Mapping[str, Any]) -> "Judge":
    """The judge that the options ask for, otherwise the one in the settings.

    Raises:
        SettingsError: There is no judge, or the options name several.
        InputError: A file or folder is not what it should be.
    """
    from keydistill.distillation.pairs import read_labels
    from keydistill.encoders.judge import ChatJudge, LocalJudge, PromptTemplate

    check_judge(settings, options)
    if options.get("labels") is not None:
        return read_labels(options["labels"])
    if options.get("simulation") is not None:
        from keydistill.simulation import SimulatedJudge

        return SimulatedJudge.of(options["simulation"])
    prompt = PromptTemplate.load(options.get("prompt") or settings.judge_prompt)
    if options.get("local") is not None:
        return LocalJudge.load(options["local"], prompt, threads=settings.threads)
    return ChatJudge(_chat_settings(settings, options), prompt)


def _chat_settings(settings: "Settings", options: Mapping[str, Any]) -> "ChatSettings":
    from keydistill.encoders.judge import ChatSettings

    url = options.get("endpoint") or settings.judge_url
    if url is None:
        raise SettingsError(
            "there is no judge; give --endpoint and --model, or one of --local, --labels and --simulation"
        )
    # Keys were given for the settings' endpoints; a command or a message may name any other.
    trusted = is_trusted(settings, url)
    harmless = {name: value for name, value in settings.judge_request.items() if masked(value, name) == value}
    return ChatSettings(
        url=url,
        model=options.get("model") or settings.judge_model or "",
        api_key=settings.judge_api_key if trusted else None,
        concurrency=settings.judge_concurrency,
        requests_per_minute=settings.judge_requests_per_minute,
        tokens_per_minute=settings.judge_tokens_per_minute,
        timeout_seconds=settings.judge_timeout_seconds,
        connect_seconds=settings.judge_connect_seconds,
        retries=settings.judge_retries,
        backoff_seconds=settings.judge_backoff_seconds,
        request=settings.judge_request if trusted else harmless,
    )
