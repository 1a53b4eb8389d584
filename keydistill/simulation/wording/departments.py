"""What is sold: departments, leaf categories and the products in them.

A product's first noun names it; the others are what sellers and buyers also call it. No noun stands for two products,
because the noun alone must say which product a keyphrase asks for. A family is what several products are together
("shoes"): a keyphrase that asks for a family is relevant to all of them, in whichever leaf categories they are.

In the texts of `goods`, `#` starts a leaf category and a line that is not indented gives a product's nouns. The
indented lines give its facts: `*weight`, `^family`, `@makers`, `>what it fits`, `slot=domain`, `+bundles`.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from keydistill.simulation.wording.goods import DEVICES, FASHION, HOME_AND_LEISURE


@dataclass(frozen=True, slots=True)
class Product:
    """A kind of thing that is sold.

    Attributes:
        leaf: Path of its leaf category, "A > B > C".
        nouns: What it is called, the usual name first.
        family: Noun of the family it belongs to, if any.
        makers: Group of `brands.MAKERS` that make it; None when nobody asks for a brand.
        fits: Group of `brands.MAKERS` whose models it is an accessory or part of.
        attributes: Slot to the name of its domain in `domains.DOMAINS`.
        bundles: What sellers say comes with it, or not. It says nothing about what the product is.
        weight: Popularity, relative to 1.
    """

    leaf: str
    nouns: tuple[str, ...]
    family: str | None
    makers: str | None
    fits: str | None
    attributes: Mapping[str, str]
    bundles: tuple[str, ...]
    weight: float


_MARKS = {"^": "family", "@": "makers", ">": "fits"}


def _parse(text: str) -> Iterator[Product]:
    leaf, nouns, facts = "", "", ""
    for line in [*text.strip().splitlines(), "#"]:
        if line.startswith(" "):
            facts += "; " + line.strip()
            continue
        if nouns:
            yield _product(leaf, nouns, facts.strip("; ").split("; "))
            nouns, facts = "", ""
        if line.startswith("#"):
            leaf = line[1:].strip()
        else:
            nouns = line


def _product(leaf: str, nouns: str, facts: list[str]) -> Product:
    marked: dict[str, str] = {}
    attributes: dict[str, str] = {}
    for fact in facts:
        if fact[0] in _MARKS or fact[0] in "*+":
            marked[fact[0]] = fact[1:]
        else:
            slot, _, domain = fact.partition("=")
            attributes[slot] = domain
    return Product(
        leaf,
        tuple(nouns.split("|")),
        family=marked.get("^"),
        makers=marked.get("@"),
        fits=marked.get(">"),
        attributes=attributes,
        bundles=tuple(marked["+"].split("|")) if "+" in marked else (),
        weight=float(marked.get("*", 1)),
    )


PRODUCTS = tuple(product for text in (DEVICES, FASHION, HOME_AND_LEISURE) for product in _parse(text))
