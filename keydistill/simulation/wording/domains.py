"""Attribute values that a product can have: domains, the most popular value first.

Values of one slot are shared by all products, so that "black" of a phone and of a shoe is the same value.
"""

from collections.abc import Mapping


def _domains(text: str) -> Mapping[str, tuple[str, ...]]:
    """Lines of `domain: value, value, ...`."""
    rows = (line.strip().split(": ", 1) for line in text.strip().splitlines())
    return {name: tuple(values.split(", ")) for name, values in rows}


SHOE_SIZES = tuple(
    f"size {size}"
    for size in [
        "9",
        "10",
        "8",
        "9.5",
        "10.5",
        "8.5",
        "7",
        "11",
        "7.5",
        "6",
        "12",
        "6.5",
        "11.5",
        "13",
        "5",
        "5.5",
        "12.5",
        "4",
        "14",
    ]
)
RING_SIZES = tuple(f"size {size}" for size in ["7", "8", "6", "9", "5", "10", "6.5", "7.5", "8.5"])

COLORS = _domains("""
tech: black, white, silver, space gray, blue, red, green, gold, purple, pink
case: black, clear, blue, pink, red, green, purple, brown, navy, white, rose gold, orange
fashion: black, white, navy, grey, red, blue, brown, green, beige, pink, burgundy, olive, purple, yellow, orange
home: white, grey, black, beige, brown, navy, green, teal, blue, pink, ivory, burgundy
appliance: black, stainless steel, white, red, grey, teal
pot: black, red, grey, teal, blue, white
ink: black, cyan, magenta, yellow
finish: natural, sunburst, black, cherry red, white, blue
jewel: clear stone, blue stone, green stone, red stone, pink stone
""")

SIZES = {
    "shoe": SHOE_SIZES,
    "ring": RING_SIZES,
    **_domains("""
clothes: medium, large, small, extra large, 2xl, extra small, 3xl
waist: w32 l32, w34 l32, w30 l32, w32 l30, w36 l32, w34 l30, w36 l34, w38 l32, w30 l30, w33 l32, w40 l30
bed: queen, king, full, twin, california king, twin xl
tv: 55 inch, 65 inch, 43 inch, 50 inch, 32 inch, 75 inch, 85 inch
laptop: 14 inch, 15.6 inch, 13.3 inch, 16 inch, 17.3 inch
monitor: 27 inch, 24 inch, 32 inch, 34 inch, 22 inch
wheel: 26 inch, 29 inch, 27.5 inch, 24 inch, 20 inch, 700c
rim: 17 inch, 18 inch, 16 inch, 20 inch, 15 inch, 19 inch
pan: 10 inch, 12 inch, 8 inch, 9.5 inch, 11 inch
cable: 6 ft, 10 ft, 3 ft, 15 ft, 25 ft, 1 ft
hose: 50 ft, 100 ft, 25 ft, 75 ft
rug: 8x10, 5x7, 9x12, 4x6, 2x8, 6x9
curtain: 84 inch long, 63 inch long, 96 inch long, 108 inch long
band: 42mm, 44mm, 40mm, 38mm, 45mm, 41mm, 49mm
strap: 20mm, 22mm, 18mm, 24mm
weight: 20 lb, 25 lb, 10 lb, 15 lb, 30 lb, 50 lb, 5 lb, 35 lb, 40 lb
tent: 4 person, 2 person, 6 person, 8 person, 1 person
rod: 7 ft, 6 ft 6 in, 6 ft, 8 ft, 9 ft
pet: pet medium, pet large, pet small, pet extra large
tank: 20 gallon, 10 gallon, 55 gallon, 40 gallon, 75 gallon, 5 gallon
quart: 6 quart, 8 quart, 4 quart, 5 quart, 3 quart
bottle: 3.4 oz, 1.7 oz, 6.7 oz, 1 oz
flask: 32 oz, 40 oz, 24 oz, 18 oz, 64 oz
pack: 2 pack, single, 3 pack, 4 pack, 6 pack, 10 pack
pieces: 1000 piece, 500 piece, 2000 piece, 300 piece, 1500 piece
violin: 4/4, 3/4, 1/2, 1/4
drawer: 3 drawer, 5 drawer, 6 drawer, 2 drawer
necklace: 18 inch chain, 20 inch chain, 16 inch chain, 24 inch chain
baby: newborn, size 1 diaper, size 2 diaper, size 3 diaper, size 4 diaper, size 5 diaper
wrist: left handed, right handed
"""),
}

CAPACITIES = _domains("""
storage: 128gb, 256gb, 64gb, 512gb, 32gb, 1tb
disk: 512gb, 256gb, 1tb, 2tb, 128gb
drive: 1tb, 2tb, 500gb, 4tb, 256gb, 8tb
card: 128gb, 64gb, 256gb, 32gb, 512gb
watt: 20w, 65w, 45w, 30w, 100w
bank: 10000mah, 20000mah, 5000mah, 30000mah
battery: 5ah, 4ah, 2ah, 6ah, 3ah
memory: 16gb, 8gb, 32gb, 64gb
""")

MATERIALS = _domains("""
case: silicone, leather, tpu, hard plastic, carbon fiber, wood
band: silicone, leather, stainless, nylon, titanium
shoe: leather, mesh, suede, canvas, knit
boot: leather, suede, rubber, nubuck
cloth: cotton, wool, polyester, linen, denim, fleece, silk, cashmere
bag: leather, canvas, nylon, vegan leather, suede
jewel: sterling silver, gold plated, 14k gold, rose gold plated, stainless, 10k gold, platinum
furniture: fabric, leather, velvet, linen, vegan leather
wood: oak, pine, walnut, metal, bamboo, mdf
bedding: cotton, microfiber, bamboo, linen, satin, flannel
foam: memory foam, latex, hybrid, innerspring
rug: wool, jute, polypropylene, cotton
pan: cast iron, nonstick, stainless, ceramic, carbon steel, copper
weight: neoprene, cast iron, rubber, vinyl
pet: nylon, leather, biothane
brake: ceramic, semi metallic, organic
frame: aluminum, carbon fiber, steel
lure: braided, monofilament, fluorocarbon
mat: heavy rubber, carpet, vinyl
string: nickel, phosphor bronze, nylon
""")

AUDIENCES = {"people": ("men", "women", "kids"), "adults": ("women", "men"), "children": ("girls", "boys")}

CONDITIONS = _domains("""
device: used, refurbished, new, open box, for parts
worn: new, used, vintage
general: new, used
part: new, used, oem
""")

FEATURES = _domains("""
phone: unlocked, dual sim, carrier locked
tablet: wifi only, cellular
laptop: touchscreen, backlit keyboard, 2 in 1
case: magnetic, shockproof, wallet, with stand, glitter, waterproof, slim
protector: privacy, tempered glass, anti glare
charger: fast charge, usb c, wireless, magnetic
cable: usb c, micro usb, braided
audio: noise cancelling, wireless, wired, bluetooth
speaker: bluetooth, waterproof, smart
tv: 4k, oled, 1080p, 8k, smart
monitor: curved, 4k, 144hz, ultrawide
mouse: wireless, ergonomic, rgb
keyboard: mechanical, wireless, rgb, ergonomic
printer: all in one, laser, wireless
ink: high yield, tri color, remanufactured
camera: body only, with lens, bundle
console: with controller, disc edition, console only
game: collectors edition, complete in box, steelbook
shoe: waterproof, wide, slip on, lightweight
boot: waterproof, steel toe, insulated, zip up
top: long sleeve, short sleeve, v neck, graphic, sleeveless
hoodie: zip up, pullover, graphic, oversized
jacket: waterproof, hooded, puffer, insulated
jeans: slim fit, straight leg, bootcut, relaxed fit, skinny
dress: maxi, midi, mini, floral, long sleeve
bag: crossbody, waterproof, laptop sleeve, quilted
jewel: engraved, halo, solitaire, adjustable, initial
watch: automatic, chronograph, solar, diver, quartz
sofa: sectional, reclining, sleeper, tufted
chair: ergonomic, high back, mesh back, reclining
table: foldable, adjustable height, with drawers, glass top
bedding: down alternative, weighted, cooling, reversible
curtain: blackout, sheer, thermal
rug: washable, shag, outdoor, oriental
lamp: dimmable, led, touch control, tripod
coffee: single serve, programmable, espresso, with grinder
kitchen: dishwasher safe, with lid, induction ready, pre seasoned
fryer: dual basket, digital, with rotisserie
vacuum: cordless, bagless, for pet hair
tool: cordless, brushless, tool only, with charger
fitness: adjustable, hex, pair
mat: extra thick, non slip, foldable
bike: full suspension, electric, hardtail, folding
camp: ultralight, instant, insulated, waterproof
rod: telescopic, spinning, baitcasting, fly
golf: graphite shaft, stiff flex, regular flex, draw bias
toy: remote control, battery powered, wooden, with lights
plush: giant, weighted, talking
perfume: eau de parfum, eau de toilette, tester, gift set
hair: ionic, ceramic, cordless, professional
pet: orthopedic, washable, reflective, retractable, heated
part: front, rear, left side, right side
light: led, halogen, xenon
guitar: left handed, electro acoustic, starter kit
mower: self propelled, cordless, riding
hose: expandable, heavy duty, soaker
stroller: double, jogging, travel system, lightweight
seat: convertible, booster, infant
""")

DOMAINS: Mapping[str, Mapping[str, tuple[str, ...]]] = {
    "color": COLORS,
    "size": SIZES,
    "capacity": CAPACITIES,
    "material": MATERIALS,
    "audience": AUDIENCES,
    "condition": CONDITIONS,
    "feature": FEATURES,
}
