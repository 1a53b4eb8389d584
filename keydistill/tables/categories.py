"""Categories of a keyphrase, always with all their ancestors, so that a filter on any level finds it."""

import math
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing
from decimal import Decimal
from functools import lru_cache
from pathlib import Path

from keydistill.errors import InputError
from keydistill.tables.cells import type_name
from keydistill.tables.normalization import normalize_label
from keydistill.tables.numbers import exact_id
from keydistill.tables.readers import read_rows
from keydistill.tables.rejects import Reason, RejectedValueError
from keydistill.tables.sources import open_source

PATH_SEPARATOR = " > "
MAX_CATEGORY_CHARS = 1_000
MAX_LEVELS = 100
_COLUMNS = ("category_id", "parent_id")
_CACHED_CELLS = 65_536


class Categories:
    """Turns the cells `category_ids` and `category_path` into category ids with their ancestors.

    Args:
        parents: Category id to the id of its parent, None for a root. Without it `category_ids` stand for themselves.
    """

    def __init__(self, parents: Mapping[str, str | None] | None = None) -> None:
        self._closures = None if parents is None else _closures(parents)
        # Few categories serve many keyphrases: most cells are a look-up.
        self._ids_of = lru_cache(_CACHED_CELLS)(self._parse_ids)
        self._paths_of = lru_cache(_CACHED_CELLS)(_parse_paths)

    @classmethod
    def read(cls, path: Path) -> "Categories":
        """The tree in a CSV, JSONL or Parquet file with the columns `category_id` and `parent_id` (empty: a root).

        Raises:
            InputError: It cannot be read, has a parent that it does not list, two parents for a category, or a cycle.
        """
        parents: dict[str, str | None] = {}
        for row, child, parent in _edges(path):
            if not child:
                raise InputError(f"{path} row {row}: category_id is empty; every row names a category")
            if parents.setdefault(child, parent) != parent:
                raise InputError(
                    f"{path} row {row}: category {child!r} has the parents {parents[child]!r} and {parent!r}; keep one"
                )
        try:
            return cls(parents)
        except ValueError as error:
            raise InputError(f"{path}: {error}") from None

    def of(self, ids: object, paths: object) -> list[str]:
        """The categories that both cells name, with all ancestors, sorted and unique.

        Args:
            ids: None, a text or whole number, or a list of these; a text may hold several, separated by "|".
            paths: None, "A > B > C", several separated by "|", or a list of paths (in which "|" has no meaning).

        Raises:
            RejectedValueError: A cell is malformed, or names a category that the tree does not have.
        """
        categories: set[str] = set()
        if ids is not None and ids != "":
            categories.update(self._ids_of(_hashable(ids)))
        if paths is not None and paths != "":
            categories.update(self._paths_of(_hashable(paths)))
        return sorted(categories)

    def _parse_ids(self, cell: str | tuple[str, ...]) -> frozenset[str]:
        categories: set[str] = set()
        for part in _parts(cell):
            category = _checked(_id(part))
            if self._closures is None:
                categories.add(category)
            elif category in self._closures:
                categories.update(self._closures[category])
            else:
                raise RejectedValueError(
                    Reason.BAD_CATEGORY, "is not in the categories file; add it there or correct it"
                )
        return frozenset(categories)


def _edges(path: Path) -> Iterator[tuple[int, str, str | None]]:
    with open_source(path) as source, closing(read_rows(source, known=_COLUMNS, required=_COLUMNS)) as batches:
        for batch in batches:
            for malformed in batch.malformed:
                raise InputError(f"{path} row {malformed.row}: {malformed.detail}; expected category_id, parent_id")
            for row, child, parent in zip(batch.rows, *(batch.columns[name] for name in _COLUMNS), strict=True):
                try:
                    yield row, _id(child), _id(parent) or None
                except RejectedValueError as problem:
                    raise InputError(f"{path} row {row}: a category {problem.detail}") from None


def leaf_category(category_id: object, path: object) -> str | None:
    """The one category of an item: the given id, otherwise the whole path; None where it has neither.

    Raises:
        RejectedValueError: A cell is malformed.

    >>> leaf_category(None, "Audio >  Headphones")
    'Audio > Headphones'
    """
    if category_id is not None and category_id != "":
        return _checked(_id(category_id))
    if path is None or path == "":
        return None
    # A list of one path, in which "|" has no meaning. Of a path and its ancestors it is the longest.
    return max(_parse_paths((path,) if isinstance(path, str) else _hashable(path)), key=len)


def _parse_paths(cell: str | tuple[str, ...]) -> frozenset[str]:
    categories: set[str] = set()
    for part in _parts(cell):
        names = [_checked(_label(name)) for name in part.split(">")]
        categories.update(PATH_SEPARATOR.join(names[:depth]) for depth in range(1, len(names) + 1))
    if any(len(category) > MAX_CATEGORY_CHARS for category in categories):
        raise RejectedValueError(Reason.TOO_LONG, f"has a path of more than {MAX_CATEGORY_CHARS:,} characters")
    return frozenset(categories)


def _parts(cell: str | tuple[str, ...]) -> Sequence[str]:
    if isinstance(cell, tuple):
        return cell
    return cell.split("|") if cell.strip() else ()


def _checked(category: str) -> str:
    if not category:
        raise RejectedValueError(Reason.BAD_CATEGORY, "has an empty category; expected a name on both sides")
    if len(category) > MAX_CATEGORY_CHARS:
        raise RejectedValueError(Reason.TOO_LONG, f"has a category of more than {MAX_CATEGORY_CHARS:,} characters")
    return category


def _id(value: object) -> str:
    return _label(exact_id(value))


def _label(value: object) -> str:
    if value is None or (isinstance(value, float) and math.isnan(value)):
        return ""
    # pandas turns whole numbers into floats as soon as one is missing.
    if not isinstance(value, str):
        value = exact_id(value)
    if isinstance(value, str):
        return normalize_label(value)
    raise RejectedValueError(Reason.BAD_CATEGORY, f"is {type_name(value)}; expected text or a whole number")


def _hashable(cell: object) -> str | tuple[str, ...]:
    if isinstance(cell, list):
        if not all(isinstance(part, (str, int, float, Decimal)) for part in cell):
            raise RejectedValueError(Reason.BAD_CATEGORY, "holds something that is neither text nor a number")
        # 1, 1.0 and True are equal as keys of the cache, and not equal as categories.
        return tuple(part if isinstance(part, str) else _label(part) for part in cell)
    if isinstance(cell, str):
        return cell
    return (_label(cell),)


def _closures(parents: Mapping[str, str | None]) -> dict[str, frozenset[str]]:
    closures: dict[str, frozenset[str]] = {}
    for start in parents:
        chain: list[str] = []
        on_chain: set[str] = set()
        node: str | None = start
        while node is not None and node not in closures:
            if node in on_chain:
                cycle = PATH_SEPARATOR.join([*chain[chain.index(node) :], node])
                raise ValueError(f"category {node!r} is its own ancestor ({cycle}); a root has no parent")
            if node not in parents:
                raise ValueError(
                    f"category {chain[-1]!r} has the parent {node!r}, which has no row of its own; add the row, or "
                    "leave the parent of a root empty"
                )
            chain.append(node)
            on_chain.add(node)
            node = parents[node]
        above: frozenset[str] = closures[node] if node is not None else frozenset()
        for member in reversed(chain):
            above = above | {member}
            if len(above) > MAX_LEVELS:
                raise ValueError(f"category {member!r} is more than {MAX_LEVELS} levels below its root")
            closures[member] = above
    return closures
