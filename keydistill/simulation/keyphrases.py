"""The inventory: what buyers ask for, in how many words, and how often."""

from dataclasses import dataclass
from itertools import count as count_up

import numpy as np
from numpy.typing import NDArray

from keydistill.errors import InputError
from keydistill.simulation.dice import Dice
from keydistill.simulation.knobs import MarketplaceSettings
from keydistill.simulation.queries import word_query
from keydistill.simulation.sampling import draw_products, draw_rows
from keydistill.simulation.typing_errors import make_messy
from keydistill.simulation.wording import ABSENT, ATTRIBUTES, FIT, MOST_CONSTRAINTS, OWN, SLOT, SLOTS, Catalogue, Values

# How much buyers care about a slot.
_IMPORTANCE = {
    "model": 3.0,
    "fit_model": 6.0,
    "size": 1.6,
    "color": 1.3,
    "capacity": 1.2,
    "audience": 1.2,
    "feature": 0.8,
    "material": 0.8,
    "condition": 0.4,
}
# Shares of the buyers that name what a thing is (or fits) who name only the brand, or only the line; the others name
# the model.
_BRAND_ONLY, _LINE_ONLY = 0.3, 0.2
_FIT_BRAND_ONLY, _FIT_LINE_ONLY = 0.08, 0.15
_BRAND_BESIDE = 0.4
_FAMILY_SHARE = 0.05

_TOP_VOLUME = 500_000
_HEAD_SHARE, _TORSO_SHARE = 0.01, 0.2
_LOST_PER_CONSTRAINT, _LOST_BY_MISSPELLING, _VOLUME_NOISE = 1.6, 2.0, 0.8

_SURPLUS = 1.3
_FLATTER_PER_ROUND = 0.15
_LONGER_PER_ROUND = 0.4
_STALLED_SHARE = 0.02


@dataclass(frozen=True, slots=True)
class Inventory:
    """Keyphrases in columns, all of the same length.

    Attributes:
        texts: Keyphrases as the inventory writes them.
        queries: Normalised keyphrases: lower case, single spaces.
        rows: What each keyphrase asks for, shape (n, slots).
        volumes: Searches per month, shape (n,).
        segments: "head", "torso" or "tail" for each keyphrase.
        categorised: Whether the categories of each are known, shape (n,).
    """

    texts: list[str]
    queries: list[str]
    rows: Values
    volumes: NDArray[np.int64]
    segments: list[str]
    categorised: NDArray[np.bool_]


def make_inventory(catalogue: Catalogue, settings: MarketplaceSettings, rng: np.random.Generator) -> Inventory:
    """An inventory of different keyphrases, as many as the settings say.

    Raises:
        InputError: The catalogue cannot make so many keyphrases.
    """
    possible = catalogue.meanings()
    if settings.keyphrases > possible:
        raise _too_many(settings.keyphrases, possible)
    collected = _Collection(len(catalogue.names["site"]))
    dice = Dice(rng)
    _add_nouns(collected, catalogue, settings)
    for attempt in count_up():
        missing = settings.keyphrases - len(collected.queries)
        if missing <= 0:
            break
        before = len(collected.queries)
        draws = int(missing * _SURPLUS) + 100
        mean = min(settings.constraints_mean + _LONGER_PER_ROUND * attempt, MOST_CONSTRAINTS)
        rows, appeal = _draw_demand(catalogue, draws, mean, min(1.0, _FLATTER_PER_ROUND * attempt), rng)
        for row, loss in zip(rows.tolist(), appeal.tolist(), strict=True):
            collected.add(row, word_query(row, catalogue, settings, dice), loss)
            if len(collected.queries) == settings.keyphrases:
                break
        if attempt > 8 and len(collected.queries) - before < min(missing, _STALLED_SHARE * draws):
            raise _too_many(settings.keyphrases, len(collected.queries))
    return _finish(collected, settings, rng, dice)


def _too_many(ordered: int, possible: int) -> InputError:
    return InputError(
        f"{ordered:,} keyphrases were asked for, but the catalogue makes about {possible:,} different ones; "
        f"ask for fewer, or for more leaf categories or constraints"
    )


class _Collection:
    """Keyphrases so far, each different within its site."""

    def __init__(self, sites: int) -> None:
        self.queries: list[str] = []
        self.rows: list[list[int]] = []
        self.appeal: list[float] = []
        self._seen: list[set[str]] = [set() for _ in range(sites)]

    def add(self, row: list[int], query: str, appeal: float) -> None:
        seen = self._seen[row[SLOT["site"]]]
        if query not in seen:
            seen.add(query)
            self.queries.append(query)
            self.rows.append(row)
            self.appeal.append(appeal)


def _add_nouns(collected: _Collection, catalogue: Catalogue, settings: MarketplaceSettings) -> None:
    """Add the products themselves, which buyers ask every marketplace for. So every item has a relevant keyphrase."""
    for site in range(len(catalogue.names["site"])):
        for compiled in sorted(catalogue.products, key=lambda each: -each.product.weight):
            for noun in compiled.product.nouns:
                if len(collected.queries) * 2 > settings.keyphrases:
                    return
                row = [ABSENT] * len(SLOTS)
                row[SLOT["site"]], row[SLOT["product"]] = site, compiled.number
                collected.add(row, noun, float(np.log(compiled.product.weight)))


def _draw_demand(
    catalogue: Catalogue, count: int, mean: float, flatness: float, rng: np.random.Generator
) -> tuple[Values, NDArray[np.float64]]:
    """Rows of what buyers ask for, in random order, and the appeal of each (a logarithm)."""
    rows, popularity = draw_rows(catalogue, draw_products(catalogue, count, rng), rng, flatness)
    order = rng.permutation(count)
    rows, popularity = rows[order], popularity[order]
    mentioned = _mentioned(rows, mean, rng)
    popularity[~mentioned] = 0.0
    constraints = mentioned.sum(axis=1)
    weights = np.log([each.product.weight for each in catalogue.products])[rows[:, SLOT["product"]]]
    rows[~mentioned] = ABSENT
    _choose_level(rows, OWN, _BRAND_ONLY, _LINE_ONLY, rng)
    _choose_level(rows, FIT, _FIT_BRAND_ONLY, _FIT_LINE_ONLY, rng)
    to_family = (rng.random(count) < _FAMILY_SHARE) & (rows[:, SLOT["family"]] != ABSENT)
    rows[to_family, SLOT["product"]] = ABSENT
    rows[~to_family, SLOT["family"]] = ABSENT
    noise = rng.normal(0.0, _VOLUME_NOISE, count)
    return rows, weights + popularity.sum(axis=1) - _LOST_PER_CONSTRAINT * constraints + noise


def _mentioned(rows: Values, mean: float, rng: np.random.Generator) -> NDArray[np.bool_]:
    """Whether a buyer mentions each slot: the more important, the more often; in all `mean` of them on average."""
    groups = ("model", "fit_model", *ATTRIBUTES)
    present = np.column_stack([(rows[:, _columns(group)] != ABSENT).any(axis=1) for group in groups])
    importance = np.array([_IMPORTANCE.get(group, 1.0) for group in groups])
    # Weighted sampling without replacement by sorting (Efraimidis and Spirakis 2006).
    keys = np.where(present, rng.random(present.shape) ** (1 / importance), -1.0)
    rank = np.argsort(np.argsort(-keys, axis=1), axis=1)
    mentions = rng.binomial(MOST_CONSTRAINTS, mean / MOST_CONSTRAINTS, len(rows))
    chosen = present & (rank < mentions[:, None])
    mentioned = np.zeros(rows.shape, dtype=np.bool_)
    mentioned[:, [SLOT["site"], SLOT["product"], SLOT["family"]]] = True
    for column, group in enumerate(groups):
        mentioned[:, _columns(group)] = chosen[:, column : column + 1]
    return mentioned


def _columns(group: str) -> list[int]:
    slots = {"model": OWN, "fit_model": FIT}.get(group, (group,))
    return [SLOT[slot] for slot in slots]


def _choose_level(
    rows: Values, slots: tuple[str, ...], brand_only: float, line_only: float, rng: np.random.Generator
) -> None:
    """Keep only the brand, line or model that the buyer names, and sometimes the brand beside it."""
    brand, line, model = (SLOT[slot] for slot in slots)
    level = rng.random(len(rows))
    no_line = rows[:, line] == ABSENT
    only_brand = no_line | (level < brand_only)
    only_line = ~only_brand & ((rows[:, model] == ABSENT) | (level < brand_only + line_only))
    only_model = ~only_brand & ~only_line
    rows[only_brand, line] = ABSENT
    rows[only_brand | only_line, model] = ABSENT
    rows[only_model, line] = ABSENT
    rows[~only_brand & (rng.random(len(rows)) >= _BRAND_BESIDE), brand] = ABSENT


def _finish(collected: _Collection, settings: MarketplaceSettings, rng: np.random.Generator, dice: Dice) -> Inventory:
    count = len(collected.queries)
    order = rng.permutation(count)
    queries = [collected.queries[place] for place in order.tolist()]
    texts = [make_messy(query, dice) if dice.chance(settings.messy_share) else query for query in queries]
    rank = np.empty(count, dtype=np.int64)
    rank[np.argsort(-np.array(collected.appeal)[order], kind="stable")] = np.arange(1, count + 1)
    volumes = np.maximum(1, np.rint(_TOP_VOLUME * rank.astype(np.float64) ** -settings.volume_skew))
    ends = np.array([_HEAD_SHARE, _TORSO_SHARE]) * count
    names = ("head", "torso", "tail")
    return Inventory(
        texts=texts,
        queries=queries,
        rows=np.array(collected.rows, dtype=np.int16)[order],
        volumes=volumes.astype(np.int64),
        segments=[names[place] for place in np.searchsorted(ends, rank).tolist()],
        categorised=rng.random(count) >= settings.uncategorised_share,
    )
