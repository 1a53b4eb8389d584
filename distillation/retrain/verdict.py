"""The comparison of a new student with the present one, as a retrain keeps it, and whether it may be promoted."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from keydistill.distillation.evaluation import MIN_JUDGED_PAIRS, Comparison, Evaluation, leading_measures

# Measures that decide, where they are known: the first in the order in which the report shows them.
_DECIDING = ("relevant", "recall", "ndcg")
# Fewest judged items that decide: resamples of fewer have too narrow an interval.
LEAST_ITEMS = 10


def comparison_of(new: Evaluation, present: Evaluation, comparison: Comparison) -> dict[str, Any]:
    """The measure that decides, its figures and their paired difference, fit for JSON; empty where none is known.

    `clearly_worse` says whether the interval of the difference is below zero, by enough judged pairs and items.
    """
    at = f"@{new.headline}"
    for name in leading_measures(new.estimates, new.headline):
        gap = comparison.differences.get(name + at)
        support = new.supports.get(name + at)
        if name not in _DECIDING or gap is None or gap.difference is None or support is None:
            continue
        decides = support.pairs >= MIN_JUDGED_PAIRS and support.items >= LEAST_ITEMS
        return {
            "measure": name + at,
            "new": new.estimates[name + at].value,
            "present": present.estimates[name + at].value,
            **gap.as_dict(),
            "pairs": support.pairs,
            "items": support.items,
            "clearly_worse": decides and gap.high is not None and gap.high < 0,
        }
    return {}


def why_worse(evaluated: Mapping[str, Any]) -> str | None:
    """The figures by which a new student is clearly worse than the present one; None where it is not.

    Args:
        evaluated: Result of a retrain's stage "evaluate".

    >>> figures = {"measure": "recall@10", "new": 0.4, "present": 0.5, "difference": -0.1, "low": -0.15, "high": -0.05}
    >>> figures |= {"pairs": 900, "items": 40, "clearly_worse": True}
    >>> why_worse({"comparison": figures, "judged_by": "people"})
    'recall@10 of 40 items by people 0.400, the present student 0.500: -0.100 [-0.150, -0.050]'
    """
    figures = evaluated.get("comparison", {})
    if not figures.get("clearly_worse"):
        return None
    return (
        f"{figures['measure']} of {figures['items']:,} items by {evaluated['judged_by']} {figures['new']:.3f}, the "
        f"present student {figures['present']:.3f}: {figures['difference']:+.3f} "
        f"[{figures['low']:+.3f}, {figures['high']:+.3f}]"
    )
