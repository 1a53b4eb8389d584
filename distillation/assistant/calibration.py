"""Calibration: logits become probabilities that mean what they say; of the pairs at 0.7, seven in ten are relevant."""

import numpy as np
from numpy.typing import NDArray

from keydistill.encoders import Calibration

_MOST_STEPS = 100
# A temperature beyond this says that the logits tell (almost) nothing about the label.
_MOST_TEMPERATURE = 50.0
_BINS = 10


def fit_calibration(logits: NDArray[np.floating], labels: NDArray[np.bool_]) -> Calibration:
    """The temperature and bias with the least binary cross-entropy, by Newton's method.

    It is Platt's scaling with a temperature in place of a slope, and Platt's targets: of n positive pairs not 1 but
    (n + 1) / (n + 2), so that there is an answer also where the classes are perfectly separated (Platt 1999,
    "Probabilistic outputs for support vector machines"). The loss is convex, so that a damped Newton step finds its
    minimum.

    Args:
        logits: Shape (n,), n > 0.
        labels: Shape (n,).

    >>> rng = np.random.default_rng(0)
    >>> true = rng.normal(size=20_000)
    >>> labels = rng.random(20_000) < 1 / (1 + np.exp(-true))
    >>> calibration = fit_calibration(true * 3 + 1.5, labels)  # three times too sure of itself, and shifted
    >>> round(calibration.temperature, 1), round(calibration.bias, 1)
    (3.0, -0.5)
    """
    wide = np.asarray(logits, dtype=np.float64)
    # Scaled to mean 0 and deviation 1, so that the steps are well conditioned whatever the scale of the logits.
    mean, deviation = float(wide.mean()), max(float(wide.std()), 1e-12)
    inputs = np.stack([(wide - mean) / deviation, np.ones(len(wide))], axis=1)
    positive = int(labels.sum())
    targets = np.where(labels, (positive + 1) / (positive + 2), 1 / (len(wide) - positive + 2))

    def loss(weights: NDArray[np.float64]) -> float:
        scaled = inputs @ weights
        return float(np.sum(np.logaddexp(0, scaled) - targets * scaled))

    weights = np.zeros(2)
    least_loss = loss(weights)
    for _ in range(_MOST_STEPS):
        probabilities = Calibration().probabilities(inputs @ weights).astype(np.float64)
        gradient = inputs.T @ (probabilities - targets)
        curvature = (inputs * (probabilities * (1 - probabilities))[:, None]).T @ inputs
        step = np.linalg.solve(curvature + 1e-9 * np.eye(2), gradient)
        size = 1.0
        while size > 1e-6 and loss(weights - size * step) >= least_loss:
            size /= 2
        if size <= 1e-6:
            break
        weights = weights - size * step
        least_loss = loss(weights)
    slope = max(float(weights[0]) / deviation, 1 / _MOST_TEMPERATURE)
    return Calibration(temperature=1 / slope, bias=float(weights[1]) - slope * mean)


def brier_score(probabilities: NDArray[np.floating], labels: NDArray[np.bool_]) -> float:
    """Mean squared distance of probability and label (Brier 1950); 0 is best.

    >>> brier_score(np.array([1.0, 0.5]), np.array([True, False]))
    0.125
    """
    return float(np.mean(np.square(np.asarray(probabilities, dtype=np.float64) - labels)))


def calibration_error(probabilities: NDArray[np.floating], labels: NDArray[np.bool_]) -> float:
    """Expected calibration error: mean distance of probability and frequency over ten bins (arXiv 1706.04599, eq. 3).

    >>> calibration_error(np.array([0.75, 0.75, 0.75, 0.75]), np.array([True, True, True, False]))
    0.0
    """
    wide = np.asarray(probabilities, dtype=np.float64)
    bins = np.minimum((wide * _BINS).astype(int), _BINS - 1)
    distances = np.bincount(bins, weights=wide - labels, minlength=_BINS)
    return float(np.abs(distances).sum() / len(wide))
