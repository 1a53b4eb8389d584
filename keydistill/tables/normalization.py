r"""One spelling for every way to type the same keyphrase.

A keyphrase is brought to Unicode NFKC, lower-cased, freed of format characters, and its white space is collapsed.

- Lower case and not case folding: a keyphrase is shown to advertisers, and folding misspells it ("straße" would
  become "strasse", and a Greek final sigma an inner one).
- Format characters (category Cf: zero-width space, soft hyphen, direction marks) go, because the student's tokenizer
  drops them as well: two keyphrases that differ only there look the same and have the same vector.
- Control characters, undecodable bytes and U+FFFD are refused: they say that the text was damaged before it came here,
  and nobody can tell what it was.

>>> normalize_keyphrase("  Café\u00a0Latte  №1 ")
'café latte no1'
"""

import re
import unicodedata

from keydistill.tables.rejects import Reason, RejectedValueError

# U+001C to U+001F count as white space in Python and not in Unicode; here they are control characters.
_REFUSED = re.compile("[\x00-\x08\x0e-\x1f\x7f-\x84\x86-\x9f\ud800-\udfff\ufffd]")


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
    # One pass is not enough: lower-casing can undo NFKC, and a format character that goes can let its neighbours
    # compose. The passes go on until nothing changes, which makes the result idempotent by construction.
    while True:
        before = text
        if not text.isprintable():
            text = "".join(character for character in text if unicodedata.category(character) != "Cf")
        text = unicodedata.normalize("NFKC", text)
        if lower:
            text = text.lower()
        text = " ".join(text.split())
        if text == before:
            return text
