"""Items and inventory as numbers: which keyphrases an item may get, and which of their pairs a table has."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from keydistill.encoders import ItemFields
from keydistill.errors import InputError
from keydistill.tables import PATH_SEPARATOR

MatchCategory = Literal["none", "leaf", "parent"]
Ints = NDArray[np.int64]
Bools = NDArray[np.bool_]

# The head: the fewest keyphrases that together have this share of all searches.
HEAD_SHARE = 0.5
NO_CATEGORY = "(no category)"


@dataclass(frozen=True, slots=True)
class PairTable:
    """Pairs of a table as keys, sorted; `rows[i]` is the row of `keys[i]` in the table."""

    keys: Ints
    rows: Ints

    def find(self, keys: Ints) -> Ints:
        """The row of each key, -1 where the table does not have it; of several equal pairs, the last."""
        if not len(self.keys):
            return np.full(keys.shape, -1, dtype=np.int64)
        place = np.searchsorted(self.keys, keys, side="right") - 1
        return np.where((place >= 0) & (self.keys[place] == keys) & (keys >= 0), self.rows[place], -1)


class Corpus:
    """The items that get recommendations, the inventory that is searched, and all texts that occur.

    A pair is known by a key: item times number of texts, plus text.

    Attributes:
        item_ids: Unique ids of the n items, as the caller gave them.
        titles: Title of each item.
        item_categories: Full path of each item's leaf category, or None.
        sites: Site on which each item is sold, or None.
        groups: First level of each item's category path.
        texts: Different keyphrases: those of the inventory, and after them those that only the labels have.
        text_of: Number of each inventory row's text, shape (m,).
        volumes: Search volume of each inventory row, shape (m,); None where the inventory has none.
        in_inventory: Whether an inventory row has each text.
    """

    def __init__(
        self,
        items: pa.Table,
        inventory: pa.Table,
        *,
        further_texts: pa.ChunkedArray | None = None,
        match_category: MatchCategory = "none",
    ) -> None:
        """A corpus of items and inventory.

        Args:
            items: `item_id`, `title`, and optionally `category_path`, `site` and free fields.
            inventory: `keyphrase`, normalised, and optionally `site`, `category_ids` (with all ancestors) and
                `search_volume`.
            further_texts: Keyphrases of labelled pairs.
            match_category: Whether a keyphrase must belong to the item's leaf category, or to its parent.

        Raises:
            InputError: A column is missing, there is no row, or an item id comes twice.
        """
        self._table = items
        self._items = pa.array(_texts(items, "item_id", "items"))
        if pc.count_distinct(self._items).as_py() != len(items):
            counted = pc.value_counts(self._items)
            twice = counted.filter(pc.greater(counted.field("counts"), 1))[0]["values"].as_py()
            raise InputError(
                f"the items have {twice!r} more than once; give every item once, and sites with equal ids one at a time"
            )
        self.item_ids: list[str] = self._items.to_pylist()
        self.titles = _texts(items, "title", "items")
        self.item_categories: list[str | None] = _optional(items, "category_path") or [None] * len(items)
        self.sites = pa.array(_optional(items, "site") or [None] * len(items), pa.string())
        self.groups = [
            category.partition(PATH_SEPARATOR)[0] if category else NO_CATEGORY for category in self.item_categories
        ]
        keyphrases = pa.array(_texts(inventory, "keyphrase", "inventory"))
        self._texts = pc.unique(keyphrases)
        inventory_texts = len(self._texts)
        if further_texts is not None:
            self._texts = pc.unique(
                pa.concat_arrays([self._texts, *further_texts.cast(pa.string()).drop_null().chunks])
            )
        self.texts: list[str] = self._texts.to_pylist()
        self.text_of = _numbers(pc.index_in(keyphrases, value_set=self._texts))
        self.in_inventory = np.arange(len(self.texts)) < inventory_texts
        self.volumes = _volumes(inventory)
        self._sites(_optional(items, "site"), _optional(inventory, "site"))
        self._categories(match_category, inventory)

    def __len__(self) -> int:
        """Number of inventory rows."""
        return len(self.text_of)

    def item_fields(self, names: Sequence[str]) -> list[ItemFields] | None:
        """The free fields of each item that have these names; None where the items have none of them."""
        there = {name: _optional(self._table, name) for name in names if name in self._table.column_names}
        rows = zip(*(texts or [] for texts in there.values()), strict=True)
        return [dict(zip(there, texts, strict=True)) for texts in rows] if there else None

    def keys(self, items: Ints, texts: Ints) -> Ints:
        """The keys of pairs; `items` and `texts` have one shape."""
        return items * len(self.texts) + texts

    def pair_table(self, table: pa.Table) -> PairTable:
        """The rows of a table with `item_id` and `keyphrase` that are pairs of this corpus; others are left out.

        Raises:
            InputError: A column is missing.
        """
        for name in ("item_id", "keyphrase"):
            if name not in table.column_names:
                raise InputError(f"a table of pairs has no column {name!r}; found: {', '.join(table.column_names)}")
        items = _numbers(pc.index_in(table["item_id"].cast(pa.string()), value_set=self._items))
        texts = _numbers(pc.index_in(table["keyphrase"].cast(pa.string()), value_set=self._texts))
        rows = np.flatnonzero((items >= 0) & (texts >= 0))
        keys = self.keys(items[rows], texts[rows])
        order = np.argsort(keys, kind="stable")
        return PairTable(keys[order], rows[order])

    @property
    def is_filtered(self) -> bool:
        """Whether there are items that may not get all of the inventory."""
        return self._site_of_row is not None or self._category_of_item is not None

    def allowed(self, first: int, last: int) -> Bools:
        """Which inventory rows each item from `first` to `last` (exclusive) may get: shape (last - first, m)."""
        passes = np.ones((last - first, len(self)), dtype=bool)
        for row, item in enumerate(range(first, last)):
            if self._site_of_row is not None and self._site_of_item[item] >= 0:
                passes[row] &= self._site_of_row == self._site_of_item[item]
            category = None if self._category_of_item is None else self._category_of_item[item]
            if category is not None:
                inside = np.zeros(len(self), dtype=bool)
                inside[self._rows_of.get(category, _NO_ROWS)] = True
                passes[row] &= inside
        return passes

    def head(self) -> Bools | None:
        """Which inventory rows are the head by search volume, shape (m,); None without search volumes."""
        if self.volumes is None or not self.volumes.any():
            return None
        order = np.argsort(-self.volumes, kind="stable")
        before = np.cumsum(self.volumes[order]) - self.volumes[order]
        head = np.zeros(len(self), dtype=bool)
        head[order[before < HEAD_SHARE * self.volumes.sum()]] = True
        return head

    def _sites(self, of_items: list[str | None] | None, of_rows: list[str | None] | None) -> None:
        self._site_of_row: Ints | None = None
        if of_items is None or of_rows is None or not any(of_rows) or not any(of_items):
            return
        codes: dict[str, int] = {}
        self._site_of_row = _coded(of_rows, codes)
        self._site_of_item = _coded(of_items, codes)

    def _categories(self, match_category: MatchCategory, inventory: pa.Table) -> None:
        self._category_of_item: list[str | None] | None = None
        if match_category == "none":
            return
        if "category_ids" not in inventory.column_names:
            raise InputError(
                "the inventory has no column 'category_ids'; without it items cannot be matched by category"
            )
        self._category_of_item = [
            (category.rpartition(PATH_SEPARATOR)[0] or category)
            if category and match_category == "parent"
            else category
            for category in self.item_categories
        ]
        lists = inventory["category_ids"].combine_chunks()
        categories = pa.array(sorted({category for category in self._category_of_item if category}), pa.string())
        codes = _numbers(pc.index_in(lists.flatten().cast(pa.string()), value_set=categories))
        rows = _numbers(pc.list_parent_indices(lists))
        order = np.argsort(codes, kind="stable")
        bounds = np.searchsorted(codes[order], np.arange(len(categories) + 1))
        self._rows_of = {
            name: rows[order[bounds[code] : bounds[code + 1]]] for code, name in enumerate(categories.to_pylist())
        }


_NO_ROWS: Ints = np.empty(0, dtype=np.int64)


def sample_items(items: pa.Table, limit: int | None, seed: int = 0) -> pa.Table:
    """At most `limit` items, an even choice by seed, in the order of the table."""
    if limit is None or len(items) <= limit:
        return items
    places = np.random.default_rng(seed).choice(len(items), size=limit, replace=False)
    return items.take(pa.array(np.sort(places)))


def _texts(table: pa.Table, name: str, table_name: str) -> list[str]:
    if name not in table.column_names:
        raise InputError(f"the {table_name} have no column {name!r}; found: {', '.join(table.column_names)}")
    column = table[name].cast(pa.string())
    if not len(column):
        raise InputError(f"there are no {table_name}; an evaluation needs some")
    if column.null_count:
        row = pc.index(column.is_null(), True).as_py() + 1
        raise InputError(f"row {row} of the {table_name} has no {name}")
    values: list[str] = column.to_pylist()
    return values


def _optional(table: pa.Table, name: str) -> list[str | None] | None:
    return table[name].cast(pa.string()).to_pylist() if name in table.column_names else None


def _volumes(inventory: pa.Table) -> NDArray[np.float64] | None:
    if "search_volume" not in inventory.column_names:
        return None
    volumes = pc.fill_null(inventory["search_volume"].cast(pa.float64()), 0.0)
    return np.asarray(volumes.to_numpy(), dtype=np.float64)


def _numbers(array: pa.Array | pa.ChunkedArray) -> Ints:
    filled = pc.fill_null(array.cast(pa.int64()), -1)
    return np.asarray(filled.to_numpy(zero_copy_only=False) if isinstance(filled, pa.Array) else filled.to_numpy())


def _coded(values: Sequence[str | None], codes: dict[str, int]) -> Ints:
    return np.fromiter(
        (codes.setdefault(value, len(codes)) if value else -1 for value in values), np.int64, len(values)
    )
