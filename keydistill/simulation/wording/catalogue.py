"""The catalogue as numbers: every product with the values that each of its slots can take.

An item and a keyphrase are both one row of `SLOTS`, each slot a value's number or `ABSENT`. An item's row says what it
is; a keyphrase's row says what it asks for, `ABSENT` where it does not care. Everything else follows from these rows.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from keydistill.errors import SettingsError
from keydistill.simulation.wording.brands import MAKERS, YEARLY, Model
from keydistill.simulation.wording.departments import PRODUCTS, Product
from keydistill.simulation.wording.domains import DOMAINS
from keydistill.simulation.wording.vocabulary import FORMS

Values = NDArray[np.int16]

ATTRIBUTES = ("color", "size", "capacity", "material", "audience", "condition", "feature")
OWN = ("brand", "line", "model")
FIT = ("fit_brand", "fit_line", "fit_model")
SLOTS = ("site", "product", "family", *OWN, *FIT, *ATTRIBUTES)
SLOT = {name: column for column, name in enumerate(SLOTS)}
ABSENT = -1

MOST_CONSTRAINTS = 6
_POPULARITY_EXPONENT = 0.7
# Not every item has a special feature, and not every accessory a brand that anybody asks for.
_BLANK_SHARE = {"feature": 0.35, "brand": 0.15}


@dataclass(frozen=True, slots=True)
class Choice:
    """The values that some slots of a product take together.

    Attributes:
        slots: Columns of `SLOTS` that are drawn together.
        rows: Shape (choices, len(slots)), most popular first.
        weights: Shape (choices,), probabilities.
    """

    slots: tuple[int, ...]
    rows: Values
    weights: NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class CompiledProduct:
    """A product with its numbers.

    Attributes:
        product: What the catalogue says about it.
        number: Its value of the slot `product`.
        family: Its value of the slot `family`, or `ABSENT`.
        leaf: Path of its leaf category.
        own: Brands, lines and models that it can be, if it has any.
        fit: Brands, lines and models that it can fit, if it is an accessory or part.
        fits_yearly: Whether it fits models of several years in a row.
        names_itself: Whether the name of its model says what product it is, so that the noun can be left out.
        attributes: Its other slots.
    """

    product: Product
    number: int
    family: int
    leaf: str
    own: Choice | None
    fit: Choice | None
    fits_yearly: bool
    names_itself: bool
    attributes: tuple[Choice, ...]


@dataclass(frozen=True, slots=True)
class Catalogue:
    """All products, and the names of all values.

    Attributes:
        products: By number.
        names: Slot to the names of its values, by number. `site` is filled from the settings.
    """

    products: tuple[CompiledProduct, ...]
    names: Mapping[str, tuple[str, ...]]

    def leaves(self, product: int, family: int) -> list[str]:
        """Leaf categories in which a keyphrase that asks for this product, or else this family, is valid."""
        if product != ABSENT:
            return [self.products[product].leaf]
        return sorted({product.leaf for product in self.products if product.family == family})

    def forms(self, slot: str, value: int) -> tuple[str, ...]:
        """The spellings of a value, its name first."""
        name = self.names[slot][value]
        return FORMS.get(slot, {}).get(name, (name,))

    def meanings(self) -> int:
        """The number of different things a keyphrase can ask for: sets of at most `MOST_CONSTRAINTS` constraints."""
        total = 0
        for product in self.products:
            options = [
                len({tuple(row[: level + 1]) for row in choice.rows.tolist() if row[level] != ABSENT})
                for choice in (product.own, product.fit)
                if choice is not None
                for level in (2, 1, 0)
            ]
            groups = [sum(options[start : start + 3]) for start in range(0, len(options), 3)]
            groups += [len(choice.rows) for choice in product.attributes]
            ways = [1] + [0] * MOST_CONSTRAINTS
            for size in groups:
                ways = [ways[0]] + [ways[n] + ways[n - 1] * size for n in range(1, MOST_CONSTRAINTS + 1)]
            total += sum(ways)
        return total


class _Numbers:
    """Numbers names in the order in which they come."""

    def __init__(self) -> None:
        self.names: dict[str, int] = {}

    def __call__(self, name: str | None) -> int:
        return ABSENT if name is None else self.names.setdefault(name, len(self.names))


def compile_catalogue(sites: Sequence[str], leaf_categories: int | None = None) -> Catalogue:
    """The catalogue, or that part of it which is in its first `leaf_categories` leaf categories.

    Raises:
        SettingsError: There are not so many leaf categories.
    """
    leaves = list(dict.fromkeys(product.leaf for product in PRODUCTS))
    if leaf_categories is not None and leaf_categories > len(leaves):
        raise SettingsError(
            f"leaf_categories is {leaf_categories}, but the catalogue has {len(leaves)}; ask for at most {len(leaves)}"
        )
    kept_leaves = set(leaves[:leaf_categories])
    numbers = {slot: _Numbers() for slot in ("family", *OWN, *ATTRIBUTES)}
    # An accessory fits the very brands, lines and models that others are.
    numbers |= {fit: numbers[own] for own, fit in zip(OWN, FIT, strict=True)}
    chosen = [product for product in PRODUCTS if product.leaf in kept_leaves]
    products = tuple(_compile(product, number, numbers) for number, product in enumerate(chosen))
    names = {slot: tuple(numbers[slot].names) for slot in SLOTS if slot in numbers}
    names |= {"site": tuple(sites), "product": tuple(product.nouns[0] for product in chosen)}
    return Catalogue(products, names)


def _compile(product: Product, number: int, numbers: Mapping[str, _Numbers]) -> CompiledProduct:
    own = fit = None
    if product.makers is not None:
        own = _models(MAKERS[product.makers], OWN, numbers)
        if product.fits is not None:
            own = _choice(own.slots, own.rows, blank=_BLANK_SHARE["brand"])
    if product.fits is not None:
        fit = _models(MAKERS[product.fits], FIT, numbers)
    return CompiledProduct(
        product=product,
        number=number,
        family=numbers["family"](product.family),
        leaf=product.leaf,
        own=own,
        fit=fit,
        fits_yearly=product.fits in YEARLY,
        names_itself=product.makers is not None and [each.makers for each in PRODUCTS].count(product.makers) == 1,
        attributes=tuple(
            _choice(
                (SLOT[slot],),
                np.array([[numbers[slot](name)] for name in DOMAINS[slot][domain]], dtype=np.int16),
                blank=_BLANK_SHARE.get(slot, 0.0),
            )
            for slot, domain in product.attributes.items()
        ),
    )


def _models(models: Sequence[Model], slots: Sequence[str], numbers: Mapping[str, _Numbers]) -> Choice:
    brands, lines, names = (numbers[slot] for slot in slots)
    rows = [(brands(model.brand), lines(model.line), names(model.model)) for model in models]
    return _choice(tuple(SLOT[slot] for slot in slots), np.array(rows, dtype=np.int16))


def _choice(slots: tuple[int, ...], rows: Values, blank: float = 0.0) -> Choice:
    weights = np.arange(1, len(rows) + 1, dtype=np.float64) ** -_POPULARITY_EXPONENT
    weights *= (1 - blank) / weights.sum()
    if blank:
        rows = np.vstack([rows, np.full((1, len(slots)), ABSENT, dtype=np.int16)])
        weights = np.append(weights, blank)
    return Choice(slots, rows, weights)
