"""Numbers as they stand in files: which of them still say exactly which whole number was meant."""

import json
import re
from decimal import Decimal

from keydistill.tables.rejects import Reason, RejectedValueError

# From here on neighbouring whole numbers share a double (IEEE 754).
_EXACT_BELOW = 1 << 53
# What a spreadsheet leaves of a long number: "4.00638E+12", or "4,00638E+12". "5E3" may be the name of a product.
_SCIENTIFIC = re.compile(r"[+-]?(?:[0-9]+[.,][0-9]+[eE][+-]?[0-9]+|[0-9]+[eE]\+[0-9]+)")


# A number as most of continental Europe and Latin America write it: 1.234,5.
_COMMA_NUMBER = re.compile(r"([+-]?)([0-9]+|[0-9]{1,3}(?:\.[0-9]{3})+)(?:,([0-9]+))?((?:[eE][+-]?[0-9]+)?)")


class CommaText(str):
    """A text of a file whose numbers have a comma before the fraction, and points between thousands."""

    __slots__ = ()


def number_text(text: str) -> str:
    """A number in `text` as Python reads it, whichever way it was written.

    Raises:
        RejectedValueError: It should have a decimal comma and is no such number.

    >>> number_text(" 12.5 "), number_text(CommaText("1.234,5"))
    ('12.5', '1234.5')
    """
    stripped = text.strip()
    if not isinstance(text, CommaText):
        return stripped
    written = _COMMA_NUMBER.fullmatch(stripped)
    if written is None:
        raise RejectedValueError(
            Reason.BAD_NUMBER, "is no number with a decimal comma, which the settings expect; write 1234,5 or 1.234,5"
        )
    sign, whole, fraction, exponent = written.groups()
    return f"{sign}{whole.replace('.', '')}{f'.{fraction}' if fraction else ''}{exponent}"


# Point or comma, and what stands behind it: a fraction in one country, thousands in another.
_SEPARATED = re.compile(r"([0-9]{1,19})[.,]([0-9]{3})")


def refuse_two_readings(text: str) -> None:
    """Check that a whole number in `text` is the same one wherever it was written.

    Raises:
        RejectedValueError: A point or comma before three digits may separate thousands or a fraction.

    >>> refuse_two_readings("12.00")
    """
    separated = _SEPARATED.fullmatch(text)
    if separated is None:
        return
    whole, rest = separated.groups()
    thousands, fraction = int(whole + rest), f"{int(whole)}.{rest}".rstrip("0").rstrip(".")
    if fraction != str(thousands):
        raise RejectedValueError(
            Reason.BAD_NUMBER,
            f"may be {thousands} or {fraction}; write numbers without separators of thousands, or say that the file "
            "has decimal commas (--decimal-comma) if it has",
        )


class CutFloat(float):
    """A float whose last digits were cut before it came here: no whole number is known exactly."""

    exact_below = 0


class Float32(float):
    """A float of a single-precision column."""

    exact_below = 1 << 24


class Float16(float):
    """A float of a half-precision column."""

    exact_below = 1 << 11


def read_float(text: str) -> float:
    """The float that a JSON text writes; a `CutFloat` where it is a whole number whose last digits are not written.

    >>> read_float("0.25"), type(read_float("4.00638E+12")).__name__
    (0.25, 'CutFloat')
    """
    value = float(text)
    if value.is_integer() and ("e" in text or "E" in text or len(text) > 16):
        written = Decimal(text)
        if written != int(value) or int(written.as_tuple().exponent) > 0:
            return CutFloat(value)
    return value


parse_json = json.JSONDecoder(parse_float=read_float).decode


def exact_id(value: object) -> object:
    """`value`, and where it is a whole number its digits as text; neither leading zeros nor digits are lost.

    Raises:
        RejectedValueError: It is a number that lost digits, so that it no longer says which whole number it was.

    >>> exact_id(12.0), exact_id(Decimal("9007199254740993")), exact_id("007")
    ('12', '9007199254740993', '007')
    """
    if isinstance(value, str):
        if _SCIENTIFIC.fullmatch(value.strip()):
            raise RejectedValueError(
                Reason.BAD_NUMBER,
                "is a number in scientific notation, as a spreadsheet shortens long ids; export the column as text",
            )
    elif isinstance(value, float) and value.is_integer():
        if abs(value) >= getattr(value, "exact_below", _EXACT_BELOW):
            raise RejectedValueError(
                Reason.BAD_NUMBER,
                f"is the float {value:.17g}, which no longer says exactly which whole number it was; write ids as "
                "text or integers",
            )
        return str(int(value))
    elif (isinstance(value, int) and not isinstance(value, bool)) or (
        isinstance(value, Decimal) and value == int(value)
    ):
        return str(int(value))
    return value
