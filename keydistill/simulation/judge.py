"""A noisy judge: what a language model would answer when asked whether a keyphrase is relevant to an item."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from keydistill.simulation.knobs import MarketplaceSettings
from keydistill.simulation.search_filter import Pool

NAME = "simulated"
PROMPT_VERSION = "simulated-1"
# How far from undecided a judge's probability lies: close to 0 or 1 most of the time.
_CONFIDENCE = (3.0, 1.0)


@dataclass(frozen=True, slots=True)
class Judgments:
    """Judged pairs; all arrays of the same length.

    Attributes:
        places: Places of the pairs in the pool, ascending.
        labels: Labels, yes or no.
        probabilities: Probabilities of yes; at least 0.5 exactly if the label is yes.
    """

    places: NDArray[np.int64]
    labels: NDArray[np.bool_]
    probabilities: NDArray[np.float32]


def judge_pool(pool: Pool, items: int, settings: MarketplaceSettings, rng: np.random.Generator) -> Judgments:
    """Judgments of a sample of the pool, as many relevant pairs as near-misses and random ones.

    Where the pool has too few of one kind, the sample is smaller.
    """
    sample_size = items * settings.judged_pairs
    kinds = (pool.relevant, pool.near_miss, ~pool.relevant & ~pool.near_miss)
    sample = []
    for number, kind in enumerate(kinds):
        members = np.flatnonzero(kind)
        share = sample_size // 3 + (number < sample_size % 3)
        sample.append(rng.permutation(members)[:share])
    places = np.sort(np.concatenate(sample))
    relevant, near = pool.relevant[places], pool.near_miss[places]
    yes_rate = np.where(
        relevant,
        1 - settings.judge_false_negative_rate,
        np.where(near, settings.judge_false_positive_rate, settings.judge_random_false_positive_rate),
    )
    labels = rng.random(len(places)) < yes_rate
    confidence = rng.beta(*_CONFIDENCE, len(places))
    # Rounded away from 0.5, so that label and probability never contradict each other.
    distance = np.ceil(np.maximum(confidence, 1e-3) * 500) / 1000
    probabilities = np.where(labels, 0.5 + distance, 0.5 - distance)
    return Judgments(places, labels, probabilities.astype(np.float32))
