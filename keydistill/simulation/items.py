"""The listings: what is sold, and which further models an accessory fits."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from keydistill.simulation.dice import Dice
from keydistill.simulation.knobs import MarketplaceSettings
from keydistill.simulation.sampling import draw_products, draw_rows
from keydistill.simulation.titles import word_title
from keydistill.simulation.wording import ABSENT, SLOT, Catalogue, CompiledProduct, Values

_FITS_MORE_SHARE = 0.2
_MOST_MORE_FITS = 2
_MOST_YEARS = 6


@dataclass(frozen=True, slots=True)
class Listings:
    """Items in columns, all of the same length but the last.

    Attributes:
        ids: Ids of the form "item-0000001".
        titles: Titles as sellers write them.
        rows: What each item is, shape (n, slots). An accessory's slot `fit_model` is the first model that it fits.
        fits: Places of items with a model that each fits, shape (m, 2); every such pair once, ordered.
        popularity: Popularity with mean 1, shape (n,).
    """

    ids: list[str]
    titles: list[str]
    rows: Values
    fits: NDArray[np.int64]
    popularity: NDArray[np.float64]


def make_listings(catalogue: Catalogue, settings: MarketplaceSettings, rng: np.random.Generator) -> Listings:
    """Listings of as many items as the settings say."""
    count = settings.items
    rows, _ = draw_rows(catalogue, draw_products(catalogue, count, rng), rng)
    rows = rows[rng.permutation(count)]
    dice = Dice(rng)
    titles: list[str] = []
    fits: list[tuple[int, int]] = []
    neighbours = {product.number: _same_line(product) for product in catalogue.products if product.fit is not None}
    for place, row in enumerate(rows.tolist()):
        models = _fitting(row, catalogue, neighbours, dice)
        fits += [(place, model) for model in sorted(models)]
        titles.append(word_title(row, models, catalogue, settings, dice))
    rank = rng.permutation(count) + 1.0
    popularity = rank**-settings.popularity_skew
    return Listings(
        ids=[f"item-{place + 1:07d}" for place in range(count)],
        titles=titles,
        rows=rows,
        fits=np.array(fits, dtype=np.int64).reshape(-1, 2),
        popularity=popularity / popularity.mean(),
    )


def _same_line(product: CompiledProduct) -> dict[int, list[int]]:
    """The models of each line, in the catalogue's order."""
    lines: dict[int, list[int]] = {}
    if product.fit is not None:
        for _, line, model in product.fit.rows.tolist():
            if model != ABSENT:
                lines.setdefault(line, []).append(model)
    return lines


def _fitting(
    row: list[int], catalogue: Catalogue, neighbours: dict[int, dict[int, list[int]]], dice: Dice
) -> list[int]:
    """Models that the item fits, the row's own first; others stand next to it in its line."""
    model = row[SLOT["fit_model"]]
    if model == ABSENT:
        return []
    product = catalogue.products[row[SLOT["product"]]]
    line = neighbours[product.number][row[SLOT["fit_line"]]]
    at = line.index(model)
    if product.fits_yearly:
        more = dice.below(_MOST_YEARS)
    else:
        more = 1 + dice.below(_MOST_MORE_FITS) if dice.chance(_FITS_MORE_SHARE) else 0
    return line[at : at + 1 + more]
