"""Judges of an evaluation, which decide whether a recommended keyphrase is relevant, and how the report names them."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, Protocol

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from keydistill.errors import InputError
from keydistill.progress import NO_PROGRESS, Progress

if TYPE_CHECKING:
    from keydistill.distillation.evaluation.corpus import Corpus
    from keydistill.encoders import Assistant

Probabilities = NDArray[np.float32]

# Number of pairs per call of the assistant: it sorts them by length, and reports after each call at the latest.
_ASSISTANT_PAIRS = 4_096


@dataclass(frozen=True, slots=True)
class JudgeInfo:
    """Information about what decided on relevance.

    Attributes:
        kind: "labels" (people, or an LLM judge, decided before), "truth" (labels that are complete) or "assistant" (a
            cross-encoder stands in for the judge).
        name: Name of the table's judge, or version of the assistant.
        threshold: Probability from which on a pair is relevant.
    """

    kind: Literal["labels", "truth", "assistant"]
    name: str
    threshold: float = 0.5

    def sentence(self) -> str:
        """A sentence of the report: who decided, and what that means for the figures."""
        if self.kind == "assistant":
            return (
                f"The assistant {self.name}, a cross-encoder, stands in for the judge: a keyphrase counts as relevant "
                f"if its probability is at least {self.threshold:g}. No person or LLM looked at these lists."
            )
        if self.kind == "truth":
            return f"Complete labels ({self.name}) decide: a pair that is not among them is irrelevant."
        return f"Labels ({self.name}) decide; a pair without a label is not judged and counts in no proportion."


class RelevanceJudge(Protocol):
    """Whatever decides on pairs of items and keyphrases."""

    @property
    def info(self) -> JudgeInfo:
        """What decides, for the report."""

    def probabilities(
        self, corpus: "Corpus", items: NDArray[np.int64], texts: NDArray[np.int64], progress: Progress = NO_PROGRESS
    ) -> Probabilities:
        """The probability that each pair is relevant; nan where the judge does not know.

        Args:
            corpus: Corpus whose items and texts the numbers stand for.
            items: Item of each pair, shape (n,).
            texts: Keyphrase of each pair, shape (n,).
            progress: Advanced by the number of pairs done.
        """


class LabelJudge:
    """A judge that looks labels up in a table.

    Args:
        labels: Table of `item_id`, `keyphrase`, `label`; of several labels of a pair, the last counts.
        name: Name of whoever gave the labels; None takes it from the column `judge`.
        complete: Whether the table has every relevant pair, so that any other is irrelevant (a simulation's truth).
    """

    def __init__(self, labels: pa.Table, *, name: str | None = None, complete: bool = False) -> None:
        self._labels = labels
        self._complete = complete
        self._relevant = label_column(labels)
        self.info = JudgeInfo("truth" if complete else "labels", name or _judge_names(labels))

    def probabilities(
        self, corpus: "Corpus", items: NDArray[np.int64], texts: NDArray[np.int64], progress: Progress = NO_PROGRESS
    ) -> Probabilities:
        """The label of each pair as 1 or 0, nan where it has none; see `RelevanceJudge.probabilities`."""
        rows = corpus.pair_table(self._labels).find(corpus.keys(items, texts))
        unknown = np.float32(0 if self._complete else np.nan)
        if not len(self._relevant):
            return np.full(rows.shape, unknown, dtype=np.float32)
        return np.where(rows >= 0, self._relevant[rows], unknown).astype(np.float32)


class AssistantJudge:
    """A judge that lets the assistant decide.

    Args:
        assistant: Assistant that scores the pairs, with calibrated probabilities.
        threshold: Probability from which on a pair is relevant.
    """

    def __init__(self, assistant: "Assistant", threshold: float = 0.5) -> None:
        self._assistant = assistant
        self.info = JudgeInfo("assistant", assistant.version, threshold)

    def probabilities(
        self, corpus: "Corpus", items: NDArray[np.int64], texts: NDArray[np.int64], progress: Progress = NO_PROGRESS
    ) -> Probabilities:
        """The assistant's probabilities; see `RelevanceJudge.probabilities`."""
        parts = [np.empty(0, dtype=np.float32)]
        for start in range(0, len(items), _ASSISTANT_PAIRS):
            window = slice(start, start + _ASSISTANT_PAIRS)
            places = items[window].tolist()
            parts.append(
                self._assistant.score(
                    [corpus.titles[item] for item in places],
                    [corpus.texts[text] for text in texts[window].tolist()],
                    [corpus.item_categories[item] for item in places],
                    progress=progress,
                )
            )
        return np.concatenate(parts)


def label_column(labels: pa.Table) -> NDArray[np.float32]:
    """Labels as 1 and 0, nan for those that are missing; every row is a yes where the table has no labels at all.

    Raises:
        InputError: The column is not one of yes and no.
    """
    if "label" not in labels.column_names:
        # A table of true pairs and nothing else.
        return np.ones(len(labels), dtype=np.float32)
    if not pa.types.is_boolean(labels["label"].type):
        raise InputError(
            f"labels are of the type {labels['label'].type}, expected true or false; read the file with "
            "`keydistill.distillation.signals.load_judgments`"
        )
    return _floats(labels["label"])


def grade_column(labels: pa.Table) -> NDArray[np.float32]:
    """The worth of each labelled pair: its grade where it has one, otherwise its label."""
    gains = label_column(labels)
    if "grade" not in labels.column_names:
        return gains
    grades = _floats(labels["grade"])
    return np.where(np.isnan(grades), gains, grades).astype(np.float32)


def _floats(column: pa.ChunkedArray) -> NDArray[np.float32]:
    return np.asarray(pc.fill_null(column.cast(pa.float32()), float("nan")).to_numpy(), dtype=np.float32)


def _judge_names(labels: pa.Table) -> str:
    if "judge" not in labels.column_names:
        return "a table"
    names: Sequence[str] = sorted(filter(None, pc.unique(labels["judge"]).to_pylist()))
    return ", ".join(names) or "a table"
