"""Estimates: measures per unit become figures with confidence intervals, of one student or of the difference of two."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from keydistill.distillation.evaluation.auc import grouped_auc, resampled_auc
from keydistill.distillation.evaluation.bootstrap import (
    Difference,
    Estimate,
    Floats,
    estimate,
    paired_difference,
    weighted_ratios,
)
from keydistill.distillation.evaluation.measures import Measure
from keydistill.distillation.evaluation.result import Evaluation, ScoredPairs
from keydistill.distillation.evaluation.sampling import Sampling, Unit
from keydistill.errors import InputError

_UNITS: tuple[Unit, ...] = ("item", "keyphrase")
# Name of the AUC over all pairs.
_AUC = "auc"

# Name of a figure to its value, and to its value in every resample.
_Resampled = dict[str, tuple[float, Floats]]


@dataclass(frozen=True, slots=True)
class Comparison:
    """Two students on the same items: b less a."""

    a: str
    b: str
    differences: Mapping[str, Difference]

    def as_dict(self) -> dict[str, Any]:
        """Everything, fit for JSON."""
        return {
            "a": self.a,
            "b": self.b,
            "differences": {name: difference.as_dict() for name, difference in self.differences.items()},
        }


def estimates_of(
    measures: Mapping[str, Measure], pairs: ScoredPairs | None, sampling: Sampling, seed: int, resamples: int
) -> dict[str, Estimate]:
    """Every measure, and the AUC over all pairs, with confidence intervals; in the order of the measures."""
    resampled = _resampled(measures, pairs, sampling, seed, resamples)
    return {name: estimate(value, draws) for name, (value, draws) in resampled.items()}


def compare(a: Evaluation, b: Evaluation) -> Comparison:
    """The paired difference of two evaluations: every resample draws the same units for both.

    Args:
        a: Evaluation to compare with: that of the present student, say.
        b: Evaluation that may be better.

    Raises:
        InputError: They were made of different items or labels, by different judges, or with other settings.
    """
    return compare_means([a], [b])


def compare_means(a: Sequence[Evaluation], b: Sequence[Evaluation]) -> Comparison:
    """The paired difference of the means of two recipes, each trained with several seeds or on several item sets.

    Args:
        a: Evaluations to compare with.
        b: As many other evaluations: the n-th is paired with the n-th of a.

    Raises:
        InputError: A pair was not measured alike, or there is none.
    """
    if not a or len(a) != len(b):
        raise InputError(f"a comparison needs as many evaluations on both sides; found {len(a)} and {len(b)}")
    for of_a, of_b in zip(a, b, strict=True):
        _check_alike(of_a, of_b)
    figures_a, figures_b = _mean_resampled(a), _mean_resampled(b)
    return Comparison(
        ", ".join(dict.fromkeys(each.student for each in a)),
        ", ".join(dict.fromkeys(each.student for each in b)),
        {
            name: paired_difference(figures_a[name][0], figures_b[name][0], figures_a[name][1], figures_b[name][1])
            for name in figures_a
            if name in figures_b
        },
    )


def mean_estimates(evaluations: Sequence[Evaluation]) -> dict[str, Estimate]:
    """The mean of several evaluations of a recipe, with confidence intervals.

    Each resample draws items, within each evaluation: the interval says what other items would change. How much the
    seeds of a training change is another matter; look at the evaluations one by one for that.
    """
    return {name: estimate(value, draws) for name, (value, draws) in _mean_resampled(evaluations).items()}


def _check_alike(a: Evaluation, b: Evaluation) -> None:
    for name, value_a, value_b in (
        ("items", a.item_ids, b.item_ids),
        ("labelled keyphrases", a.keyphrases, b.keyphrases),
        ("judges", a.judge, b.judge),
        ("protocols", dict(a.protocol), dict(b.protocol)),
        ("seeds", (a.seed, a.resamples), (b.seed, b.resamples)),
    ):
        if value_a != value_b:
            raise InputError(
                f"the evaluations of {a.student} and {b.student} have different {name}; evaluate both with the same "
                "files and options"
            )


def _mean_resampled(evaluations: Sequence[Evaluation]) -> _Resampled:
    """The means of the figures that all evaluations have: of their values, and of their values in each resample.

    Where evaluations have equal items and seeds, a resample draws the same items in all of them.
    """
    parts = [_resampled(each.measures, each.pairs, each.sampling, each.seed, each.resamples) for each in evaluations]
    common = [name for name in parts[0] if all(name in part for part in parts)]
    return {
        name: (
            float(np.mean([part[name][0] for part in parts])),
            np.asarray(np.mean([part[name][1] for part in parts], axis=0)),
        )
        for name in common
    }


def _resampled(
    measures: Mapping[str, Measure], pairs: ScoredPairs | None, sampling: Sampling, seed: int, resamples: int
) -> _Resampled:
    resampled: _Resampled = {}
    if pairs is not None:
        everything = np.zeros(len(pairs.items), dtype=np.int64)
        value = grouped_auc(everything, pairs.scores, pairs.relevant)
        draws = resampled_auc(pairs.scores, pairs.relevant, sampling.pair_weights(seed, resamples))
        resampled[_AUC] = (float(value[0]) if len(value) else float("nan"), draws)
    for unit in _UNITS:
        names = [name for name, measure in measures.items() if measure.unit == unit]
        if not names:
            continue
        draws = weighted_ratios(
            _columns([measures[name].numerators for name in names]),
            _columns([measures[name].denominators for name in names]),
            sampling.weights(unit, seed, resamples),
        )
        resampled.update({name: (measures[name].value, draws[:, place]) for place, name in enumerate(names)})
    return resampled


def _columns(arrays: Sequence[Floats]) -> Floats:
    return np.stack(arrays, axis=1)
