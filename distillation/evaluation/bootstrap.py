"""Confidence of a figure: the bootstrap over items (Efron and Tibshirani, 1993), the same resamples for two students.

Every measure is a ratio of two sums over units (items or keyphrases). A resample draws as many units as there are, with
replacement; that is a row of weights, and all ratios of all resamples are two matrix products.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

RESAMPLES = 1_000
CONFIDENCE = 0.95
# Number of weights in memory at once: 32 MB.
BLOCK = 4_000_000

Floats = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Estimate:
    """A figure with its 95% confidence interval; None where there is nothing to compute it from."""

    value: float | None
    low: float | None = None
    high: float | None = None

    def as_list(self) -> list[float | None]:
        """Value, low and high, fit for JSON."""
        return [self.value, self.low, self.high]


@dataclass(frozen=True, slots=True)
class Difference:
    """Student b less student a, on the same units.

    Attributes:
        difference: Difference of the two figures.
        low: Lower end of its 95% confidence interval.
        high: Upper end of that interval.
        below_zero: Share of the resamples in which b is worse than a (has the smaller figure).
    """

    difference: float | None
    low: float | None
    high: float | None
    below_zero: float | None

    def as_dict(self) -> dict[str, float | None]:
        """The attributes by name, fit for JSON."""
        return {name: getattr(self, name) for name in self.__slots__}


def weights(
    units: int, seed: int | tuple[int, ...], resamples: int = RESAMPLES, rows: int | None = None
) -> Iterator[Floats]:
    """The number of draws of each unit by each resample, in blocks of shape (rows, units); equal for equal arguments.

    >>> [block.sum(axis=1).tolist() for block in weights(units=5, seed=0, resamples=3)]
    [[5.0, 5.0, 5.0]]
    """
    random = np.random.default_rng(seed)
    rows = rows or max(1, BLOCK // max(units, 1))
    for start in range(0, resamples, rows):
        if not units:
            yield np.empty((min(rows, resamples - start), 0))
            continue
        yield random.multinomial(units, np.full(units, 1 / units), size=min(rows, resamples - start)).astype(np.float64)


def ratios(numerators: Floats, denominators: Floats, seed: int, resamples: int = RESAMPLES) -> Floats:
    """The ratio of the sums in every resample of units that stand alone.

    Args:
        numerators: Shape (units, measures).
        denominators: Shape (units, measures).
        seed: Seed of the resamples.
        resamples: Number of resamples.

    Returns:
        Shape (resamples, measures); nan where a resample has nothing to divide by.
    """
    return weighted_ratios(numerators, denominators, weights(len(numerators), seed, resamples))


def weighted_ratios(numerators: Floats, denominators: Floats, blocks: Iterable[Floats]) -> Floats:
    """The ratio of the sums in every resample, by blocks of the weights that it gives to units."""
    return np.concatenate([divided(block @ numerators, block @ denominators) for block in blocks])


def divided(numerators: Any, denominators: Any) -> Floats:
    """The ratio, nan where the denominator is zero."""
    numerators, denominators = np.asarray(numerators, dtype=np.float64), np.asarray(denominators, dtype=np.float64)
    ratio: Floats = np.divide(numerators, denominators, out=np.full(numerators.shape, np.nan), where=denominators != 0)
    return ratio


def estimate(value: float, resampled: Floats) -> Estimate:
    """A figure and the percentiles of its resamples; those that are nan do not count."""
    if np.isnan(value):
        return Estimate(None)
    low, high = _interval(resampled)
    return Estimate(float(value), low, high)


def paired_difference(a: float, b: float, resampled_a: Floats, resampled_b: Floats) -> Difference:
    """Student b less student a; the resamples of both must have drawn the same units."""
    if np.isnan(a) or np.isnan(b):
        return Difference(None, None, None, None)
    gaps = resampled_b - resampled_a
    gaps = gaps[~np.isnan(gaps)]
    low, high = _interval(gaps)
    return Difference(float(b - a), low, high, float((gaps < 0).mean()) if len(gaps) else None)


def _interval(resampled: Floats) -> tuple[float | None, float | None]:
    counted = resampled[~np.isnan(resampled)]
    if not len(counted):
        return None, None
    tail = (1 - CONFIDENCE) / 2
    low, high = np.quantile(counted, [tail, 1 - tail])
    return float(low), float(high)
