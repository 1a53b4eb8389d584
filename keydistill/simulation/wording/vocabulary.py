"""How sellers and buyers write attribute values.

`FORMS` says how a value is written, first the name under which `domains.DOMAINS` knows it. A value that is not in it is
written as its name.
"""

from collections.abc import Mapping

from keydistill.simulation.wording.domains import CAPACITIES, RING_SIZES, SHOE_SIZES, SIZES


def _forms(text: str) -> Mapping[str, tuple[str, ...]]:
    rows = (line.strip().split("|") for line in text.strip().splitlines())
    return {row[0]: tuple(row) for row in rows}


def _shoe_forms() -> Mapping[str, tuple[str, ...]]:
    sizes = SHOE_SIZES + RING_SIZES
    return {size: (size, f"size {size.split()[-1]}", f"sz {size.split()[-1]}") for size in sizes}


def _inch_forms() -> Mapping[str, tuple[str, ...]]:
    names = {name for domain in ("tv", "laptop", "monitor", "wheel", "pan", "rim") for name in SIZES[domain]}
    return {
        name: (name, name.replace(" inch", "in"), name.replace(" inch", '"'), name.replace(" inch", "-inch"))
        for name in sorted(names)
    }


_COLOR_FORMS = _forms("""
black|blk|jet black
white|wht
space gray|space grey|graphite
grey|gray|charcoal
navy|navy blue|dark blue
burgundy|maroon|wine red
beige|tan|cream
clear|transparent|see through
rose gold|rosegold
stainless steel|stainless|stainless finish
teal|turquoise
purple|violet|lavender
clear stone|cubic zirconia|cz
blue stone|sapphire
green stone|emerald
red stone|ruby
pink stone|morganite
olive|olive green|army green
""")

_SIZE_FORMS = {
    **_forms("""
extra large|xl|x-large|size xl
large|l|lg|size l|size large
medium|m|med|size m|size medium
small|s|sm|size s|size small
extra small|xs|x-small
2xl|xxl|2x|xx-large
3xl|xxxl|3x
california king|cal king
full|full size|double
queen|queen size
king|king size
twin|twin size
pet small|small dog|s
pet medium|medium dog|m
pet large|large dog|l
pet extra large|xl dog|xl
w32 l32|32x32|32/32
w34 l32|34x32|34/32
w30 l32|30x32|30/32
w32 l30|32x30|32/30
w36 l32|36x32|36/32
w34 l30|34x30|34/30
w36 l34|36x34|36/34
w38 l32|38x32|38/32
w30 l30|30x30|30/30
w33 l32|33x32|33/32
w40 l30|40x30|40/30
6 ft|6ft|2m
10 ft|10ft|3m
3 ft|3ft|1m
15 ft|15ft
25 ft|25ft|25'
50 ft|50ft|50'
100 ft|100ft|100'
75 ft|75ft|75'
1 ft|1ft
8x10|8x10 ft|8' x 10'
5x7|5x7 ft|5' x 7'
9x12|9x12 ft|9' x 12'
4 person|4p|four person|4 man
2 person|2p|two person|2 man
6 person|6p|six person|6 man
8 person|8 man
1 person|1p|solo
4/4|full size
6 ft 6 in|6'6"|6.5 ft
7 ft|7'|7ft
6 quart|6 qt|6qt
8 quart|8 qt|8qt
4 quart|4 qt|4qt
5 quart|5 qt|5qt
3 quart|3 qt|3qt
3.4 oz|100ml|3.4oz
1.7 oz|50ml|1.7oz
6.7 oz|200ml|6.7oz
1 oz|30ml|1oz
2 pack|2pk|pack of 2|set of 2
3 pack|3pk|pack of 3|set of 3
4 pack|4pk|pack of 4|set of 4
6 pack|6pk|pack of 6
10 pack|10pk|pack of 10
single|1 pack|1 count
1000 piece|1000 pcs|1000pc
500 piece|500 pcs|500pc
20 gallon|20 gal
10 gallon|10 gal
55 gallon|55 gal
40 gallon|40 gal
75 gallon|75 gal
5 gallon|5 gal
84 inch long|84 inch|84in
63 inch long|63 inch|63in
96 inch long|96 inch|96in
108 inch long|108 inch|108in
"""),
    **_shoe_forms(),
    **_inch_forms(),
}

FORMS: Mapping[str, Mapping[str, tuple[str, ...]]] = {
    "color": _COLOR_FORMS,
    "size": _SIZE_FORMS,
    "capacity": {
        name: (name, name[:-2] + " " + name[-2:])
        for domain in CAPACITIES.values()
        for name in domain
        if name.endswith(("gb", "tb", "ah"))
    },
    "material": _forms("""
vegan leather|faux leather|pu leather
hard plastic|polycarbonate
sterling silver|925 silver|925
gold plated|gp
14k gold|14kt gold|solid 14k
10k gold|10kt gold
stainless|stainless steel
carbon fiber|carbon fibre|carbon
semi metallic|semi-metallic
aluminum|aluminium|alloy
nonstick|non-stick|non stick
polyester|poly
monofilament|mono
"""),
    "audience": _forms("""
men|mens|men's|for men
women|womens|women's|ladies|wmns
kids|youth|children's|childrens
girls|girl's|for girls
boys|boy's|for boys
"""),
    "condition": _forms("""
new|brand new|nib|nwt|bnib
used|pre-owned|preowned|second hand
refurbished|refurb|renewed|reconditioned
open box|open-box
for parts|parts only|for parts or repair|not working
vintage|vtg|retro
oem|genuine|original equipment
"""),
    "feature": _forms("""
unlocked|factory unlocked|sim free
carrier locked|locked to carrier
wifi only|wi-fi|wi-fi only
cellular|wifi + cellular|lte
touchscreen|touch screen
2 in 1|2-in-1|convertible laptop
magnetic|magnet|mag
shockproof|shock proof|rugged|heavy duty
waterproof|water proof|water resistant
fast charge|fast charging|quick charge
usb c|type c|usb-c
micro usb|micro-usb
noise cancelling|noise canceling|anc|nc
wireless|cordless|w/less
bluetooth|bt
tempered glass|glass|9h glass
4k|uhd|2160p|ultra hd
1080p|full hd|fhd
8k|8k uhd
all in one|aio|all-in-one
remanufactured|reman|recycled
high yield|xl yield
complete in box|cib
long sleeve|ls|l/s
short sleeve|ss|s/s
v neck|v-neck
zip up|full zip|zipper
slim fit|slim
relaxed fit|loose fit
insulated|thermal insulated|winter
ergonomic|ergo
rgb|led backlit
eau de parfum|edp
eau de toilette|edt
adjustable height|sit stand|height adjustable
led|l.e.d.
remote control|rc|r/c
self propelled|self-propelled
tool only|bare tool|no battery
left handed|left hand|lh|lefty
right handed|right hand|rh
automatic|self winding
blackout|room darkening
single serve|one cup
electro acoustic|acoustic electric
rear|back
"""),
}
