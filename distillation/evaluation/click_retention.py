"""Click retention: how much can be left out by a student's scores before clicks are lost (arXiv 2505.04209)."""

from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from keydistill.distillation.evaluation.corpus import Corpus, Ints
from keydistill.distillation.evaluation.measures import Floats, Measure
from keydistill.distillation.evaluation.retrieval import Embedded, Lists
from keydistill.errors import InputError

# Share of the clicks that the threshold keeps.
RETAINED = 0.95
# The scores of lists are computed in another order than those of pairs.
_ROUNDING = 1e-6


@dataclass(frozen=True, slots=True)
class ShownPairs:
    """The pairs of a click log whose item is evaluated, each once.

    Attributes:
        items: Item of each pair, shape (p,).
        texts: Text of each pair, shape (p,).
        clicks: Clicks of each pair over all positions, shape (p,).
        sales: Sales of each pair, shape (p,); None where the log has no sale.
    """

    items: Ints
    texts: Ints
    clicks: Floats
    sales: Floats | None = None

    @classmethod
    def of(cls, clicks: pa.Table, corpus: Corpus) -> "ShownPairs":
        """The pairs of a table of `item_id`, `keyphrase`, `clicks` and optionally `sales`; equal pairs are added up."""
        table = corpus.pair_table(clicks)
        keys, pair_of = np.unique(table.keys, return_inverse=True)

        def summed(name: str) -> Floats:
            counts = pc.fill_null(clicks[name].cast(pa.float64()), 0.0).to_numpy()[table.rows]
            return np.bincount(pair_of, counts, len(keys)).astype(np.float64)

        sales = summed("sales") if "sales" in clicks.column_names else None
        if sales is not None and not sales.any():
            sales = None
        return cls(keys // len(corpus.texts), keys % len(corpus.texts), summed("clicks"), sales)


def clicks_of(items: pa.Table, clicks: pa.Table) -> pa.Table:
    """The rows of a click log whose item is evaluated.

    Raises:
        InputError: It lacks a column.
    """
    missing = [name for name in ("item_id", "keyphrase", "clicks") if name not in clicks.column_names]
    if missing:
        raise InputError(f"the clicks have no column {missing[0]!r}; found: {', '.join(clicks.column_names)}")
    ids = items["item_id"].cast(pa.string()).combine_chunks()
    return clicks.filter(pc.is_in(clicks["item_id"].cast(pa.string()), value_set=ids))


def click_threshold(scores: NDArray[np.floating], clicks: Floats) -> float:
    """The highest score such that the pairs from it on have `RETAINED` of the clicks; nan without clicks.

    >>> click_threshold(np.array([0.9, 0.5, 0.2, 0.8]), np.array([90.0, 5.0, 5.0, 0.0]))
    0.5
    """
    order = np.argsort(-scores, kind="stable")
    kept = np.cumsum(clicks[order])
    if not len(kept) or kept[-1] <= 0:
        return float("nan")
    # Of counts, a sum that is 95% exactly must not fail by rounding.
    return float(scores[order][np.searchsorted(kept, RETAINED * kept[-1] - 1e-9)])


def retention_measures(
    shown: ShownPairs, embedded: Embedded, lists: Lists, cutoffs: tuple[int, ...]
) -> tuple[float, dict[str, Measure]]:
    """The threshold that keeps 95% of the clicks, and what has a score below it: of the log, and of the lists.

    The intervals of these shares are for this threshold; how sure it is itself is not in them.
    """
    scores = embedded.scores(shown.items, shown.texts)
    threshold = click_threshold(scores, shown.clicks)
    if np.isnan(threshold):
        return threshold, {}
    count = len(lists.texts)
    below, of_item = (
        np.bincount(items, minlength=count).astype(np.float64)
        for items in (shown.items[scores < threshold], shown.items)
    )
    measures = {"below_clicks": Measure("item", below, of_item)}
    if shown.sales is not None:
        low_sales, all_sales = (
            np.bincount(shown.items, sales, count).astype(np.float64)
            for sales in (np.where(scores < threshold, shown.sales, 0), shown.sales)
        )
        measures["sales_below_clicks"] = Measure("item", low_sales, all_sales)
    present = lists.texts >= 0
    for k in cutoffs:
        low = (present & (lists.scores < threshold - _ROUNDING))[:, :k].sum(axis=1).astype(np.float64)
        measures[f"listed_below_clicks@{k}"] = Measure("item", low, present[:, :k].sum(axis=1).astype(np.float64))
    return threshold, measures
