"""The shape of a filter: which fields it restricts, and how. Search settings are kept per shape.

The value of a condition is no part of it, but for the level of a category: few keyphrases are in a leaf, many in what
is above it, and an index may answer the one well and the other badly.
"""

from keydistill.tables import PATH_SEPARATOR
from keydistill.vectorstore import INDEXED_FIELDS, AnyOf, Condition, Equals, Filter

NO_FILTER = "no filter"
_PATHS = frozenset(field.name for field in INDEXED_FIELDS if field.filtered == "path")


def filter_shape(filter: Filter | None) -> str:
    """The shape of a filter, in 1 to 2 microseconds; the order of the conditions does not matter.

    A category's level is counted in its path; an id that is no path has level 1.

    >>> from keydistill.vectorstore import keyphrase_filter
    >>> filter_shape(None), filter_shape(keyphrase_filter())
    ('no filter', 'no filter')
    >>> filter_shape(keyphrase_filter(category="Audio > Headphones", site="us", min_search_volume=10))
    'category_ids level 2 + search_volume range + site'
    """
    if filter is None or not filter.must:
        return NO_FILTER
    if len(filter.must) == 1:
        return _term(filter.must[0])
    return " + ".join(sorted([_term(condition) for condition in filter.must]))


def _term(condition: Condition) -> str:
    if isinstance(condition, Equals):
        if condition.field in _PATHS:
            return f"{condition.field} level {str(condition.value).count(PATH_SEPARATOR) + 1}"
        return condition.field
    return f"{condition.field} any of" if isinstance(condition, AnyOf) else f"{condition.field} range"
