"""Spellings of one keyphrase: word order, plural, spacing, hyphens, apostrophes, accents.

Two keyphrases are variants if they agree in one of two keys: their words in the singular, sorted; or their words in the
singular, in order, without the spaces between them. Numbers stay apart ("1 5" is neither "15" nor "1.5"), and so do
"c", "c++" and "c#".

>>> variant_keys("iPhone-13 cases") == variant_keys("iphone 13 case")
True
>>> set(variant_keys("head phones")) & set(variant_keys("headphone"))
{'headphone'}
>>> sorted(variant_keys("bottle water")), sorted(variant_keys("waterbottles"))
(['bottle water', 'bottlewater'], ['waterbottle'])
"""

import re
import unicodedata
from collections.abc import Sequence

# Points, commas and slashes stay within numbers; plus, hash and per cent make another word.
_SEPARATORS = re.compile(r"(?<!\d)[.,/]|[.,/](?!\d)|_")
_SIGNS = re.compile(r"[^\w\s.,/+#%]")
_APOSTROPHES = re.compile(r"(?<=\w)['\u2019](?=\w)")
_ACCENTS = re.compile("[\u0300-\u036f]")
# Between two digits a space is a boundary of numbers.
_SPACES_WITHIN = re.compile(r"(?<!\d) | (?!\d)")
_SHORTEST_PLURAL = 4


def variant_keys(keyphrase: str) -> frozenset[str]:
    """The keys of a keyphrase: what shares one is a variant of it. Empty where there is no word in it."""
    text = _ACCENTS.sub("", unicodedata.normalize("NFKD", keyphrase.lower()))
    text = _SEPARATORS.sub(" ", _APOSTROPHES.sub("", text))
    # The vowel signs of Indic scripts are marks and no word characters, and yet parts of words.
    text = _SIGNS.sub(lambda sign: sign[0] if unicodedata.category(sign[0])[0] == "M" else " ", text)
    words = [plural_folded(word) for word in text.split() if any(map(str.isalnum, word))]
    if not words:
        return frozenset()
    return frozenset({" ".join(sorted(words)), _SPACES_WITHIN.sub("", " ".join(words))})


def plural_folded(word: str) -> str:
    """An English word without its plural ending; any other word as it is.

    The rules of the S stemmer (Harman, "How effective is suffixing?", 1991), and "es" after a sibilant.

    >>> [plural_folded(word) for word in ("batteries", "boxes", "shoes", "glass", "bus", "5s", "lens")]
    ['battery', 'box', 'shoe', 'glass', 'bus', '5s', 'len']
    """
    if len(word) < _SHORTEST_PLURAL or not word.endswith("s") or not (word.isascii() and word.isalpha()):
        return word
    if word.endswith("ies") and not word.endswith(("eies", "aies")):
        return word[:-3] + "y"
    if word.endswith(("sses", "shes", "ches", "xes", "zzes")):
        return word[:-2]
    if word.endswith(("ss", "us")):
        return word
    return word[:-1]


def groups_of_variants(keys: Sequence[frozenset[str]]) -> list[list[int]]:
    """Places of keyphrases that are variants of one another, by their keys, in groups by their first place."""
    group_of_key: dict[str, int] = {}
    groups: dict[int, list[int]] = {}
    for place, own_keys in enumerate(keys):
        # A keyphrase may join groups that had no key in common before.
        joined = {group_of_key[key] for key in own_keys if key in group_of_key}
        members = sorted([*(member for group in joined for member in groups.pop(group)), place])
        groups[members[0]] = members
        for member in members if len(joined) > 1 else [place]:
            group_of_key.update(dict.fromkeys(keys[member], members[0]))
    return [groups[first] for first in sorted(groups)]
