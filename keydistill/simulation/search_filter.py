"""The search engine's relevance filter, the middleman: it looks at words and lets a pair through, or not.

A pair that it rejects is never shown, so it never gets a click, however relevant it is. It judges a pool of pairs:
relevant ones, near-misses, and pairs drawn at random.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from keydistill.simulation.knobs import MarketplaceSettings
from keydistill.simulation.truth import Pairs, matching_pairs, pairs_from_codes
from keydistill.simulation.wording import ABSENT, ATTRIBUTES, SLOT, Catalogue, Values

Tokens = NDArray[np.int32]

# Parts of a score that follows words alone: shared words, and whether the keyphrase is for that kind of item.
_WORDS_PART, _KIND_PART = 0.75, 0.25
_NEAR_MISS_KEYPHRASES = 100_000
_ITEMS_PER_NEAR_MISS = 60
_CHUNK = 100_000
_WORD = re.compile(r"[^\W_]+(?:\.\d+)?")


@dataclass(frozen=True, slots=True)
class Pool:
    """Pairs that signals are about, with their truth.

    Attributes:
        pairs: The pairs, ordered.
        relevant: Whether each is relevant, shape (n,).
        near_miss: Whether an irrelevant pair fails by one thing only, shape (n,); other irrelevant ones are random.
    """

    pairs: Pairs
    relevant: NDArray[np.bool_]
    near_miss: NDArray[np.bool_]


@dataclass(frozen=True, slots=True)
class Market:
    """The columns of `Listings` and `Inventory` that the signals are made from, and the truth."""

    catalogue: Catalogue
    titles: Sequence[str]
    items: Values
    fits: NDArray[np.int64]
    popularity: NDArray[np.float64]
    queries: Sequence[str]
    keyphrases: Values
    volumes: NDArray[np.int64]
    truth: Pairs


def make_pool(market: Market, settings: MarketplaceSettings, rng: np.random.Generator) -> Pool:
    """At most `search_pool` pairs of each kind per item; those that are searched more often come first."""
    count = len(market.keyphrases)
    appeal = np.sqrt(market.volumes.astype(np.float64))
    truth = market.truth.codes(count)
    near = np.setdiff1d(_near_misses(market, rng).codes(count), truth, assume_unique=True)
    sites = market.items[:, SLOT["site"]]
    items = np.repeat(np.arange(len(market.items)), settings.search_pool)
    random = np.unique(items * count + rng.integers(0, count, len(items)))
    same_site = sites[random // count] == market.keyphrases[random % count, SLOT["site"]]
    random = np.setdiff1d(np.setdiff1d(random[same_site], truth, True), near, True)
    relevant = _limited(truth, count, appeal, settings.search_pool, rng)
    near = _limited(near, count, appeal, settings.search_pool, rng)
    codes = np.concatenate([relevant, near, random])
    kinds = np.repeat([0, 1, 2], [len(relevant), len(near), len(random)])
    order = np.argsort(codes)
    return Pool(pairs_from_codes(codes[order], count), kinds[order] == 0, kinds[order] == 1)


def _limited(
    codes: NDArray[np.int64],
    count: int,
    appeal: NDArray[np.float64],
    most: int,
    rng: np.random.Generator,
) -> NDArray[np.int64]:
    """At most `most` per item, drawn in proportion to appeal without replacement."""
    items = codes // count
    # The exponential race: the smallest of E/weight wins, a draw without replacement.
    keys = rng.exponential(size=len(codes)) / appeal[codes % count]
    order = np.lexsort((keys, items))
    firsts = np.searchsorted(items[order], items[order], side="left")
    return np.sort(codes[order][np.arange(len(codes)) - firsts < most])


def _near_misses(market: Market, rng: np.random.Generator) -> Pairs:
    """Pairs that match but for one thing: an attribute, the model, or that it is the accessory of what was asked."""
    count = len(market.keyphrases)
    chosen = np.sort(rng.permutation(count)[:_NEAR_MISS_KEYPHRASES])
    loosened = _loosened(market.keyphrases[chosen], rng)
    crossed = _crossed(market.keyphrases[chosen])
    codes = []
    for rows in (loosened, crossed):
        usable = np.flatnonzero((rows != market.keyphrases[chosen]).any(axis=1))
        pairs = matching_pairs(market.items, market.fits, rows[usable], _ITEMS_PER_NEAR_MISS, rng)
        codes.append(pairs.items.astype(np.int64) * count + chosen[usable][pairs.keyphrases])
    return pairs_from_codes(np.unique(np.concatenate(codes)), count)


def _loosened(rows: Values, rng: np.random.Generator) -> Values:
    """Each keyphrase with one of its constraints dropped."""
    groups = [["brand", "line", "model"], ["fit_brand", "fit_line", "fit_model"], *([one] for one in ATTRIBUTES)]
    columns = [[SLOT[slot] for slot in group] for group in groups]
    present = np.column_stack([(rows[:, group] != ABSENT).any(axis=1) for group in columns])
    pick = np.argmax(np.where(present, rng.random(present.shape), -1.0), axis=1)
    loose = rows.copy()
    for number, group in enumerate(columns):
        loose[np.ix_((pick == number) & present[:, number], group)] = ABSENT
    return loose


def _crossed(rows: Values) -> Values:
    """An accessory's keyphrase for the device itself, and a device's for its accessories."""
    own = [SLOT[slot] for slot in ("brand", "line", "model")]
    fit = [SLOT[slot] for slot in ("fit_brand", "fit_line", "fit_model")]
    crossed = rows.copy()
    names_fit = (rows[:, fit[1:]] != ABSENT).any(axis=1)
    names_own = ~names_fit & (rows[:, own[1:]] != ABSENT).any(axis=1)
    for which, source, target in ((names_fit, fit, own), (names_own, own, fit)):
        bare = np.full((int(which.sum()), rows.shape[1]), ABSENT, dtype=rows.dtype)
        bare[:, SLOT["site"]] = rows[which, SLOT["site"]]
        bare[:, target] = rows[np.ix_(which, source)]
        crossed[which] = bare
    return crossed


def score_pool(
    market: Market, pool: Pool, settings: MarketplaceSettings, rng: np.random.Generator
) -> NDArray[np.float32]:
    """Search scores from 0 to 1, shape (n,)."""
    words = word_overlap(market.titles, market.queries, pool.pairs)
    score = _WORDS_PART * words + _KIND_PART * _same_kind(market, pool.pairs)
    score += rng.normal(0.0, settings.search_noise, len(score)) if settings.search_noise else 0.0
    mixed = settings.middleman_bias * score + (1 - settings.middleman_bias) * pool.relevant
    return np.asarray(np.clip(mixed, 0.0, 1.0), dtype=np.float32)


def _same_kind(market: Market, pairs: Pairs) -> NDArray[np.bool_]:
    item = market.items[pairs.items]
    keyphrase = market.keyphrases[pairs.keyphrases]
    products = market.catalogue.products
    leaves = {leaf: number for number, leaf in enumerate(dict.fromkeys(each.leaf for each in products))}
    leaf = np.array([leaves[each.leaf] for each in products])
    product = keyphrase[:, SLOT["product"]]
    family = keyphrase[:, SLOT["family"]]
    in_leaf = (product != ABSENT) & (leaf[item[:, SLOT["product"]]] == leaf[np.maximum(product, 0)])
    return np.asarray(in_leaf | ((family != ABSENT) & (family == item[:, SLOT["family"]])))


def word_overlap(titles: Sequence[str], queries: Sequence[str], pairs: Pairs) -> NDArray[np.float64]:
    """The share of a query's words that its title has, rarer words counting more, shape (n,)."""
    numbers: dict[str, int] = {}
    query_words = _padded([_numbered_words(query, numbers, True) for query in queries])
    queries_with_word = np.bincount(query_words[query_words >= 0], minlength=len(numbers))
    weights = np.log1p(len(queries) / np.maximum(1, queries_with_word))
    title_words = _padded([_numbered_words(title, numbers, False) for title in titles])
    overlap = np.empty(len(pairs))
    for start in range(0, len(pairs), _CHUNK):
        part = slice(start, start + _CHUNK)
        words = query_words[pairs.keyphrases[part]]
        in_title = np.zeros(words.shape, dtype=np.bool_)
        for column in title_words[pairs.items[part]].T:
            in_title |= words == column[:, None]
        weight = np.where(words >= 0, weights[words], 0.0)
        overlap[part] = (weight * in_title).sum(axis=1) / np.maximum(weight.sum(axis=1), 1e-9)
    return overlap


def _numbered_words(text: str, numbers: dict[str, int], new: bool) -> list[int]:
    words = dict.fromkeys(_WORD.findall(text.lower()))
    if new:
        return [numbers.setdefault(word, len(numbers)) for word in words]
    return [numbers[word] for word in words if word in numbers]


def _padded(rows: list[list[int]]) -> Tokens:
    width = max((len(row) for row in rows), default=1)
    table = np.full((len(rows), max(1, width)), -1, dtype=np.int32)
    for place, row in enumerate(rows):
        table[place, : len(row)] = row
    return table
