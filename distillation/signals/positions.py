"""The attention that a position gets, which has to be known before clicks say anything about relevance.

The position-based click model (Craswell et al., WSDM 2008; Richardson et al., WWW 2007): a result at position p is
looked at with probability q(p), whatever it is, and clicked with its own probability r once it is looked at. Clicks of
a pair are then Poisson with mean n(p) q(p) r for n(p) impressions at p.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

Level = Literal["pair", "keyphrase"]

# Number of clicks that the fitted power law counts for at each position: a deep position's own few clicks say little.
_PRIOR_CLICKS = 10.0
# An estimate from pairs that moved is used when its standard error is at most this.
_GOOD_ERROR = 0.2
_WORST_ERROR = 1.0
_ETA_LIMIT = 5.0
_STEPS = 60


@dataclass(frozen=True, slots=True)
class EtaEstimate:
    """The exponent of q(p) = p^-eta, as the log tells it.

    Attributes:
        eta: Estimated exponent.
        standard_error: Standard error of the estimate, if clicks are Poisson; real ones vary somewhat more.
        level: Level of the comparison. "pair": of pairs that were shown at several positions, so that relevance plays
            no part. "keyphrase": of different items of one keyphrase; a ranking that puts relevant items first makes
            this too large.
        clicks: Number of clicks that the estimate rests on.
    """

    eta: float
    standard_error: float
    level: Level
    clicks: int

    def as_dict(self) -> dict[str, Any]:
        """The attributes by name, fit for JSON."""
        return {name: getattr(self, name) for name in self.__slots__}


@dataclass(frozen=True, slots=True)
class PositionCurve:
    """Clicks by position, all items together; arrays of the same length.

    Attributes:
        positions: Positions, ascending; the last one is 0 if some rows have no position.
        impressions: Impressions at each position.
        clicks: Clicks at each position.
        smoothed: Click-through rate, drawn towards a fitted power law where there are few clicks.
    """

    positions: NDArray[np.int64]
    impressions: NDArray[np.int64]
    clicks: NDArray[np.int64]
    smoothed: NDArray[np.float64]

    @property
    def rates(self) -> NDArray[np.float64]:
        """Clicks by impressions, without smoothing."""
        return self.clicks / self.impressions

    def rows(self) -> list[dict[str, Any]]:
        """One row per position, fit for JSON; position is None where it is not known."""
        cells = zip(self.positions, self.impressions, self.clicks, self.rates, self.smoothed, strict=True)
        return [
            {
                "position": int(position) or None,
                "impressions": int(shown),
                "clicks": int(clicked),
                "rate": float(rate),
                "smoothed_rate": float(smooth),
            }
            for position, shown, clicked, rate, smooth in cells
        ]


def position_curve(clicks: pa.Table) -> PositionCurve:
    """Click-through rate of each position in a table by `CLICKS`.

    The rate of position p is smoothed as (c + k) / (n + k / f(p)) with c clicks on n impressions there, k = 10, and a
    power law f(p) = a p^-b fitted to all positions: the posterior mean of a Gamma prior whose mean is f(p).
    """
    position, shown, clicked = _columns(clicks)
    positions, place = np.unique(position, return_inverse=True)
    impressions = summed(place, shown)
    total = summed(place, clicked)
    has_position = positions > 0
    mean = (total.sum() + 1) / (impressions.sum() + 1)
    law = np.full(len(positions), mean)
    if has_position.any():
        depth = np.log(positions[has_position])
        one_group = np.zeros(has_position.sum(), dtype=np.int64)
        slope, _, _ = _exponent(one_group, depth, impressions[has_position], total[has_position])
        decay = np.exp(-slope * depth)
        law[has_position] = (total[has_position].sum() + 1) / ((impressions[has_position] * decay).sum() + 1) * decay
    smoothed = (total + _PRIOR_CLICKS) / (impressions + _PRIOR_CLICKS / law)
    # Positions that are not known come last, whatever their number is.
    order = np.argsort(~has_position, kind="stable")
    counts = impressions.astype(np.int64), total.astype(np.int64)
    return PositionCurve(positions[order], counts[0][order], counts[1][order], smoothed[order])


def estimate_eta(clicks: pa.Table) -> EtaEstimate | None:
    """The exponent eta of q(p) = p^-eta, from a table by `CLICKS`; None where the log says nothing about it.

    Given how many clicks a pair got in all, at which of its positions it got them depends on eta alone: multinomial
    with weights n(p) p^-eta. The relevance cancels, so that the maximum of this conditional likelihood (Poisson
    regression with a fixed effect per pair; Hausman, Hall and Griliches 1984) needs no model of relevance, unlike
    regression EM (Wang et al., WSDM 2018), and no randomised results, unlike swaps. It does need pairs that changed
    their position. Where too few did, items of one keyphrase are compared instead, as if they were equally relevant.
    """
    position, shown, clicked = _columns(clicks)
    has_position = position > 0
    groups: Mapping[Level, Sequence[str]] = {
        "pair": ("site", "keyphrase", "item_id"),
        "keyphrase": ("site", "keyphrase"),
    }
    estimate: EtaEstimate | None = None
    for level, names in groups.items():
        group = codes([clicks[name] for name in names])[has_position]
        eta, information, used = _exponent(
            group, np.log(position[has_position]), shown[has_position], clicked[has_position]
        )
        error = float(information**-0.5) if information > 0 else np.inf
        # All clicks at the top, or hardly any: one steep fall explains them as well as the next one.
        if error > _WORST_ERROR or abs(eta) >= _ETA_LIMIT:
            continue
        if estimate is None or estimate.standard_error > _GOOD_ERROR:
            estimate = EtaEstimate(float(eta), error, level, int(used))
    return estimate


def expected_by_propensity(clicks: pa.Table, eta: float) -> NDArray[np.float64]:
    """Clicks (n,) that each row would have if every pair were as relevant as the average, with q(p) = p^-eta.

    Rows without a position get the mean attention of all others.
    """
    position, shown, clicked = _columns(clicks)
    has_position = position > 0
    attention = np.ones(len(position))
    attention[has_position] = position[has_position].astype(np.float64) ** -eta
    if has_position.any() and not has_position.all():
        attention[~has_position] = np.average(attention[has_position], weights=shown[has_position])
    attended = shown * attention
    return attended * (clicked.sum() / attended.sum()) if len(attended) else attended


def expected_by_curve(clicks: pa.Table, curve: PositionCurve) -> NDArray[np.float64]:
    """Clicks (n,) that each row would have if it did as the average result at its position."""
    position, shown, _ = _columns(clicks)
    order = np.argsort(curve.positions)
    place = order[np.searchsorted(curve.positions, position, sorter=order)]
    expected: NDArray[np.float64] = shown * curve.smoothed[place]
    return expected


def codes(columns: Sequence[pa.ChunkedArray]) -> NDArray[np.int64]:
    """A number (n,) per row, the same for rows that agree in all columns; nulls are equal."""
    combined: NDArray[np.int64] | None = None
    for column in columns:
        encoded = column.combine_chunks().dictionary_encode(null_encoding="encode")
        own = encoded.indices.to_numpy(zero_copy_only=False).astype(np.int64)
        combined = own if combined is None else combined * len(encoded.dictionary) + own
        # Dense again, so that the next product stays far from the largest integer.
        combined = np.unique(combined, return_inverse=True)[1].astype(np.int64)
    if combined is None:
        raise ValueError("there is no column; expected at least one")
    return combined


def summed(group: NDArray[np.int64], values: NDArray[np.float64]) -> NDArray[np.float64]:
    """The sum of the values (n,) of each group, whose numbers begin with 0 and leave none out."""
    return np.bincount(group, values).astype(np.float64)


def _columns(clicks: pa.Table) -> tuple[NDArray[np.int64], NDArray[np.float64], NDArray[np.float64]]:
    position = clicks["position"].fill_null(0).to_numpy().astype(np.int64)
    shown = clicks["impressions"].to_numpy().astype(np.float64)
    clicked = clicks["clicks"].to_numpy().astype(np.float64)
    return position, shown, clicked


def _exponent(
    group: NDArray[np.int64], depth: NDArray[np.float64], shown: NDArray[np.float64], clicked: NDArray[np.float64]
) -> tuple[float, float, float]:
    """Maximum of the conditional likelihood, its information there, and the clicks of groups that say something.

    `depth` is the logarithm of the position. The likelihood is concave: Newton's method with bounded steps.
    """
    size = int(group.max()) + 1 if len(group) else 0

    total = summed(group, clicked)
    low, high = np.full(size, np.inf), np.full(size, -np.inf)
    np.minimum.at(low, group, depth)
    np.maximum.at(high, group, depth)
    used = float(total[(high > low) & (total > 0)].sum())
    observed = float((clicked * depth).sum())
    eta, information = 1.0, 0.0
    if used == 0:
        return 0.0, 0.0, 0.0
    for _ in range(_STEPS):
        weight = shown * np.exp(-eta * depth)
        group_weights = np.maximum(summed(group, weight), np.finfo(float).tiny)
        mean = summed(group, weight * depth) / group_weights
        spread = np.maximum(summed(group, weight * depth**2) / group_weights - mean**2, 0.0)
        information = float((total * spread).sum())
        if information <= 0:
            break
        step = float(np.clip(((total * mean).sum() - observed) / information, -1.0, 1.0))
        eta = float(np.clip(eta + step, -_ETA_LIMIT, _ETA_LIMIT))
        if abs(step) < 1e-9:
            break
    return eta, information, used
