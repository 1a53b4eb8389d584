"""An inventory whose categories are about different things, for tests that need a student to know something."""

import csv
from pathlib import Path

_THINGS = {
    "Clothing > Shoes": ["sneakers", "boots", "sandals", "loafers", "high heels", "slippers"],
    "Clothing > Tops": ["t-shirt", "blouse", "sweater", "hoodie", "cardigan", "tank top"],
    "Electronics > Phones": ["smartphone", "iphone", "mobile phone", "cell phone charger", "phone case", "sim card"],
    "Electronics > Audio": ["headphones", "earbuds", "loudspeaker", "soundbar", "turntable", "microphone"],
    "Home > Kitchen": ["frying pan", "saucepan", "kettle", "toaster", "knife set", "cutting board"],
    "Home > Garden": ["lawn mower", "rake", "flower pot", "garden hose", "seeds", "wheelbarrow"],
    "Toys > Games": ["board game", "puzzle", "playing cards", "dice", "chess set", "domino"],
    "Motors > Parts": ["brake pads", "spark plug", "oil filter", "car battery", "windshield wiper", "tire"],
}
# Said of everything: who knows only words finds other things that are as red.
_WORDS = ["red", "cheap", "vintage", "large", "new", "best", "used", "blue"]


def write_catalogue(path: Path, words: int = 5) -> Path:
    """An inventory of 48 keyphrases per word."""
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(["keyphrase", "category_path", "search_volume", "site"])
        for row, (category, thing, word) in enumerate(
            (category, thing, word)
            for word in _WORDS[:words]
            for category, things in _THINGS.items()
            for thing in things
        ):
            writer.writerow([f"{word} {thing}", category, 10 + row, "US" if row % 5 else "UK"])
    return path


def category_of(keyphrase: str) -> str | None:
    """What a keyphrase of the inventory, or a title that holds one, is about."""
    return next((category for category, things in _THINGS.items() if any(thing in keyphrase for thing in things)), None)


def write_items(path: Path) -> Path:
    """An item for every thing."""
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(["item_id", "title", "category_path", "site"])
        for category, things in _THINGS.items():
            for thing in things:
                writer.writerow([thing, f"acme {thing} used large red", category, "US"])
    return path
