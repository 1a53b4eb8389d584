"""What the writer of a file wrote for nothing, and how numbers: what cells are read as, whatever the format."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Protocol, Self

from keydistill.tables.numbers import CommaText

# Signs and marks that no shop, seller or buyer means. Kibana, Google Analytics, Splunk and pivot tables write the ones in
# brackets, MySQL and PostgreSQL "\N", spreadsheets "#N/A" ("#NV" in German).
_MARKS = ("-", "--", "---", "–", "—", r"\N", "N/A", "n/a", "#N/A", "#NA", "#NV", "<NA>", "<null>", "<nil>", "[null]")
_BRACKETED = ("(null)", "(none)", "(empty)", "(blank)", "(missing)", "(not set)", "(not provided)")
# Words as programs spell them. "none" and "na" are what buyers type, and stay.
_WORDS = ("null", "NULL", "Null", "None", "NONE", "nan", "NaN", "NAN", "NaT", "undefined", "NA")
MISSING_VALUES = (*_MARKS, *_BRACKETED, *_WORDS)
# Words that are names in these columns: "NA" is North America.
_NAMES_IN: Mapping[str, frozenset[str]] = {"site": frozenset({"NA"}), "language": frozenset({"NA"})}

_SEPARATED_NUMBER = re.compile("[0-9][.,][0-9]")


class ReadingSettings(Protocol):
    """The settings that decide what cells are read as; `Settings` has them."""

    @property
    def decimal_comma(self) -> bool:
        """Whether numbers in text are written as 1.234,5."""

    @property
    def missing_values(self) -> Sequence[str] | None:
        """Texts that stand for nothing; None for `MISSING_VALUES`."""


@dataclass(frozen=True, slots=True)
class Nothing:
    """A cell with a text that stands for nothing, such as "-"; `is_missing` is true of it."""

    text: str

    def __str__(self) -> str:
        return self.text


@dataclass(frozen=True)
class Conventions:
    """How the cells of a table are to be read.

    Attributes:
        decimal_comma: Whether numbers in text have a comma before their fraction and points between thousands.
        missing_values: Texts that stand for nothing; None stands for `MISSING_VALUES`, of which "NA" is a name in sites
            and languages.
    """

    decimal_comma: bool = False
    missing_values: tuple[str, ...] | None = None
    _of_column: dict[str, Mapping[str, Nothing]] = field(default_factory=dict, repr=False, compare=False)

    @classmethod
    def of(cls, settings: ReadingSettings) -> Self:
        """The conventions that the settings name."""
        values = settings.missing_values
        return cls(settings.decimal_comma, None if values is None else tuple(values))

    def column(self, name: str, cells: Sequence[object]) -> Sequence[object]:
        """The cells of a column that is known, each as what it means; objects and lists in it, too."""
        nothing = self._nothing_in(name)
        if not self.decimal_comma and not any(type(cell) in (dict, list) for cell in cells):
            # Most columns hold nothing of the kind: this is all that they cost.
            if not any(type(cell) is str and len(cell) <= self._longest and cell.strip() in nothing for cell in cells):
                return cells
        return [self._meant(cell, nothing) for cell in cells]

    def free_field(self, cell: object) -> object:
        """A cell of a text file's other columns: a mark is nothing, and a word such as "NA" may be a brand."""
        if isinstance(cell, str) and len(cell) <= self._longest:
            text = cell.strip()
            if text in self._nothing_in("") and not text.isalpha():
                return None
        return cell

    def _meant(self, cell: object, nothing: Mapping[str, Nothing]) -> object:
        if type(cell) is str:
            if len(cell) <= self._longest and (missing := nothing.get(cell.strip())) is not None:
                return missing
            return CommaText(cell) if self.decimal_comma and _SEPARATED_NUMBER.search(cell) else cell
        if isinstance(cell, dict):
            return {name: self._meant(value, nothing) for name, value in cell.items()}
        if isinstance(cell, list):
            return [self._meant(value, nothing) for value in cell]
        return cell

    @cached_property
    def _longest(self) -> int:
        # White space around it counts as well; a cell that is longer than this is not looked at.
        return max(map(len, self.missing_values or MISSING_VALUES), default=0) + 8

    def _nothing_in(self, column: str) -> Mapping[str, Nothing]:
        if column not in self._of_column:
            if self.missing_values is None:
                texts = [text for text in MISSING_VALUES if text not in _NAMES_IN.get(column, ())]
            else:
                texts = [text for text in self.missing_values if text]
            self._of_column[column] = {text: Nothing(text) for text in texts}
        return self._of_column[column]


USUAL = Conventions()
