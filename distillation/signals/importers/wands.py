"""WANDS, Wayfair's annotated data set (https://github.com/wayfair/WANDS): 233,448 judged pairs of 480 queries."""

from collections import Counter
from collections.abc import Mapping
from pathlib import Path

from keydistill.distillation.signals.import_reader import ImportReader, Parse
from keydistill.distillation.signals.importers.judged import JudgedData, query_of
from keydistill.distillation.signals.importing import ImportSummary, ImportTarget, Tables, checked_site, run_import
from keydistill.distillation.signals.schemas import EXACT
from keydistill.distillation.signals.validation import category_cell
from keydistill.errors import InputError
from keydistill.tables import (
    Reason,
    RejectedValueError,
    id_cell,
    is_missing,
    keyphrase_cell,
    label_cell,
    path_of,
    text_cell,
)

FILES = ("query.csv", "product.csv", "label.csv")
# A partial match fits a part of what was asked for, as a substitute does in ESCI.
GRADES: Mapping[str, int] = {"exact": 3, "partial": 2, "irrelevant": 0}


def import_wands(
    folder: Path, target: ImportTarget, *, relevant_grade: int = EXACT, site: str | None = None
) -> ImportSummary:
    """Import a folder with `query.csv`, `product.csv` and `label.csv`, which are separated by tabs.

    Args:
        folder: Folder of these files.
        target: Target of the import: where the signals folder goes.
        relevant_grade: Grade from which on the label is yes: Exact is 3, Partial 2, Irrelevant 0.
        site: Site of all pairs and items.

    Raises:
        InputError: A file is missing or damaged, or `target.out` holds something.
        TooManyRejectsError: Too many rows were rejected.
    """
    for name in FILES:
        if not (folder / name).is_file():
            raise InputError(f"{folder} has no {name}; expected the folder with {', '.join(FILES)}")
    site = checked_site(site)

    def build(reader: ImportReader) -> Tables:
        data = JudgedData("wands", relevant_grade, reader.fields)
        paths: dict[str, Counter[str]] = {}
        for rows in reader.item_rows(folder / "product.csv", _PRODUCT, aliases=_ALIASES, kind="tsv"):
            data.add_items({**rows, "site": [site] * len(rows["item_id"])})
            for name, path in zip(rows["class"], rows["category_path"], strict=True):
                if name is not None and path is not None:
                    paths.setdefault(name, Counter())[path] += 1
        queries: dict[str, str] = {}
        query_parsers: dict[str, Parse] = {
            "query_id": id_cell,
            "query": lambda value: keyphrase_cell(value, reader.max_keyphrase_chars),
            "query_class": label_cell,
        }
        for rows in reader.rows(folder / "query.csv", query_parsers, kind="tsv"):
            queries.update(zip(rows["query_id"], rows["query"], strict=True))
            # A class is a name without its ancestors; the category is where most products of that class are.
            categories = [paths[name].most_common(1)[0][0] if name in paths else None for name in rows["query_class"]]
            data.add_keyphrases([(site, keyphrase) for keyphrase in rows["query"]], categories)
        label_parsers: dict[str, Parse] = {
            "query_id": lambda value: query_of(queries, value),
            "product_id": id_cell,
            "label": _grade,
        }
        for rows in reader.rows(folder / "label.csv", label_parsers, kind="tsv"):
            pairs = {"item_id": rows["product_id"], "keyphrase": rows["query_id"], "grade": rows["label"]}
            data.add_judgments({**pairs, "site": [site] * len(rows["label"])})
        return data.tables()

    return run_import("wands", target, {"relevant_grade": relevant_grade, "site": site}, build)


def _grade(value: object) -> int:
    grade = GRADES.get(value.strip().lower()) if isinstance(value, str) else None
    if grade is None:
        raise RejectedValueError(Reason.BAD_LABEL, "is no label; expected Exact, Partial or Irrelevant")
    return grade


def _category(value: object) -> str | None:
    """Turn "A / B / C" into "A > B > C"."""
    if is_missing(value) or not isinstance(value, str):
        return None
    names = [name.strip() for name in value.split(" / ")]
    return category_cell(path_of([name for name in names if name]))


_PRODUCT = {"item_id": id_cell, "title": text_cell, "class": label_cell, "category_path": _category}
_ALIASES = {
    "item_id": ("product_id",),
    "title": ("product_name",),
    "class": ("product_class", "product class"),
    "category_path": ("category hierarchy", "category_hierarchy"),
}
