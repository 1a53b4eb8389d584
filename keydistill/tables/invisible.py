"""Characters that nobody sees: most of them go, and some shape what stands beside them and stay.

Format characters (category Cf: zero-width space, soft hyphen, direction marks) go, because the student's tokenizer
drops them as well: two keyphrases that differ only there look the same and have the same vector. Joiners stay where
they are seen: between letters of scripts that join, and between emoji. The model is UAX 31
(https://www.unicode.org/reports/tr31/#Layout_and_Format_Control_Characters).
"""

import re
import unicodedata

_NON_JOINER, _JOINER = "\u200c", "\u200d"
# Scripts whose letters take another shape beside their neighbours, from Arabic to Mongolian, with their extensions.
_JOINING = (
    "\u0600-\u06ff\u0700-\u08ff\u0900-\u0dff\u0e00-\u0eff\u0f00-\u109f\u1700-\u17ff\u1800-\u18af\u1900-\u1cff"
    "\ua800-\uabff\U00010a00-\U00011fff\U0001e900-\U0001e95f"
)
_joining = re.compile(f"[{_JOINING}]")
# Arabic letters that never join to the next one: a non-joiner after them changes nothing.
_RIGHT_JOINING = frozenset("اآأإٱدذرزژوؤةۀۃڈډڌڍڎڏڐڑڒړڔڕږڗڙۄۅۆۇۈۉۊۋۏ")
# Format characters that are drawn: Arabic and other number signs, and what chooses the shape of a Mongolian letter.
_DRAWN = frozenset("\u0600\u0601\u0602\u0603\u0604\u0605\u06dd\u070f\u0890\u0891\u08e2\U000110bd\U000110cd\u180e")
# The flags of England, Scotland and others: a black flag, letters and digits that are not drawn, and their end.
_FLAG = re.compile("(\U0001f3f4[\U000e0030-\U000e0039\U000e0061-\U000e007a]{3,}\U000e007f)")
_TEXT_OR_EMOJI = frozenset("\ufe0e\ufe0f")
_KEYCAP = "\u20e3"

# One letter as keyboards of today write it, for what older ones wrote as several.
_ONE_LETTER = {
    "\u0e4d\u0e32": "\u0e33",
    "\u0ecd\u0eb2": "\u0eb3",
    "\u09a4\u09cd\u200d": "\u09ce",
    "\u0d23\u0d4d\u200d": "\u0d7a",
    "\u0d28\u0d4d\u200d": "\u0d7b",
    "\u0d30\u0d4d\u200d": "\u0d7c",
    "\u0d32\u0d4d\u200d": "\u0d7d",
    "\u0d33\u0d4d\u200d": "\u0d7e",
    "\u0d15\u0d4d\u200d": "\u0d7f",
}
_SEVERAL = re.compile("|".join(_ONE_LETTER))
# Thai and Lao: the tone mark between the two halves of AM.
_PARTED_AM = re.compile("([\u0e4d\u0ecd])([\u0e48-\u0e4b\u0ec8-\u0ecb])([\u0e32\u0eb2])")


def seen(text: str) -> str:
    """The text without the characters that change nothing of what a reader sees.

    >>> seen("sho\u200bes\u00ad") == "shoes", seen("\u0645\u06cc\u200c\u062e\u0648\u0627\u0647\u0645").count("\u200c")
    (True, 1)
    """
    if text.isascii():
        return text
    text = _SEVERAL.sub(lambda letters: _ONE_LETTER[letters[0]], _PARTED_AM.sub(r"\2\1\3", text))
    if text.isprintable() and not _TEXT_OR_EMOJI & set(text):
        return text
    # Flags stand at the odd places.
    pieces = _FLAG.split(text)
    return "".join(piece if place % 2 else _without_unseen(piece) for place, piece in enumerate(pieces))


def _without_unseen(text: str) -> str:
    # First what never stays, so that joiners meet their true neighbours.
    kept = [character for character in text if not _never_seen(character)]
    return "".join(character for place, character in enumerate(kept) if _is_seen(kept, place))


def _never_seen(character: str) -> bool:
    if character in _DRAWN or character in (_JOINER, _NON_JOINER):
        return False
    return unicodedata.category(character) == "Cf"


def _is_seen(text: list[str], place: int) -> bool:
    character = text[place]
    before = text[place - 1] if place else ""
    after = text[place + 1] if place + 1 < len(text) else ""
    if character in _TEXT_OR_EMOJI:
        # As a part of a sequence it is how the sequence is written; alone it only chooses colour.
        return after in (_JOINER, _KEYCAP)
    if character == _JOINER:
        shapes = bool(_joining.match(before)) and (not after or after.isspace() or bool(_joining.match(after)))
        return shapes or (_is_pictured(before) and _is_pictured(after))
    if character == _NON_JOINER:
        return bool(_joining.match(before)) and before not in _RIGHT_JOINING and bool(_joining.match(after))
    return True


def _is_pictured(character: str) -> bool:
    """Whether a character is a picture, or what colours one."""
    return bool(character) and (unicodedata.category(character) in ("So", "Sk") or character in _TEXT_OR_EMOJI)
