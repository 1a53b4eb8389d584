"""Characters that are another way to write others, and that readers would call the same.

Unicode's compatibility mappings (https://www.unicode.org/reports/tr44/#Formatting_Tags_Table) also hold characters that
mean something else than what they are mapped to: fractions, raised and circled digits. Those stay as they are.
"""

import unicodedata

_SHAPES = ("isolated", "initial", "medial", "final", "vertical")
_MERGED_TAGS = frozenset((*_SHAPES, "wide", "narrow", "small", "font", "noBreak", "square", "compat"))
# Hangul letters that are written alone, as in "ㅋㅋ", would become parts of syllables; so would Thai and Lao AM, which
# keyboards type as one letter.
_KEPT = frozenset((*range(0x3131, 0x318F), 0x0E33, 0x0EB3))


class _Compatible(dict[int, str]):
    """A table for `str.translate` that learns a character when it first meets it."""

    def __missing__(self, code: int) -> str:
        character = chr(code)
        self[code] = _merged(character)
        return self[code]


def _merged(character: str) -> str:
    tag, _, mapping = unicodedata.decomposition(character).partition("> ")
    if not mapping or tag[1:] not in _MERGED_TAGS or ord(character) in _KEPT:
        return character
    replacement = "".join(map(COMPATIBLE.__getitem__, (int(code, 16) for code in mapping.split())))
    if replacement == " ":
        return replacement
    # An accent on a space is no accent, and the digit of "⒈" would become one with a digit before it.
    standalone = tag[1:] in ("square", "compat") and replacement[0].isdigit()
    return character if replacement[0] == " " or standalone else replacement


# Blanks that Unicode counts among the letters and pictures: Hangul's fillers, and Braille without a dot.
COMPATIBLE = _Compatible(dict.fromkeys((0x3164, 0xFFA0, 0x2800), " "))
