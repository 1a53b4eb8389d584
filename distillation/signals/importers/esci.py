"""ESCI, Amazon's shopping queries (https://github.com/amazon-science/esci-data), in Parquet.

Files are told apart by their columns, so that both layouts are read: the original one with its examples and products,
and one with judgments, items, queries and keyphrases.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

import pyarrow as pa
import pyarrow.parquet as pq

from keydistill.distillation.signals.import_reader import ImportReader, Parse
from keydistill.distillation.signals.importers.judged import JudgedData
from keydistill.distillation.signals.importing import ImportSummary, ImportTarget, Tables, run_import
from keydistill.distillation.signals.schemas import EXACT
from keydistill.distillation.signals.validation import Columns, category_cell, grade_cell
from keydistill.errors import InputError
from keydistill.tables import Reason, RejectedValueError, field_cell, id_cell, keyphrase_cell, label_cell, text_cell

Role = Literal["titled pairs", "pairs", "items", "keyphrases"]

# Role, and the columns of which a file of that role has one set. The first that fits counts.
_ROLES: Sequence[tuple[Role, Sequence[frozenset[str]]]] = (
    ("titled pairs", (frozenset({"query", "item_id", "label", "title"}),)),
    ("pairs", (frozenset({"query", "item_id", "label"}), frozenset({"query", "product_id", "esci_label"}))),
    ("items", (frozenset({"item_id", "title"}), frozenset({"product_id", "product_title"}))),
    ("keyphrases", (frozenset({"keyphrase"}), frozenset({"query"}))),
)
_ALIASES: Mapping[str, Sequence[str]] = {
    "item_id": ("item_id", "product_id"),
    "keyphrase": ("query", "keyphrase"),
    "site": ("product_locale", "site"),
    "grade": ("esci_label", "label"),
    "title": ("title", "product_title"),
    "brand": ("brand", "product_brand"),
    "color": ("color", "product_color"),
}
# Free fields that every import keeps: they are short, and shoppers ask for them.
_FIELDS = ("brand", "color")
# Split of the rows that name none: they are there to be learnt from.
_DEFAULT_SPLIT = "train"


def import_esci(
    sources: Sequence[Path],
    target: ImportTarget,
    *,
    split: str | None = None,
    locale: str | None = None,
    relevant_grade: int = EXACT,
) -> ImportSummary:
    """Import ESCI's Parquet files.

    Args:
        sources: Files, or folders of which the Parquet files are taken that are ESCI's.
        target: Target of the import: where the signals folder goes.
        split: Split whose pairs are imported, such as "train"; pairs of a file without splits belong to "train".
        locale: Locale whose pairs and products are imported, such as "us"; None imports all. It becomes the site.
        relevant_grade: Grade from which on the label is yes: E is 3, S 2, C 1, I 0.

    Raises:
        InputError: A file is none of ESCI's or damaged, there are no pairs, or `target.out` holds something.
        TooManyRejectsError: Too many rows were rejected.
    """
    files = _files(sources)
    if not any("pairs" in role for role in files.values()):
        names = ", ".join(str(source) for source in sources)
        raise InputError(f"{names}: no judged pairs; expected Parquet with query, product_id and esci_label")

    def build(reader: ImportReader) -> Tables:
        fields = {**dict.fromkeys(_FIELDS, field_cell), **reader.fields}
        data = JudgedData("esci", relevant_grade, fields)
        parsers: dict[str, Parse] = {
            "item_id": id_cell,
            "keyphrase": lambda value: keyphrase_cell(value, reader.max_keyphrase_chars),
            "site": label_cell,
            "grade": _grade,
            "title": text_cell,
            "category_path": _category,
            "split": label_cell,
        }
        reader.check_fields(parsers)
        parsers |= fields
        columns_of_role: Mapping[Role, Sequence[str]] = {
            "titled pairs": ("item_id", "keyphrase", "site", "grade", "title", "category_path", "split", *fields),
            "pairs": ("item_id", "keyphrase", "site", "grade", "split"),
            "items": ("item_id", "title", "category_path", "site", *fields),
            "keyphrases": ("keyphrase", "category_path", "site"),
        }
        for path, role in files.items():
            parsers_of_role = {name: parsers[name] for name in columns_of_role[role]}
            for rows in reader.rows(path, parsers_of_role, aliases=_ALIASES, kind="parquet"):
                _add(data, role, _of_locale(reader, _of_split(reader, rows, split), locale))
        return data.tables()

    options: dict[str, Any] = {"split": split, "locale": locale, "relevant_grade": relevant_grade}
    return run_import("esci", target, options, build)


def _files(sources: Sequence[Path]) -> dict[Path, Role]:
    """Every file with its role; those of items last, because the last row of an item counts."""
    roles: dict[Path, Role] = {}
    for source in sources:
        if not source.is_dir():
            role = _role(source)
            if role is None:
                raise InputError(f"{source} has none of ESCI's columns (query, product_id, esci_label, ...)")
            roles[source] = role
            continue
        for path in sorted(source.glob("*.parquet")):
            role = _role(path)
            if role is not None:
                roles[path] = role
    return dict(sorted(roles.items(), key=lambda path_and_role: path_and_role[1] == "items"))


def _role(path: Path) -> Role | None:
    try:
        names = set(pq.read_schema(path).names)
    except FileNotFoundError:
        raise InputError(f"{path} does not exist; check the name") from None
    except (OSError, pa.ArrowException) as error:
        raise InputError(f"{path} is no readable Parquet file ({' '.join(str(error).split())[:100]})") from None
    for role, sets in _ROLES:
        if any(needed <= names for needed in sets):
            return role
    return None


def _add(data: JudgedData, role: Role, rows: Columns) -> None:
    if role == "keyphrases":
        data.add_keyphrases(zip(rows["site"], rows["keyphrase"], strict=True), rows["category_path"])
        return
    if role != "pairs":
        data.add_items(rows)
    if role != "items":
        data.add_judgments(rows)


def _of_split(reader: ImportReader, rows: Columns, split: str | None) -> Columns:
    if split is None or "split" not in rows:
        return rows
    return _chosen(reader, rows, [(row_split or _DEFAULT_SPLIT) == split for row_split in rows["split"]], "other split")


def _of_locale(reader: ImportReader, rows: Columns, locale: str | None) -> Columns:
    if locale is None:
        return rows
    return _chosen(reader, rows, [site is None or site == locale for site in rows["site"]], "other locale")


def _chosen(reader: ImportReader, rows: Columns, is_chosen: Sequence[bool], description: str) -> Columns:
    reader.ignore(description, len(is_chosen) - sum(is_chosen))
    return {
        name: [value for value, keep in zip(values, is_chosen, strict=True) if keep] for name, values in rows.items()
    }


def _category(value: object) -> str | None:
    """One path a cell; "|" is a character of its names."""
    return category_cell([value] if isinstance(value, str) and value.strip() else value)


def _grade(value: object) -> int:
    grade = grade_cell(value)
    if grade is None:
        raise RejectedValueError(Reason.EMPTY, "is empty; expected E, S, C or I")
    return grade
