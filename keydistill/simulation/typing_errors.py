"""Typing errors, odd case and odd spaces."""

from keydistill.simulation.dice import Dice

_SHORTEST = 5
_KEYS = ("qwertyuiop", "asdfghjkl", "zxcvbnm")
_NEIGHBOURS = {
    key: row[max(0, place - 1) : place] + row[place + 1 : place + 2] for row in _KEYS for place, key in enumerate(row)
}
_FULL_WIDTH = {ord("0") + digit: chr(0xFF10 + digit) for digit in range(10)}


def misspell(text: str, dice: Dice) -> str:
    """The text with one error in one of its longer words; unchanged where it has none."""
    words = text.split(" ")
    places = [place for place, word in enumerate(words) if len(word) >= _SHORTEST and word.isalpha()]
    if not places:
        return text
    place = dice.pick(places)
    words[place] = _misspell_word(words[place], dice)
    return " ".join(words)


def _misspell_word(word: str, dice: Dice) -> str:
    # People rarely get the first letter wrong.
    at = 1 + dice.below(len(word) - 2)
    kind = dice.below(4)
    if kind == 0:
        return word[:at] + word[at + 1] + word[at] + word[at + 2 :]
    if kind == 1:
        return word[:at] + word[at + 1 :]
    if kind == 2:
        return word[:at] + word[at] + word[at:]
    return word[:at] + dice.pick(_NEIGHBOURS.get(word[at].lower(), "e")) + word[at + 1 :]


def make_messy(text: str, dice: Dice) -> str:
    """A text that normalises to the same: other case, other spaces, full-width digits."""
    kind = dice.below(5)
    if kind == 0:
        return text.upper()
    if kind == 1:
        return text.title()
    if kind == 2:
        return text.replace(" ", "  ", 1) + " "
    if kind == 3:
        return " " + text.replace(" ", "\u00a0", 1)
    return text.translate(_FULL_WIDTH)
