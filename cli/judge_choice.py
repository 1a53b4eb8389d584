"""The options that choose the judge."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import click

_OPTIONS = (
    click.option(
        "--labels", type=click.Path(path_type=Path), help="Judge by this file of judgments, by item and keyphrase."
    ),
    click.option("--local", type=click.Path(path_type=Path), help="Judge by the language model in this folder."),
    click.option(
        "--simulation", type=click.Path(path_type=Path), help="Judge as the simulated marketplace in this folder does."
    ),
    click.option("--endpoint", help="Judge by the chat endpoint at this address.  [default: judge_url]"),
    click.option("--model", help="Name of the endpoint's model.  [default: judge_model]"),
    click.option(
        "--prompt", type=click.Path(path_type=Path), help="Prompt template, a TOML file.  [default: judge_prompt]"
    ),
)


def judge_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """A command with the options that choose the judge."""
    for option in reversed(_OPTIONS):
        command = option(command)
    return command
