"""How tables are written: what stands for nothing, how numbers look, what spreadsheets would take for formulas."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol, Self

from keydistill.tables.numbers import CommaText

# Signs and marks that no shop, seller or buyer means. Kibana, Google Analytics, Splunk and pivot tables write those in
# brackets, MySQL and PostgreSQL "\N", spreadsheets "#N/A" ("#NV" in German).
_MARKS = (
    "-",
    "--",
    "---",
    "\u2013",
    "—",
    r"\N",
    "N/A",
    "n/a",
    "#N/A",
    "#NA",
    "#NV",
    "<NA>",
    "<null>",
    "<nil>",
    "[null]",
)
_BRACKETED = ("(null)", "(none)", "(empty)", "(blank)", "(missing)", "(not set)", "(not provided)")
# Words as programs spell them. "none" and "na" are what buyers type, and stay.
_WORDS = ("null", "NULL", "Null", "None", "NONE", "nan", "NaN", "NAN", "NaT", "undefined", "NA")
MISSING_VALUES = (*_MARKS, *_BRACKETED, *_WORDS)
# Words that are names in these columns: "NA" is North America.
_NAMES_IN: Mapping[str, frozenset[str]] = {"site": frozenset({"NA"}), "language": frozenset({"NA"})}

# With these a spreadsheet takes a cell for a formula (https://owasp.org/www-community/attacks/CSV_Injection).
FORMULA_STARTS = ("=", "+", "-", "@", "\t", "\r", "\uff1d", "\uff0b", "\uff0d", "\uff20")
_PLAIN_TYPES = {str, int, float, bool, type(None)}
_SEPARATED_NUMBER = re.compile("[0-9][.,][0-9]")


class TableSettings(Protocol):
    """The settings that decide how tables are read and written; `Settings` has them."""

    @property
    def decimal_comma(self) -> bool:
        """Whether numbers in text are written as 1.234,5."""

    @property
    def missing_values(self) -> Sequence[str] | None:
        """Texts that stand for nothing; None for `MISSING_VALUES`."""

    @property
    def escape_formulas(self) -> bool:
        """Whether CSV that we write gets an apostrophe before what a spreadsheet would take for a formula."""


@dataclass(frozen=True, slots=True)
class Nothing:
    """A cell with a text that stands for nothing, such as "-"; `is_missing` is true of it."""

    text: str

    def __str__(self) -> str:
        return self.text


@dataclass(frozen=True)
class Conventions:
    """How the cells of tables are to be read and written.

    Attributes:
        decimal_comma: Whether numbers in text have a comma before their fraction and points between thousands.
        missing_values: Texts that stand for nothing; None stands for `MISSING_VALUES`, of which "NA" is a name in sites
            and languages.
        escape_formulas: Whether CSV that we write gets an apostrophe before texts that look like formulas.
    """

    decimal_comma: bool = False
    missing_values: tuple[str, ...] | None = None
    escape_formulas: bool = False
    _of_column: dict[str, Mapping[str, Nothing]] = field(default_factory=dict, repr=False, compare=False)

    @classmethod
    def of(cls, settings: TableSettings) -> Self:
        """The conventions that the settings name."""
        values = settings.missing_values
        return cls(settings.decimal_comma, None if values is None else tuple(values), settings.escape_formulas)

    def as_dict(self) -> dict[str, object]:
        """The conventions, fit for JSON: two that read and write alike have the same."""
        return {
            "decimal_comma": self.decimal_comma,
            "missing_values": self.missing_values,
            "escape_formulas": self.escape_formulas,
        }

    def column(self, name: str, cells: Sequence[object]) -> Sequence[object]:
        """The cells of a column that is known, each as what it means; objects and lists in it, too."""
        nothing = self._nothing_in(name)
        if not (self.decimal_comma or self.escape_formulas) and _are_plain(cells, nothing):
            return cells
        return [self._meant(cell, nothing) for cell in cells]

    def free_fields(self, rows: Sequence[Mapping[str, object]]) -> Sequence[Mapping[str, object]]:
        """The other columns of a text file's rows: a mark is nothing there, and a word such as "NA" may be a brand."""
        nothing = {text: word for text, word in self._nothing_in("").items() if not text.isalpha()}
        if all(_are_plain([row[name] for row in rows], nothing) for name in rows[0]):
            return rows
        return [{name: None if str(cell).strip() in nothing else cell for name, cell in row.items()} for row in rows]

    def _meant(self, cell: object, nothing: Mapping[str, Nothing]) -> object:
        if type(cell) is str:
            if (missing := nothing.get(cell.strip())) is not None:
                return missing
            if self.escape_formulas and cell[:1] == "'" and cell[1:].startswith(FORMULA_STARTS):
                # As we write them.
                cell = cell[1:]
            return CommaText(cell) if self.decimal_comma and _SEPARATED_NUMBER.search(cell) else cell
        if isinstance(cell, dict):
            return {name: self._meant(value, nothing) for name, value in cell.items()}
        if isinstance(cell, list):
            return [self._meant(value, nothing) for value in cell]
        return cell

    def _nothing_in(self, column: str) -> Mapping[str, Nothing]:
        if column not in self._of_column:
            if self.missing_values is None:
                texts = [text for text in MISSING_VALUES if text not in _NAMES_IN.get(column, ())]
            else:
                texts = [text for text in self.missing_values if text]
            self._of_column[column] = {text: Nothing(text) for text in texts}
        return self._of_column[column]


def _are_plain(cells: Sequence[object], nothing: Mapping[str, Nothing]) -> bool:
    """Whether no cell stands for nothing, nor holds others; most columns are so, and this is all that they cost."""
    types = set(map(type, cells))
    if types == {str}:
        return nothing.keys().isdisjoint(map(str.strip, cells))  # type: ignore[arg-type]
    if not types <= _PLAIN_TYPES:
        return False
    return str not in types or nothing.keys().isdisjoint(cell.strip() for cell in cells if isinstance(cell, str))


USUAL = Conventions()
