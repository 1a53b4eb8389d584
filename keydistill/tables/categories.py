r"""Categories as all tables have them: ids and paths, read in one way, and for keyphrases with all their ancestors.

In text ">" separates the levels of a path and "|" several paths or ids; "\>" and "\|" are characters of a name. In a
list "|" separates nothing. HTML entities ("&gt;") are decoded, once. What comes out is read again as the same category:
in it ">" and "|" in names are written "\>" and "\|".
"""

import html
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import closing
from decimal import Decimal
from functools import lru_cache
from pathlib import Path

from keydistill.errors import InputError
from keydistill.tables.cells import is_missing, refuse_spreadsheet_error, type_name
from keydistill.tables.normalization import normalize_label
from keydistill.tables.numbers import exact_id
from keydistill.tables.readers import read_rows
from keydistill.tables.rejects import Reason, RejectedValueError
from keydistill.tables.sources import open_source

PATH_SEPARATOR = " > "
# Stands between the categories of one text.
LIST_SEPARATOR = "|"
MAX_CATEGORY_CHARS = 1_000
MAX_LEVELS = 100
_COLUMNS = ("category_id", "parent_id")
_CACHED_CELLS = 65_536
_ENTITY = re.compile(r"&(?:#[0-9]{1,7}|#[xX][0-9a-fA-F]{1,6}|[A-Za-z][A-Za-z0-9]{1,31});")
_LEVEL, _PATH = re.compile(r"(?<!\\)>"), re.compile(r"(?<!\\)\|")
_WIDE_SEPARATORS = str.maketrans("\uff1e\ufe65\uff5c", ">>|")


class Categories:
    """Turns the cells `category_ids` and `category_path` into category ids with their ancestors.

    Args:
        parents: Category id to the id of its parent, None for a root. Without it `category_ids` stand for themselves.
    """

    def __init__(self, parents: Mapping[str, str | None] | None = None) -> None:
        self._closures = None if parents is None else _closures(parents)
        # Few categories serve many keyphrases: most cells are a look-up.
        self._ids_of = lru_cache(_CACHED_CELLS)(self._parse_ids)

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
            paths: None, "A > B > C", several separated by "|", or a list of paths.

        Raises:
            RejectedValueError: A cell is malformed, or names a category that the tree does not have.
        """
        categories: set[str] = set()
        if ids is not None and ids != "":
            categories.update(self._ids_of(_hashable(ids)))
        if paths is not None and paths != "":
            categories.update(_parse_paths(_hashable(paths)))
        return sorted(categories)

    def _parse_ids(self, cell: str | tuple[str, ...]) -> frozenset[str]:
        categories: set[str] = set()
        for part in _parts(cell):
            category = _checked(_escaped(_id(part)))
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
                    yield row, _tree_id(child), _tree_id(parent) or None
                except RejectedValueError as problem:
                    raise InputError(f"{path} row {row}: a category {problem.detail}") from None


def leaf_category(category_id: object, path: object) -> str | None:
    """The one category of an item: the given id, otherwise the whole path; None where it has neither.

    Of several the one with the most characters, which of a path and its ancestors is the path.

    Raises:
        RejectedValueError: A cell is malformed.

    >>> leaf_category(None, "Audio >  Headphones"), leaf_category(None, "TV &gt; Video | Audio")
    ('Audio > Headphones', 'TV > Video')
    """
    for cell, parse in ((category_id, _parse_ids), (path, _parse_paths)):
        categories = parse(_hashable(cell)) if cell is not None and cell != "" else ()
        if categories:
            return max(categories, key=lambda category: (len(category), category))
    return None


def leaf_name(path: str) -> str:
    r"""The name of the last level of a category, without escapes.

    >>> leaf_name(r"Electronics > TV \| Video")
    'TV | Video'
    """
    return _unescaped(path.rpartition(PATH_SEPARATOR)[2])


def path_of(names: Sequence[str]) -> str:
    r"""A category path of names in which no character is a separator.

    >>> path_of(["Furniture", "Kids > Teens"])
    'Furniture > Kids \\> Teens'
    """
    return PATH_SEPARATOR.join(_LEVEL.sub(r"\\>", _escaped(_decoded(name))) for name in names)


def list_text(values: Iterable[str]) -> str:
    """Categories as one text, from which `Categories.of` reads them again."""
    # A name may end in a backslash, which would escape what follows.
    texts = (_PATH.sub(r"\\|", value) for value in values)
    return LIST_SEPARATOR.join(f"{text} " if text.endswith("\\") else text for text in texts)


@lru_cache(_CACHED_CELLS)
def _parse_paths(cell: str | tuple[str, ...]) -> frozenset[str]:
    categories: set[str] = set()
    for part in _parts(cell):
        refuse_spreadsheet_error(part.strip())
        names = [_checked(_escaped(_label(name))) for name in _LEVEL.split(part)]
        categories.update(PATH_SEPARATOR.join(names[:depth]) for depth in range(1, len(names) + 1))
    if any(len(category) > MAX_CATEGORY_CHARS for category in categories):
        raise RejectedValueError(Reason.TOO_LONG, f"has a path of more than {MAX_CATEGORY_CHARS:,} characters")
    return frozenset(categories)


def _parse_ids(cell: str | tuple[str, ...]) -> frozenset[str]:
    return frozenset(_checked(_escaped(_id(part))) for part in _parts(cell))


def _parts(cell: str | tuple[str, ...]) -> Sequence[str]:
    """The paths or ids of a cell, with what is escaped in them."""
    if isinstance(cell, tuple):
        return [_PATH.sub(r"\\|", _decoded(part)) for part in cell]
    return _PATH.split(_decoded(cell)) if cell.strip() else ()


def _decoded(text: str) -> str:
    """The text with separators of full width as ours, and without HTML entities; only those that end as they should."""
    if "&" in text:
        text = _ENTITY.sub(lambda entity: html.unescape(entity[0]), text)
    return text if text.isascii() else text.translate(_WIDE_SEPARATORS)


def _escaped(text: str) -> str:
    """A name or path that is read again as itself: "|" is no separator, and what looks like an entity none."""
    text = _PATH.sub(r"\\|", text) if "|" in text else text
    return _ENTITY.sub(lambda entity: f"&amp;{entity[0][1:]}", text) if "&" in text else text


def _unescaped(text: str) -> str:
    return _decoded(text.replace(r"\|", "|").replace(r"\>", ">"))


def _checked(category: str) -> str:
    if not category:
        raise RejectedValueError(Reason.BAD_CATEGORY, "has an empty category; expected a name on both sides")
    if len(category) > MAX_CATEGORY_CHARS:
        raise RejectedValueError(Reason.TOO_LONG, f"has a category of more than {MAX_CATEGORY_CHARS:,} characters")
    return category


def _id(value: object) -> str:
    return _label(exact_id(value))


def _tree_id(value: object) -> str:
    # One category a cell, whatever it holds.
    return _escaped(_id(_decoded(value) if isinstance(value, str) else value))


def _label(value: object) -> str:
    if is_missing(value):
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
