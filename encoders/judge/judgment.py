"""Judges in general: what they are asked, and what they answer."""

from __future__ import annotations

from collections.abc import Generator, Iterable
from dataclasses import dataclass
from typing import Literal, Protocol

# Why a pair has no label. The codes are stable: programs may rely on them.
ProblemKind = Literal["malformed_answer", "refused", "unreachable", "not_in_table"]


@dataclass(frozen=True, slots=True)
class Pair:
    """A keyphrase and the item that it may be for.

    Attributes:
        item_id: Id of the item in files.
        keyphrase: A buyer's query.
        title: Title of the item.
        category: Category of the item, "A > B > C".
        site: Site on which the item is sold; the judge does not see it.
    """

    item_id: str
    keyphrase: str
    title: str
    category: str | None = None
    site: str | None = None


@dataclass(frozen=True, slots=True)
class Usage:
    """Tokens that went into a model and came out of it.

    >>> Usage(100, 1) + Usage(20, 2)
    Usage(input_tokens=120, output_tokens=3)
    """

    input_tokens: int = 0
    output_tokens: int = 0

    def __add__(self, other: Usage) -> Usage:
        return Usage(self.input_tokens + other.input_tokens, self.output_tokens + other.output_tokens)

    @property
    def total(self) -> int:
        """Input and output tokens together."""
        return self.input_tokens + self.output_tokens


@dataclass(frozen=True, slots=True)
class Problem:
    """Why a pair was left without a label: a stable code, and one line for a person."""

    kind: ProblemKind
    detail: str


@dataclass(frozen=True, slots=True)
class Judgment:
    """The judgment of a pair; either `label` or `problem` is set.

    Attributes:
        label: Whether the keyphrase is right for the item; None if the judge gave no usable answer.
        probability: Probability of yes, where the model gives it; at least 0.5 exactly if the label is yes. It is never
            made up.
        usage: Tokens that the judgment took, with all repetitions.
        malformed: Number of answers that were neither yes nor no, before this one or instead of it.
        problem: Why there is no label.
    """

    label: bool | None
    probability: float | None = None
    usage: Usage = Usage()
    malformed: int = 0
    problem: Problem | None = None


class Judge(Protocol):
    """Whoever says of pairs whether the keyphrase is right for the item.

    There are a chat endpoint, a local model and a table of labels; whoever collects judgments need not know which.
    """

    @property
    def name(self) -> str:
        """The model's name, which stands in the column `judge` of its judgments."""

    @property
    def prompt_version(self) -> str:
        """The template's name and a hash of its content, which stand in the column `prompt_version`."""

    def key(self, pair: Pair) -> bytes:
        """Hash of all that the judgment depends on. Pairs of one key get one judgment."""

    def estimate(self, pair: Pair) -> Usage:
        """About how many tokens judging the pair will take."""

    def judge_many(self, pairs: Iterable[Pair]) -> Generator[tuple[Pair, Judgment], None, None]:
        """Judge pairs, several at a time; each comes out once, in any order, as soon as it is judged.

        Pairs are taken one by one as there is room, so that the caller decides late what is still asked.
        Close it (`contextlib.closing`) where not all are taken: that calls off what is in flight.

        Raises:
            JudgeError: The judge cannot work at all, as with a wrong key; what came out before stands.
        """
