"""Words a buyer's query: what the row asks for, in buyers' words and order."""

from keydistill.simulation.dice import Dice
from keydistill.simulation.knobs import MarketplaceSettings
from keydistill.simulation.typing_errors import misspell
from keydistill.simulation.wording import ABSENT, ATTRIBUTES, SLOT, Catalogue

# The order in which most buyers put things; the noun comes where None stands.
_USUAL = ("condition", "audience", "color", "own", "fit", "material", "feature", "capacity", None, "size")
_NOUN_LEFT_OUT = 0.4
_FOR = 0.3


def word_query(row: list[int], catalogue: Catalogue, settings: MarketplaceSettings, dice: Dice) -> str:
    """A query for what the row asks for, in lower case with single spaces."""
    chunks: dict[str | None, str] = {}
    for slot in ATTRIBUTES:
        value = row[SLOT[slot]]
        if value != ABSENT:
            chunks[slot] = _form(catalogue.forms(slot, value), settings, dice)
    own, fit = _model("", row, catalogue), _model("fit_", row, catalogue)
    if own:
        chunks["own"] = _turned_year(own, dice)
    noun = _noun(row, catalogue, settings, dice)
    names_itself = row[SLOT["product"]] != ABSENT and catalogue.products[row[SLOT["product"]]].names_itself
    if fit and dice.chance(_FOR):
        noun = f"{noun} for {_turned_year(fit, dice)}"
    elif fit:
        chunks["fit"] = _turned_year(fit, dice)
    elif names_itself and _says_line(row) and dice.chance(_NOUN_LEFT_OUT):
        noun = ""
    if noun:
        chunks[None] = noun
    order = [name for name in _USUAL if name in chunks]
    if dice.chance(settings.reorder_share):
        order = dice.shuffled(order)
    text = " ".join(chunks[name] for name in order)
    return misspell(text, dice) if dice.chance(settings.misspelling_share) else text


def _says_line(row: list[int]) -> bool:
    return row[SLOT["line"]] != ABSENT or row[SLOT["model"]] != ABSENT


def _noun(row: list[int], catalogue: Catalogue, settings: MarketplaceSettings, dice: Dice) -> str:
    product = row[SLOT["product"]]
    if product == ABSENT:
        return catalogue.names["family"][row[SLOT["family"]]]
    return _form(catalogue.products[product].product.nouns, settings, dice)


def _model(prefix: str, row: list[int], catalogue: Catalogue) -> str:
    named = []
    brand, line, model = (row[SLOT[prefix + slot]] for slot in ("brand", "line", "model"))
    if brand != ABSENT:
        named.append(catalogue.names["brand"][brand])
    if model != ABSENT:
        named.append(catalogue.names["model"][model])
    elif line != ABSENT:
        named.append(catalogue.names["line"][line])
    return " ".join(named)


def _turned_year(name: str, dice: Dice) -> str:
    """Half of the buyers write "2008 hokuda civa" instead of "hokuda civa 2008"."""
    rest, _, year = name.rpartition(" ")
    if rest and len(year) == 4 and year.startswith("20") and year.isdigit() and dice.chance(0.5):
        return f"{year} {rest}"
    return name


def _form(forms: tuple[str, ...], settings: MarketplaceSettings, dice: Dice) -> str:
    if len(forms) > 1 and dice.chance(settings.synonym_share):
        return dice.pick(forms[1:])
    return forms[0]
