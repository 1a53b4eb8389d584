"""Texts that an exported student is compared with the original on: the same for every version, of many lengths."""

_WHAT = (
    "running shoes",
    "iphone 13 case",
    "ps5",
    "usb c cable 6 ft",
    "waterproof hiking boots size 10",
    "cordless drill 20v battery",
    "queen bed frame",
    "2015 civic tail light",
    "led strip lights",
    "vinyl record player",
    "14k gold necklace",
    "lego star wars",
)
_HOW = ("", "mens", "vintage", "black", "used", "replacement parts for", "the best cheap", "brand new sealed in box")
_MORE = ("", "with free shipping", "- genuine OEM quality, tested and working, ships the same day from the US, 2 pack")

SAMPLE: tuple[str, ...] = tuple(
    " ".join(filter(None, (how, what, more))) for what in _WHAT for how in _HOW for more in _MORE
)
