"""What the importers of judged data have in common: rows of judgments and items, gathered into tables."""

from collections.abc import Iterable, Mapping

import pyarrow as pa

from keydistill.distillation.signals.importing import Asked, Tables, asked_in, inventory_table
from keydistill.distillation.signals.merging import merged
from keydistill.distillation.signals.schemas import ITEMS, JUDGMENTS
from keydistill.distillation.signals.validation import Columns
from keydistill.tables import Reason, RejectedValueError, id_cell


class JudgedData:
    """Gathers items, graded pairs and what is known of keyphrases.

    Args:
        judge: Name of the data set, as the judge of its labels.
        relevant_grade: Grade from which on the label is yes.
    """

    def __init__(self, judge: str, relevant_grade: int) -> None:
        self._judge = judge
        self._relevant_grade = relevant_grade
        self._items: list[pa.Table] = []
        self._judgments: list[pa.Table] = []
        self._asked: list[Asked] = []
        self._categories: dict[Asked, str | None] = {}

    def add_items(self, columns: Columns) -> None:
        """Items: `item_id` and `title`, optionally `category_path` and `site`."""
        rows = len(columns["item_id"])
        self._items.append(pa.table({name: columns.get(name, [None] * rows) for name in ITEMS.names}, schema=ITEMS))

    def add_judgments(self, columns: Columns) -> None:
        """Pairs: `item_id`, `keyphrase` and `grade`, optionally `site`."""
        rows = len(columns["item_id"])
        made = {
            "label": [grade >= self._relevant_grade for grade in columns["grade"]],
            "judge": [self._judge] * rows,
        }
        chosen = {name: made.get(name, columns.get(name, [None] * rows)) for name in JUDGMENTS.names}
        self._judgments.append(pa.table(chosen, schema=JUDGMENTS))

    def add_keyphrases(self, asked: Iterable[Asked], categories: Iterable[str | None]) -> None:
        """Keyphrases that belong into the inventory, also those without a pair; and their categories."""
        for one, category in zip(asked, categories, strict=True):
            self._asked.append(one)
            if category is not None:
                self._categories[one] = category

    def tables(self) -> Tables:
        """All tables, merged."""
        judgments = merged("judgments", self._judgments)
        asked = [*self._asked, *asked_in(judgments)]
        return {
            "items": merged("items", self._items),
            "judgments": judgments,
            "inventory": inventory_table(asked, self._categories),
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
