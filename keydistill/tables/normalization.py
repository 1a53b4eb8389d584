r"""One spelling for every way to type the same keyphrase.

What readers would call the same becomes the same: composed and decomposed letters (Unicode NFC), full and half width,
presentation forms and ligatures (`compatibility`), case, white space, and characters that nobody sees (`invisible`).
What they would call different stays different: "1½" is not eleven halves (as in NFKC), "10²" not "102", "nike™" not
"niketm".

- Lower case and not case folding: a keyphrase is shown to advertisers, and folding misspells it ("straße" would
  become "strasse", and a Greek final sigma an inner one).
- Control characters, undecodable bytes and U+FFFD are refused: they say that the text was damaged before it came here,
  and nobody can tell what it was.

Collections and snapshots hold texts as these rules left them, so a change of the rules is a new `RULES`.

>>> normalize_keyphrase("  Café\u00a0Latte  №1 ")
'café latte no1'
"""

import re
import unicodedata

from keydistill.tables.compatibility import COMPATIBLE
from keydistill.tables.invisible import seen
from keydistill.tables.rejects import Reason, RejectedValueError

# 1 was NFKC without all format characters.
RULES = 2

# U+001C to U+001F count as white space in Python and not in Unicode; here they are control characters.
_REFUSED = re.compile("[\x00-\x08\x0e-\x1f\x7f-\x84\x86-\x9f\ud800-\udfff\ufffd]")
# Raised or lowered digits after a letter, as in "m²" and "H₂O"; after a digit they would become part of a number.
_RAISED = re.compile(r"(?<=[^\W\d_])[⁰¹²³⁴-⁹₀-₉]+(?!\d)")
_PLAIN_DIGITS = str.maketrans("⁰¹²³⁴⁵⁶⁷⁸⁹₀₁₂₃₄₅₆₇₈₉", "0123456789" * 2)


def normalize_keyphrase(text: str) -> str:
    """The one spelling of a keyphrase; "" when nothing is left. Idempotent.

    Raises:
        RejectedValueError: It holds a control character, or bytes that are not UTF-8.
    """
    if text.isascii() and text.isprintable():
        return " ".join(text.lower().split())
    refuse_damaged(text)
    return _settled(text, lower=True)


def normalize_label(text: str) -> str:
    """The one spelling of a site, language or category; like a keyphrase, but upper and lower case stay. Idempotent.

    Raises:
        RejectedValueError: It holds a control character, or bytes that are not UTF-8.
    """
    if text.isascii() and text.isprintable():
        return " ".join(text.split())
    refuse_damaged(text)
    return _settled(text, lower=False)


def refuse_damaged(text: str) -> None:
    """Raise unless `text` can be what somebody typed.

    Raises:
        RejectedValueError: The text holds a control character, or bytes that are not UTF-8.
    """
    refused = _REFUSED.search(text)
    if refused is None:
        return
    code = ord(refused[0])
    if code == 0xFFFD:
        raise RejectedValueError(
            Reason.BAD_ENCODING, "has U+FFFD, the mark of a character that an earlier program could not decode"
        )
    if code >= 0xD800:
        raise RejectedValueError(Reason.BAD_ENCODING, "is not valid UTF-8")
    raise RejectedValueError(Reason.CONTROL_CHARACTER, f"has the control character U+{code:04X}")


def _settled(text: str, *, lower: bool) -> str:
    # One pass is not enough: lower-casing can undo NFC, and a character that goes can let its neighbours compose. The
    # passes go on until nothing changes, which makes the result idempotent by construction.
    while True:
        before = text
        text = unicodedata.normalize("NFC", unicodedata.normalize("NFD", text).translate(COMPATIBLE))
        text = _RAISED.sub(lambda digits: digits[0].translate(_PLAIN_DIGITS), text)
        if lower:
            text = text.lower()
        text = " ".join(seen(text).split())
        if text == before:
            return text
