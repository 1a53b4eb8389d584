"""Clicks: what buyers do with the results that the search filter let through.

Results of a keyphrase are ranked by search score and popularity. The buyer looks at position p with probability
p^-eta (the position-based click model: Craswell et al., WSDM 2008) and clicks on what is seen and appeals. What ranks
below `results_shown` is never seen: it is missing, and not at random.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from keydistill.simulation.knobs import MarketplaceSettings
from keydistill.simulation.search_filter import Market, Pool

_POPULARITY_IN_RANK = 0.1


@dataclass(frozen=True, slots=True)
class ClickLog:
    """Pairs that were shown at least once; all arrays of the same length.

    Attributes:
        places: Places of the pairs in the pool, ascending.
        positions: Positions at which they were shown, from 1.
        impressions: Number of times that each was shown.
        clicks: Number of times that each was clicked.
    """

    places: NDArray[np.int64]
    positions: NDArray[np.int32]
    impressions: NDArray[np.int64]
    clicks: NDArray[np.int64]


def make_clicks(
    market: Market,
    pool: Pool,
    scores: NDArray[np.float32],
    settings: MarketplaceSettings,
    rng: np.random.Generator,
) -> ClickLog:
    """The click log of a month."""
    passed = np.flatnonzero(scores >= settings.search_threshold)
    items, keyphrases = pool.pairs.items[passed], pool.pairs.keyphrases[passed]
    popularity = market.popularity[items]
    appeal = scores[passed].astype(np.float64) + _POPULARITY_IN_RANK * np.log(popularity)
    appeal += rng.normal(0.0, settings.ranking_noise, len(passed)) if settings.ranking_noise else 0.0
    positions = _positions(keyphrases, appeal)
    searches = rng.poisson(market.volumes * settings.traffic)
    shown = (positions <= settings.results_shown) & (searches[keyphrases] > 0)
    passed, positions, popularity = passed[shown], positions[shown], popularity[shown]
    impressions = searches[keyphrases[shown]]
    attention = positions.astype(np.float64) ** -settings.position_bias
    rate = np.where(pool.relevant[passed], settings.click_rate, settings.click_noise)
    attraction = np.sqrt(popularity) / max(1e-9, float(np.sqrt(market.popularity).mean()))
    clicks = rng.binomial(impressions, np.clip(attention * rate * attraction, 0.0, 1.0))
    return ClickLog(passed, positions, impressions, clicks)


def _positions(keyphrases: NDArray[np.int32], appeal: NDArray[np.float64]) -> NDArray[np.int32]:
    """Positions from 1 within each keyphrase, the most appealing item first."""
    order = np.lexsort((-appeal, keyphrases))
    ordered = keyphrases[order]
    firsts = np.searchsorted(ordered, ordered, side="left")
    positions = np.empty(len(order), dtype=np.int32)
    positions[order] = np.arange(len(order)) - firsts + 1
    return positions
