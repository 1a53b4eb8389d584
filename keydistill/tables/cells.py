"""What one cell may hold: text, ids, labels, numbers, yes and no. None stands for a cell that is empty and may be."""

import math
import re
from collections.abc import Mapping
from decimal import Decimal
from functools import lru_cache

from keydistill.tables.conventions import Nothing
from keydistill.tables.normalization import normalize_keyphrase, normalize_label
from keydistill.tables.numbers import CommaText, CutFloat, Float16, Float32, exact_id, number_text, refuse_two_readings
from keydistill.tables.rejects import Reason, RejectedValueError

MAX_LABEL_CHARS = 200
_MAX_INT64 = (1 << 63) - 1

_WHOLE_NUMBER = re.compile(r"([0-9]{1,19})(?:\.0*)?")
# English, German, French, Spanish, Portuguese, Italian, Polish and Dutch; a column that is too narrow; LibreOffice.
_SPREADSHEET_ERROR = re.compile(
    r"#(?:NAME\?|REF!|VALUE!|DIV/0!?|NUM!|NULL!|ERROR!|N/A|SPILL!|CALC!|FIELD!|BLOCKED!|CONNECT!|BUSY!|UNKNOWN!"
    r"|GETTING_DATA|BEZUG!|WERT!|ZAHL!|NV|NOM\?|VALEUR!|NOMBRE!|NOMBRE\?|¡?VALOR!|¡?REF!|¡?NUM!|¡?DIV/0!|¡?NULO!|NOME\?"
    r"|RIF!|VALORE!|NAZWA\?|ARG!|ADR!|LICZBA!|NAAM\?|WAARDE!|VERW!|GETAL!|#{2,})|ERR:5[0-9]{2}"
)
_SPELLINGS: Mapping[str, bool] = {
    **dict.fromkeys(("true", "t", "yes", "y", "1", "1.0"), True),
    **dict.fromkeys(("false", "f", "no", "n", "0", "0.0"), False),
}
_TYPE_NAMES = {
    bool: "true or false",
    **dict.fromkeys((int, float, CutFloat, Float16, Float32, Decimal), "a number"),
    dict: "an object",
    list: "a list",
}


def keyphrase_cell(value: object, max_chars: int) -> str:
    """A normalised keyphrase.

    Raises:
        RejectedValueError: It is empty, no text, damaged, or longer than `max_chars`.
    """
    if not isinstance(value, str) and not is_missing(value):
        raise RejectedValueError(Reason.NOT_TEXT, f"is {type_name(value)}; expected text")
    keyphrase = normalize_keyphrase(value) if isinstance(value, str) else ""
    if not keyphrase:
        raise RejectedValueError(Reason.EMPTY, "stands for nothing" if isinstance(value, Nothing) else "is empty")
    refuse_spreadsheet_error(keyphrase)
    if len(keyphrase) > max_chars:
        raise RejectedValueError(
            Reason.TOO_LONG, f"has {len(keyphrase):,} characters; at most {max_chars:,} are allowed"
        )
    return keyphrase


def label_cell(value: object) -> str | None:
    """A site, language or other short name.

    Raises:
        RejectedValueError: It is neither text nor a whole number, damaged, or too long.
    """
    if is_missing(value):
        return None
    # Sites are often numbers, and pandas turns whole numbers into floats as soon as one is missing.
    if not isinstance(value, str):
        value = exact_id(value)
    if isinstance(value, str):
        return _text_label(value)
    raise RejectedValueError(Reason.NOT_TEXT, f"is {type_name(value)}; expected text or a whole number")


@lru_cache(4_096)
def _text_label(value: str) -> str | None:
    exact_id(value)
    label = normalize_label(value)
    refuse_spreadsheet_error(label)
    if len(label) > MAX_LABEL_CHARS:
        raise RejectedValueError(
            Reason.TOO_LONG, f"has {len(label):,} characters; at most {MAX_LABEL_CHARS} are allowed"
        )
    return label or None


def text_cell(value: object) -> str:
    """A text that must be there, such as a title; white space is collapsed, everything else stays.

    Raises:
        RejectedValueError: It is empty, neither text nor a whole number, or not UTF-8.
    """
    if isinstance(value, int | Decimal):
        value = exact_id(value)
    if is_missing(value) or value == "":
        what = "stands for nothing" if isinstance(value, Nothing) else "is empty"
        raise RejectedValueError(Reason.EMPTY, f"{what}; expected text")
    if not isinstance(value, str):
        raise RejectedValueError(Reason.NOT_TEXT, f"is {type_name(value)}; expected text or a whole number")
    if not value.isprintable() and any("\ud800" <= character <= "\udfff" for character in value):
        raise RejectedValueError(Reason.BAD_ENCODING, "is not valid UTF-8")
    text = " ".join(value.split())
    if not text:
        raise RejectedValueError(Reason.EMPTY, "is only white space; expected text")
    refuse_spreadsheet_error(text)
    return text


def id_cell(value: object) -> str:
    """The id of an item or query; a whole number that became a float on its way is a whole number.

    Raises:
        RejectedValueError: It is empty, neither text nor a whole number, or not UTF-8; or it is a number that lost
            digits, so that nobody knows which id it was.

    >>> id_cell(12.0), id_cell(" B07 ")
    ('12', 'B07')
    """
    return text_cell(exact_id(value))


def count_cell(value: object, minimum: int = 0) -> int | None:
    """A whole number from `minimum` up; text may have a fraction of zeros, but for three of them: thousands look so.

    Raises:
        RejectedValueError: It is something else.

    >>> count_cell(" 12 "), count_cell("12.00"), count_cell(3.0), count_cell("")
    (12, 12, 3, None)
    """
    number: int | None = None
    if isinstance(value, str):
        text = number_text(value) if value.strip() else ""
        if not text:
            return None
        if not isinstance(value, CommaText):
            refuse_two_readings(text)
        matched = _WHOLE_NUMBER.fullmatch(text)
        number = int(matched[1]) if matched else None
    elif is_missing(value):
        return None
    elif isinstance(value, int) and not isinstance(value, bool):
        number = value
    elif (isinstance(value, float) and value.is_integer()) or (isinstance(value, Decimal) and value == int(value)):
        number = int(value)
    if number is None or not minimum <= number <= _MAX_INT64:
        raise RejectedValueError(
            Reason.BAD_NUMBER, f"is no whole number from {minimum} up; write 1200, without separators or signs"
        )
    return number


def field_cell(value: object) -> str | None:
    """The text of a free field of an item, on one line; values of a list, and what an object names, follow each other.

    >>> field_cell(" deep  blue "), field_cell(["red", "blue"]), field_cell(" "), field_cell(42)
    ('deep blue', 'red blue', None, '42')
    >>> field_cell({"color": "blue", "sizes": ["M", "L"], "fit": None})
    'color blue sizes M L'
    """
    return " ".join(_field_texts(value)) or None


def _field_texts(value: object) -> list[str]:
    if isinstance(value, Mapping):
        named = ((str(name).split(), _field_texts(each)) for name, each in value.items())
        # A name without a value says nothing.
        return [text for name, texts in named if texts for text in (*name, *texts)]
    if isinstance(value, list | tuple):
        return [text for each in value for text in _field_texts(each)]
    return [] if is_missing(value) else str(value).split()


def number_cell(value: object, low: float = -math.inf, high: float = math.inf) -> float | None:
    """A finite number from `low` to `high`.

    Raises:
        RejectedValueError: It is something else.

    >>> number_cell("0.25"), number_cell(None)
    (0.25, None)
    """
    if is_missing(value) or (isinstance(value, str) and not value.strip()):
        return None
    if isinstance(value, str):
        value = number_text(value)
    number = math.nan
    # float() also takes "1_000" and digits of other scripts, which nobody means.
    if (isinstance(value, str) and value.isascii() and "_" not in value) or isinstance(value, (int, float, Decimal)):
        try:
            number = math.nan if isinstance(value, bool) else float(value)
        except (ValueError, OverflowError):
            number = math.nan
    if not (math.isfinite(number) and low <= number <= high):
        limits = "" if low == -math.inf else f" from {low:g} to {high:g}" if high < math.inf else f" from {low:g} up"
        raise RejectedValueError(Reason.BAD_NUMBER, f"is no number{limits}; write 0.5, with a point")
    return number


def yes_no_cell(value: object) -> bool | None:
    """Yes or no, in one of the usual spellings.

    Raises:
        RejectedValueError: It is something else.

    >>> yes_no_cell("Yes"), yes_no_cell(0), yes_no_cell(" ")
    (True, False, None)
    """
    if isinstance(value, bool):
        return value
    if is_missing(value) or (isinstance(value, str) and not value.strip()):
        return None
    if isinstance(value, Decimal):
        value = float(value)
    answer = _SPELLINGS.get(str(value).strip().lower()) if isinstance(value, (str, int, float)) else None
    if answer is None:
        raise RejectedValueError(Reason.BAD_LABEL, "is neither yes nor no; write true or false, yes or no, 1 or 0")
    return answer


def is_missing(value: object) -> bool:
    """Whether a cell holds nothing: None, the NaN that pandas puts there, or a text that stands for nothing."""
    return value is None or isinstance(value, Nothing) or (isinstance(value, float) and math.isnan(value))


def refuse_spreadsheet_error(text: str) -> None:
    """Check that a text is not what a spreadsheet shows where a formula failed.

    Raises:
        RejectedValueError: It is, such as "#NAME?".
    """
    if text[:1] in ("#", "E", "e") and _SPREADSHEET_ERROR.fullmatch(text.upper()):
        raise RejectedValueError(
            Reason.SPREADSHEET_ERROR, "is what a spreadsheet shows where a formula failed; correct the formula"
        )


def type_name(value: object) -> str:
    """The kind of a value, as a person says it."""
    return _TYPE_NAMES.get(type(value), type(value).__name__)
