"""Drawing rows of the catalogue: descriptions of things that are sold or asked for."""

import numpy as np
from numpy.typing import NDArray

from keydistill.simulation.wording import ABSENT, SLOT, SLOTS, Catalogue, Choice, Values

_SITE_SHARE = 0.4


def draw_products(catalogue: Catalogue, count: int, rng: np.random.Generator) -> NDArray[np.int64]:
    """Numbers of products, drawn by their popularity, in ascending order, shape (count,)."""
    weights = np.array([each.product.weight for each in catalogue.products])
    return np.repeat(np.arange(len(weights)), rng.multinomial(count, weights / weights.sum()))


def draw_rows(
    catalogue: Catalogue, products: NDArray[np.int64], rng: np.random.Generator, flatness: float = 0.0
) -> tuple[Values, NDArray[np.float64]]:
    """Things of these products with all their slots filled.

    Args:
        catalogue: Catalogue to draw from.
        products: Numbers of the products, ascending, shape (n,).
        rng: Source of chance.
        flatness: 0 draws values by their popularity, 1 all alike.

    Returns:
        The rows, shape (n, slots), and the popularity of each value in them, same shape: the logarithm of its weight
        against the most popular value of its product, 0 where the slot is absent.
    """
    rows = np.full((len(products), len(SLOTS)), ABSENT, dtype=np.int16)
    popularity = np.zeros(rows.shape)
    rows[:, SLOT["site"]] = _draw_sites(len(catalogue.names["site"]), len(rows), rng)
    rows[:, SLOT["product"]] = products
    starts = np.searchsorted(products, np.arange(len(catalogue.products) + 1))
    for product in catalogue.products:
        part = slice(starts[product.number], starts[product.number + 1])
        if part.start == part.stop:
            continue
        rows[part, SLOT["family"]] = product.family
        for choice in (product.own, product.fit, *product.attributes):
            if choice is None:
                continue
            index = _draw_choice(choice, part.stop - part.start, rng, flatness)
            rows[part, choice.slots] = choice.rows[index]
            popularity[part, choice.slots[-1]] = np.log(choice.weights / choice.weights.max())[index]
    return rows, popularity


def _draw_sites(sites: int, count: int, rng: np.random.Generator) -> Values:
    weights = _SITE_SHARE ** np.arange(sites)
    return rng.choice(sites, size=count, p=weights / weights.sum()).astype(np.int16)


def _draw_choice(choice: Choice, count: int, rng: np.random.Generator, flatness: float) -> NDArray[np.int64]:
    weights = choice.weights ** (1 - flatness)
    steps = np.cumsum(weights / weights.sum())
    return np.minimum(np.searchsorted(steps, rng.random(count), side="right"), len(weights) - 1)
