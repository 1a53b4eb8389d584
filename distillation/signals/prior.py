"""The prior of how far pairs differ in what draws clicks, towards which rarely shown pairs are drawn."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

_SHAPES = np.geomspace(0.05, 50.0, 31)
_MEAN_STEPS = 25
# Number of pairs that tell the two parameters to well under a percent.
_SAMPLED_PAIRS = 200_000
# Counts above this are cut, for the fit alone: the shape is told by the many pairs with few clicks.
_MAX_COUNT = 1_000_000


@dataclass(frozen=True, slots=True)
class GammaPrior:
    """The Gamma distribution that the strengths of pairs are taken to have; their mean is shape / rate."""

    shape: float
    rate: float

    @classmethod
    def fit(cls, clicked: NDArray[np.float64], expected: NDArray[np.float64]) -> "GammaPrior":
        """Maximum likelihood, on a grid of shapes with the best mean for each.

        If strengths are Gamma and clicks Poisson around strength times `expected`, then clicks are negative binomial
        (the Gamma-Poisson model: DuMouchel, The American Statistician 1999). For a shape the mean is found by EM.

        Args:
            clicked: Clicks of each pair (n,).
            expected: Clicks that an average result would have had in its place (n,), above 0.
        """
        step = max(1, len(clicked) // _SAMPLED_PAIRS)
        clicked, expected = np.minimum(clicked[::step], _MAX_COUNT), expected[::step]
        if clicked.sum() == 0:
            return cls(1.0, 1.0)
        counts, frequencies = np.unique(clicked.astype(np.int64), return_counts=True)
        fits = [_fitted(shape, clicked, expected, counts, frequencies) for shape in _SHAPES]
        _, shape, rate = max(fits)
        return cls(float(shape), float(rate))

    def strength(self, clicked: NDArray[np.float64], expected: NDArray[np.float64]) -> NDArray[np.float64]:
        """The posterior mean of each pair's strength (n,): (clicks + shape) / (expected clicks + rate)."""
        posterior: NDArray[np.float64] = (clicked + self.shape) / (expected + self.rate)
        return posterior


def _fitted(
    shape: float,
    clicked: NDArray[np.float64],
    expected: NDArray[np.float64],
    counts: NDArray[np.int64],
    frequencies: NDArray[np.int64],
) -> tuple[float, float, float]:
    """Log-likelihood (but for a constant), and shape and rate of the Gamma distribution."""
    mean = 1.0
    for _ in range(_MEAN_STEPS):
        mean = float(((clicked + shape) / (expected + shape / mean)).mean())
    rate = shape / mean
    # log Gamma(c + shape) - log Gamma(shape), summed over the pairs.
    rising = np.concatenate([[0.0], np.cumsum(np.log(shape + np.arange(counts[-1])))])
    likelihood = (rising[counts] * frequencies).sum() + len(clicked) * shape * np.log(rate)
    likelihood -= ((clicked + shape) * np.log(expected + rate)).sum()
    return float(likelihood), shape, rate
