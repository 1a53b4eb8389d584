"""The options of lists of keyphrases, which several commands have."""

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, TypeVar

import click

if TYPE_CHECKING:
    from keydistill.retrieval import ListOptions

_Command = TypeVar("_Command", bound=Callable[..., Any])
NAMES = ("min_score", "fallback", "merge_variants", "rerank", "volume_weight", "diversity", "candidates", "explain")

_OPTIONS = (
    click.option("--min-score", type=click.FloatRange(-1, 1), help="Least cosine similarity of item and keyphrase."),
    click.option(
        "--fallback",
        type=click.IntRange(0),
        default=0,
        metavar="N",
        help="With fewer than N keyphrases, ask the category above the one asked for, too.",
    ),
    click.option(
        "--merge-variants", is_flag=True, help="Merge keyphrases that differ in word order, plural, spacing or accents."
    ),
    click.option(
        "--rerank", type=click.IntRange(0), default=0, metavar="N", help="Put the nearest N in the assistant's order."
    ),
    click.option("--assistant", help="Assistant that reranks: a folder, promoted, or assistant/VERSION."),
    click.option(
        "--volume-weight",
        type=click.FloatRange(0, 10),
        default=0.0,
        help="What ten times as many searches are worth, as a part of the score.",
    ),
    click.option(
        "--diversity",
        type=click.FloatRange(0, 1),
        default=0.0,
        help="Weight of what is new in a list against what is relevant.",
    ),
    click.option("--candidates", type=click.IntRange(1, 10_000), help="Nearest keyphrases that a list is chosen from."),
    click.option("--explain", is_flag=True, help="Say why each keyphrase is there."),
)


def list_options(command: _Command) -> _Command:
    """Give a command the options of a list."""
    for option in reversed(_OPTIONS):
        command = option(command)
    return command


def chosen(limit: int, excluded: bool, **options: Any) -> "ListOptions | None":
    """The options of a list, or None where nothing but the nearest keyphrases was asked for.

    Args:
        limit: Length of the lists.
        excluded: Whether keyphrases are to be left out.
        options: Values by `NAMES`.

    Raises:
        click.UsageError: The options do not fit the length, or one another.
    """
    from keydistill.retrieval import ListOptions

    choice = ListOptions(**{name: options[name] for name in NAMES})
    try:
        choice.candidates_of(limit, 0)
    except ValueError as error:
        raise click.UsageError(str(error)) from None
    return None if choice == ListOptions() and not excluded else choice
