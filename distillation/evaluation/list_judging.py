"""The judging of lists: a recommended keyphrase is known already, rejected by search, or put to the judge."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from keydistill.distillation.evaluation.corpus import Corpus, Ints, PairTable
from keydistill.distillation.evaluation.judges import RelevanceJudge
from keydistill.distillation.evaluation.measures import ListVerdicts
from keydistill.distillation.evaluation.retrieval import Lists
from keydistill.errors import InputError
from keydistill.progress import Progress


@dataclass(frozen=True, slots=True)
class SearchFilter:
    """The search engine's relevance filter, as far as a table knows it.

    Attributes:
        table: Table of `item_id`, `keyphrase`, and `passed` or `score`.
        threshold: Score from which on a pair passes; None takes the column `passed` instead.
        unknown_passes: Whether a pair that the table does not know goes to the judge all the same.
    """

    table: pa.Table
    threshold: float | None = None
    unknown_passes: bool = True

    def passes(self) -> NDArray[np.float32]:
        """Whether each row's pair passes, as 1 or 0; nan where that is unknown.

        Raises:
            InputError: The column that it needs is missing.
        """
        column = "passed" if self.threshold is None else "score"
        if column not in self.table.column_names:
            cure = "; give a threshold for its score" if self.threshold is None else ""
            raise InputError(
                f"the search relevance has no column {column!r}; found: {', '.join(self.table.column_names)}{cure}"
            )
        values = pc.fill_null(self.table[column].cast(pa.float32()), float("nan"))
        numbers = np.asarray(values.to_numpy(), dtype=np.float32)
        if self.threshold is None:
            return numbers
        return np.where(np.isnan(numbers), np.nan, numbers >= self.threshold).astype(np.float32)


class ListJudging:
    """The judging of any number of lists over one corpus; no pair is judged twice."""

    def __init__(
        self, corpus: Corpus, judge: RelevanceJudge, search_filter: SearchFilter | None, exclude: pa.Table | None
    ) -> None:
        self._corpus = corpus
        self._judge = judge
        self._filter = search_filter
        self._known = None if exclude is None else corpus.pair_table(exclude)
        self._judged = PairTable(np.empty(0, dtype=np.int64), np.empty(0, dtype=np.int64))
        self._probabilities = np.empty(0, dtype=np.float32)
        if search_filter is not None:
            self._searched = corpus.pair_table(search_filter.table)
            self._passes = search_filter.passes()

    def ask(self, several: Sequence[Lists], progress: Progress) -> None:
        """Put every pair of these lists that has to be judged to the judge, once."""
        keys = np.unique(np.concatenate([self._keys(lists)[self._sorted_out(lists).asked] for lists in several]))
        progress.start("judge", len(keys), "pairs")
        texts = len(self._corpus.texts)
        self._probabilities = self._judge.probabilities(self._corpus, keys // texts, keys % texts, progress)
        self._judged = PairTable(keys, np.arange(len(keys)))

    def verdicts(self, lists: Lists) -> ListVerdicts:
        """The verdicts on every place of lists that `ask` was called with."""
        sorted_out = self._sorted_out(lists)
        probabilities = self.probabilities(lists)
        judged = sorted_out.asked & ~np.isnan(probabilities)
        return ListVerdicts(
            known=sorted_out.known,
            search_known=sorted_out.search_known,
            search_passed=sorted_out.search_passed,
            asked=sorted_out.asked,
            judged=judged,
            # A comparison with nan is false, which `judged` says already.
            relevant=judged & (probabilities >= self._judge.info.threshold),
        )

    def probabilities(self, lists: Lists) -> NDArray[np.float32]:
        """The judge's probability for every place, shape (n, k); nan where it was not asked or did not know."""
        rows = self._judged.find(self._keys(lists))
        if not len(self._probabilities):
            return np.full(rows.shape, np.nan, dtype=np.float32)
        return np.where(rows >= 0, self._probabilities[rows], np.nan).astype(np.float32)

    def _keys(self, lists: Lists) -> Ints:
        items = np.arange(len(lists.texts))[:, None]
        return np.where(lists.texts >= 0, self._corpus.keys(items, lists.texts), -1)

    def _sorted_out(self, lists: Lists) -> ListVerdicts:
        """The verdicts without those of the judge."""
        keys = self._keys(lists)
        has_keyphrase = lists.texts >= 0
        nothing = np.zeros(keys.shape, dtype=bool)
        known = nothing if self._known is None else self._known.find(keys) >= 0
        search_known = search_passed = nothing
        asked = has_keyphrase & ~known
        if self._filter is not None:
            rows = self._searched.find(keys)
            passed = (
                np.where(rows >= 0, self._passes[rows], np.nan) if len(self._passes) else np.full(keys.shape, np.nan)
            )
            search_known, search_passed = ~np.isnan(passed), passed > 0
            asked = asked & (search_passed | (~search_known & self._filter.unknown_passes))
        return ListVerdicts(known, search_known, search_passed, asked, nothing, nothing)
