"""Words a seller's title: what the item is, and what sellers add to be found."""

from keydistill.simulation.dice import Dice
from keydistill.simulation.knobs import MarketplaceSettings
from keydistill.simulation.typing_errors import misspell
from keydistill.simulation.wording import ABSENT, ATTRIBUTES, SLOT, Catalogue, Choice, CompiledProduct

_LONGEST = 80
_ORDERS = (
    ("condition", "own", "noun", "feature", "audience", "material", "color", "size", "capacity"),
    ("own", "feature", "noun", "capacity", "color", "size", "material", "audience", "condition"),
    ("own", "capacity", "color", "noun", "audience", "size", "feature", "material", "condition"),
    ("audience", "own", "material", "noun", "color", "feature", "size", "capacity", "condition"),
    ("noun", "own", "size", "color", "material", "audience", "capacity", "feature", "condition"),
)
_BRAND_IMPLIED, _FIT_BRAND_IMPLIED, _NOUN_IMPLIED = 0.25, 0.4, 0.3
_BUNDLE_SHARE = 0.35
_SPAM: tuple[str, ...] = (
    "not {}",
    "(not {})",
    "like {}",
    "fits like {}",
    "similar to {}",
    "compare to {}",
    "alternative to {}",
)
_FIT_SPAM: tuple[str, ...] = ("not for {}", "won't fit {}", "(not {})", "doesn't fit {}")
_FILLER = (
    "free shipping",
    "fast ship",
    "L@@K",
    "great deal",
    "US seller",
    "must see",
    "tested",
    "wow",
    "sale",
    "top quality",
    "authentic",
    "read desc",
    "lot of 1",
    "rare",
    "nice",
    "hot",
    "ships today",
    "★★★★★",
    "!!",
)
_CAPITALS = frozenset(
    {"tv", "nib", "nwt", "bnib", "tpu", "oem", "iv", "ii", "iii", "xl", "xxl", "led", "rgb", "uhd", "edp", "edt", "usb"}
)
_SMALL = frozenset({"w/", "for", "with", "not", "to", "and", "ft", "oz", "lb", "in", "mm", "by", "of"})


def word_title(row: list[int], fits: list[int], catalogue: Catalogue, settings: MarketplaceSettings, dice: Dice) -> str:
    """A title of at most 80 characters.

    Args:
        row: Row of the catalogue that says what the item is.
        fits: Models that it fits, if it is an accessory or part.
        catalogue: Catalogue that says what the numbers mean.
        settings: Settings that decide the wording.
        dice: Source of chance.
    """
    product = catalogue.products[row[SLOT["product"]]]
    chunks = {slot: _attribute(slot, row[SLOT[slot]], catalogue, settings, dice) for slot in ATTRIBUTES}
    chunks["own"] = _own(row, catalogue, settings, dice)
    chunks["noun"] = _noun(row, product, settings, dice) + _fit(row, fits, product, catalogue, dice)
    extras = []
    if product.product.bundles and dice.chance(_BUNDLE_SHARE):
        extras.append(dice.pick(product.product.bundles))
    if dice.chance(settings.title_spam_share):
        extras.append(_spam(row, fits, product, catalogue, dice))
    if dice.chance(settings.title_filler_share):
        extras.append(dice.pick(_FILLER))
    main = " ".join(chunks[name] for name in dice.pick(_ORDERS) if chunks[name])
    for extra in extras:
        if extra and len(main) + 1 + len(extra) <= _LONGEST:
            main = f"{extra} {main}" if dice.chance(0.1) else f"{main} {extra}"
    if dice.chance(settings.title_typo_share):
        main = misspell(main, dice)
    while len(main) > _LONGEST:
        main = main.rpartition(" ")[0]
    return _cased(main, dice)


def _attribute(slot: str, value: int, catalogue: Catalogue, settings: MarketplaceSettings, dice: Dice) -> str:
    if value == ABSENT or dice.chance(settings.title_omission_share):
        return ""
    return _form(catalogue.forms(slot, value), settings, dice)


def _form(forms: tuple[str, ...], settings: MarketplaceSettings, dice: Dice) -> str:
    if len(forms) > 1 and dice.chance(settings.synonym_share):
        return dice.pick(forms[1:])
    return forms[0]


def _own(row: list[int], catalogue: Catalogue, settings: MarketplaceSettings, dice: Dice) -> str:
    brand, line, model = (row[SLOT[slot]] for slot in ("brand", "line", "model"))
    if brand == ABSENT:
        return ""
    name = catalogue.names["brand"][brand]
    if line == ABSENT:
        return "" if dice.chance(settings.title_omission_share) else name
    named = catalogue.names["line"][line] if model == ABSENT else catalogue.names["model"][model]
    return named if dice.chance(_BRAND_IMPLIED) else f"{name} {named}"


def _noun(row: list[int], product: CompiledProduct, settings: MarketplaceSettings, dice: Dice) -> str:
    if product.names_itself and row[SLOT["line"]] != ABSENT and dice.chance(_NOUN_IMPLIED):
        return ""
    return _form(product.product.nouns, settings, dice)


def _fit(row: list[int], fits: list[int], product: CompiledProduct, catalogue: Catalogue, dice: Dice) -> str:
    brand, line = row[SLOT["fit_brand"]], row[SLOT["fit_line"]]
    if brand == ABSENT:
        return ""
    maker = "" if line != ABSENT and dice.chance(_FIT_BRAND_IMPLIED) else catalogue.names["brand"][brand] + " "
    preposition = dice.pick((" for ", " for ", " fits ", " compatible with "))
    if line == ABSENT:
        return preposition + maker.strip()
    line_name = catalogue.names["line"][line]
    if not fits:
        return preposition + maker + line_name
    models = [catalogue.names["model"][model].removeprefix(line_name + " ") for model in fits]
    if product.fits_yearly:
        years = models[0] if len(models) == 1 else f"{min(models)}-{max(models)}"
        order = f"{years} {maker}{line_name}" if dice.chance(0.6) else f"{maker}{line_name} {years}"
        return preposition + order
    return preposition + maker + line_name + " " + dice.pick((" / ", ", ", " & ")).join(models)


def _spam(row: list[int], fits: list[int], product: CompiledProduct, catalogue: Catalogue, dice: Dice) -> str:
    """Another brand or model of the same kind, in words that say the item is not, or does not fit, it."""
    choice: Choice | None
    if product.fit is not None and dice.chance(0.6):
        choice, patterns, slots, own_models = product.fit, _FIT_SPAM, ("fit_brand", "fit_line"), fits
    else:
        choice, patterns, slots, own_models = product.own, _SPAM, ("brand", "line"), [row[SLOT["model"]]]
    if choice is None:
        return ""
    brand, line, model = choice.rows[dice.below(len(choice.rows))].tolist()
    same_line = (brand, line) == tuple(row[SLOT[slot]] for slot in slots)
    has_model = model != ABSENT
    other_model = has_model and own_models and ABSENT not in own_models and model not in own_models
    if brand == ABSENT or (same_line and not other_model):
        return ""
    if has_model:
        name = catalogue.names["model"][model]
    else:
        name = catalogue.names["brand"][brand] if line == ABSENT else catalogue.names["line"][line]
    return dice.pick(patterns).format(name)


def _cased(title: str, dice: Dice) -> str:
    style = dice.roll()
    if style < 0.1:
        return title.upper()
    if style < 0.2:
        return title
    return " ".join(_cased_word(word) for word in title.split(" "))


def _cased_word(word: str) -> str:
    if any(letter.isdigit() for letter in word):
        return word.upper() if word[:1].isalpha() or word.endswith(("gb", "tb", "xl")) else word
    if word in _SMALL or word == word.upper():
        return word
    if word in _CAPITALS:
        return word.upper()
    return word[:1].upper() + word[1:]
