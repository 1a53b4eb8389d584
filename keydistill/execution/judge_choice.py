"""The judge that options or an order ask for."""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from keydistill.errors import SettingsError

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
    return ChatSettings(
        url=url,
        model=options.get("model") or settings.judge_model or "",
        api_key=settings.judge_api_key,
        concurrency=settings.judge_concurrency,
        requests_per_minute=settings.judge_requests_per_minute,
        tokens_per_minute=settings.judge_tokens_per_minute,
        timeout_seconds=settings.judge_timeout_seconds,
        connect_seconds=settings.judge_connect_seconds,
        retries=settings.judge_retries,
        backoff_seconds=settings.judge_backoff_seconds,
        request=settings.judge_request,
    )
