"""The result of an evaluation, with everything that is needed to compare it with another; to JSON and back."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from keydistill.distillation.evaluation.bootstrap import Estimate
from keydistill.distillation.evaluation.judges import JudgeInfo
from keydistill.distillation.evaluation.measures import Measure
from keydistill.distillation.evaluation.sampling import Sampling
from keydistill.distillation.evaluation.support import Support, Supports
from keydistill.errors import InputError

FORMAT = 3

Estimates = Mapping[str, Estimate]


@dataclass(frozen=True, slots=True)
class ScoredPairs:
    """Labelled pairs with the student's scores, by item; `keyphrases` are places in the evaluation's. Shape (p,)."""

    items: NDArray[np.int64]
    keyphrases: NDArray[np.int64]
    scores: NDArray[np.float32]
    relevant: NDArray[np.bool_]


@dataclass(frozen=True, slots=True)
class Histogram:
    """A histogram of the scores of relevant and of irrelevant pairs.

    Attributes:
        of: Which pairs these are.
        edges: Edges of the bins, one more than bins.
        relevant: Number of relevant pairs per bin.
        irrelevant: Number of irrelevant pairs per bin.
    """

    of: str
    edges: tuple[float, ...]
    relevant: tuple[int, ...]
    irrelevant: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class SampleLine:
    """One recommended keyphrase.

    `verdict` is known, rejected, unknown to search, not judged, relevant or irrelevant.
    """

    keyphrase: str
    score: float
    verdict: str
    search_volume: int | None


@dataclass(frozen=True, slots=True)
class Sample:
    """One item and what it gets."""

    item_id: str
    title: str
    category: str | None
    lines: tuple[SampleLine, ...]


@dataclass(frozen=True, slots=True)
class Category:
    """The measures of the items of one first-level category."""

    name: str
    items: int
    estimates: Estimates
    supports: Supports


@dataclass(frozen=True, slots=True)
class Evaluation:
    """The result of `evaluate`.

    Attributes:
        student: Version of the student.
        dimension: Dimension of the student's vectors.
        judge: What decided on relevance.
        cutoffs: Cut-offs, the values of k.
        seed: Seed of the resamples and of the sample of items.
        resamples: Number of resamples of the bootstrap.
        protocol: Settings by which the lists were made: category filter, search filter, treatment of pairs unknown to
            it, ...
        counts: Numbers of items, keyphrases, labels, ...
        estimates: Every measure with its confidence interval.
        supports: The judged pairs behind each measure that rests on some.
        categories: The measures per first-level category, the largest first.
        dimensions: Matryoshka dimension to its measures.
        histogram: Scores of labelled pairs, or of the judged ones where there are no labels.
        samples: Some items with their lists.
        item_ids: The items, in the order of the measures.
        keyphrases: Keyphrases that measures have as their units, in that order.
        measures: Name to numerators and denominators per unit.
        pairs: Labelled pairs, for the AUC over all of them.
    """

    student: str
    dimension: int
    judge: JudgeInfo
    cutoffs: tuple[int, ...]
    seed: int
    resamples: int
    protocol: Mapping[str, Any]
    counts: Mapping[str, int]
    estimates: Estimates
    supports: Supports
    categories: tuple[Category, ...]
    dimensions: Mapping[int, Estimates]
    histogram: Histogram | None
    samples: tuple[Sample, ...]
    item_ids: tuple[str, ...]
    keyphrases: tuple[str, ...]
    measures: Mapping[str, Measure]
    pairs: ScoredPairs | None

    @property
    def headline(self) -> int:
        """The cut-off that tables and plots show: 10 where there is one, otherwise the largest."""
        return 10 if 10 in self.cutoffs else max(self.cutoffs)

    @property
    def sampling(self) -> Sampling:
        """What a resample draws."""
        if self.pairs is None:
            return Sampling.of_items(len(self.item_ids))
        return Sampling.of_labels(
            len(self.item_ids),
            len(self.keyphrases),
            self.pairs.items,
            self.pairs.keyphrases,
            complete=self.judge.kind == "truth",
        )

    def metrics(self) -> dict[str, float]:
        """Figures by name, without those that nothing could be computed from; fit for the registry."""
        return {name: estimate.value for name, estimate in self.estimates.items() if estimate.value is not None}

    def as_dict(self) -> dict[str, Any]:
        """Everything, fit for JSON."""
        return {
            "format": FORMAT,
            **self.summary(),
            "histogram": None if self.histogram is None else asdict(self.histogram),
            "samples": [asdict(sample) for sample in self.samples],
            "item_ids": list(self.item_ids),
            "keyphrases": list(self.keyphrases),
            "measures": {
                name: {
                    "unit": measure.unit,
                    "numerators": _numbers(measure.numerators),
                    "denominators": _numbers(measure.denominators),
                }
                for name, measure in self.measures.items()
            },
            "pairs": self.pairs
            and {
                "items": self.pairs.items.tolist(),
                "keyphrases": self.pairs.keyphrases.tolist(),
                "scores": self.pairs.scores.tolist(),
                "relevant": self.pairs.relevant.astype(int).tolist(),
            },
        }

    def summary(self) -> dict[str, Any]:
        """All but the single items, fit for JSON: what a person or a program wants to know first."""
        return {
            "student": self.student,
            "dimension": self.dimension,
            "judge": asdict(self.judge),
            "cutoffs": list(self.cutoffs),
            "seed": self.seed,
            "resamples": self.resamples,
            "protocol": dict(self.protocol),
            "counts": dict(self.counts),
            "estimates": _lists(self.estimates),
            "supports": {name: asdict(support) for name, support in self.supports.items()},
            "categories": [
                {
                    "name": each.name,
                    "items": each.items,
                    "estimates": _lists(each.estimates),
                    "supports": {name: asdict(support) for name, support in each.supports.items()},
                }
                for each in self.categories
            ],
            "dimensions": {str(dimension): _lists(estimates) for dimension, estimates in self.dimensions.items()},
        }

    @classmethod
    def from_dict(cls, content: Mapping[str, Any]) -> Self:
        """The evaluation that `as_dict` was called on.

        Raises:
            InputError: It is something else.
        """
        if content.get("format") != FORMAT:
            raise InputError(
                f"an evaluation of format {content.get('format')!r} was found, expected {FORMAT}; evaluate again"
            )
        try:
            return cls(
                student=content["student"],
                dimension=content["dimension"],
                judge=JudgeInfo(**content["judge"]),
                cutoffs=tuple(content["cutoffs"]),
                seed=content["seed"],
                resamples=content["resamples"],
                protocol=content["protocol"],
                counts=content["counts"],
                estimates=_estimates(content["estimates"]),
                supports=_supports(content["supports"]),
                categories=tuple(
                    Category(each["name"], each["items"], _estimates(each["estimates"]), _supports(each["supports"]))
                    for each in content["categories"]
                ),
                dimensions={int(dimension): _estimates(each) for dimension, each in content["dimensions"].items()},
                histogram=content["histogram"]
                and Histogram(
                    content["histogram"]["of"],
                    *(tuple(content["histogram"][name]) for name in ("edges", "relevant", "irrelevant")),
                ),
                samples=tuple(
                    Sample(**{**sample, "lines": tuple(SampleLine(**line) for line in sample["lines"])})
                    for sample in content["samples"]
                ),
                item_ids=tuple(content["item_ids"]),
                keyphrases=tuple(content["keyphrases"]),
                measures={
                    name: Measure(
                        measure["unit"],
                        np.asarray(measure["numerators"], dtype=np.float64),
                        np.asarray(measure["denominators"], dtype=np.float64),
                    )
                    for name, measure in content["measures"].items()
                },
                pairs=content["pairs"]
                and ScoredPairs(
                    np.asarray(content["pairs"]["items"], dtype=np.int64),
                    np.asarray(content["pairs"]["keyphrases"], dtype=np.int64),
                    np.asarray(content["pairs"]["scores"], dtype=np.float32),
                    np.asarray(content["pairs"]["relevant"], dtype=bool),
                ),
            )
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            raise InputError(f"this is no evaluation ({error!r}); evaluate again") from None


def _lists(estimates: Estimates) -> dict[str, list[float | None]]:
    return {name: estimate.as_list() for name, estimate in estimates.items()}


def _estimates(figures: Mapping[str, Any]) -> dict[str, Estimate]:
    return {name: Estimate(*values) for name, values in figures.items()}


def _supports(supports: Mapping[str, Any]) -> dict[str, Support]:
    return {name: Support(**support) for name, support in supports.items()}


def _numbers(values: NDArray[np.float64]) -> list[float]:
    # Counts as whole numbers: half the size, and easier to read.
    return [int(value) if value == int(value) else value for value in values.tolist()]
