"""The common part of the importers of judged data: rows of judgments and items, gathered into tables."""

from collections.abc import Iterable, Mapping

import pyarrow as pa

from keydistill.distillation.signals.importing import SiteKeyphrase, Tables, inventory_table, keyphrases_in
from keydistill.distillation.signals.merging import merged
from keydistill.distillation.signals.schemas import JUDGMENTS, items_schema
from keydistill.distillation.signals.validation import Columns
from keydistill.tables import Reason, RejectedValueError, id_cell


class JudgedData:
    """A collection of items, graded pairs and keyphrases, from which tables are made.

    Args:
        judge: Name of the data set, which stands as the judge of its labels.
        relevant_grade: Grade from which on the label is yes.
        fields: Free fields of the items, which follow the columns of `ITEMS`.
    """

    def __init__(self, judge: str, relevant_grade: int, fields: Iterable[str]) -> None:
        self._judge = judge
        self._relevant_grade = relevant_grade
        self._items_schema = items_schema(fields)
        self._items: list[pa.Table] = []
        self._judgments: list[pa.Table] = []
        self._keyphrases: list[SiteKeyphrase] = []
        self._categories: dict[SiteKeyphrase, str | None] = {}

    def add_items(self, columns: Columns) -> None:
        """Add items: `item_id` and `title`, optionally `category_path`, `site` and free fields."""
        rows = len(columns["item_id"])
        cells = {name: columns.get(name, [None] * rows) for name in self._items_schema.names}
        self._items.append(pa.table(cells, schema=self._items_schema))

    def add_judgments(self, columns: Columns) -> None:
        """Add judged pairs: `item_id`, `keyphrase` and `grade`, optionally `site`."""
        rows = len(columns["item_id"])
        new_columns = {
            "label": [grade >= self._relevant_grade for grade in columns["grade"]],
            "judge": [self._judge] * rows,
        }
        all_columns = {name: new_columns.get(name, columns.get(name, [None] * rows)) for name in JUDGMENTS.names}
        self._judgments.append(pa.table(all_columns, schema=JUDGMENTS))

    def add_keyphrases(self, keyphrases: Iterable[SiteKeyphrase], categories: Iterable[str | None]) -> None:
        """Add keyphrases of the inventory, also those without a pair, with their categories."""
        for keyphrase, category in zip(keyphrases, categories, strict=True):
            self._keyphrases.append(keyphrase)
            if category is not None:
                self._categories[keyphrase] = category

    def tables(self) -> Tables:
        """All tables, merged."""
        judgments = merged("judgments", self._judgments)
        keyphrases = [*self._keyphrases, *keyphrases_in(judgments)]
        return {
            "items": merged("items", self._items),
            "judgments": judgments,
            "inventory": inventory_table(keyphrases, self._categories),
        }


def query_of(queries: Mapping[str, str], value: object) -> str:
    """The keyphrase of a query id.

    Raises:
        RejectedValueError: There is no such query that could be used.
    """
    keyphrase = queries.get(id_cell(value))
    if keyphrase is None:
        raise RejectedValueError(Reason.UNKNOWN_REFERENCE, "is the id of no query that could be used")
    return keyphrase
