"""Invented makers: their brands, model lines and models.

A row of `_TEXT` is `brand: line = model, model; line = model`, a line without models stands alone, and a row without
a colon lists brands that have no lines. Most popular first. A model's full name is its line and its designation
("nova s21"). A group in `YEARLY` makes the same line every year, and what fits one of its models usually fits a few
years in a row.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Model:
    """One thing that can be named: a model, a line without models, or a brand without lines."""

    brand: str
    line: str | None
    model: str | None


YEARLY = frozenset({"cars"})

_YEARS = ", ".join(str(year) for year in range(2019, 2003, -1))

_TEXT = f"""
[phones]
orrik: aura = 13, 12, 14, 13 pro, 11, 14 pro max, 13 pro max, 12 mini, 15, 15 pro, 14 plus; aurette = 2022, 2020
zentel: nova = s21, s22, s22 ultra, s23, s23 ultra, s20, s21 plus, s24; novafold = 4, 5; lyra = 14, 54
lumeo: pixon = 7, 6a, 7a, 8, 7 pro, 6, 8 pro
hanvei: vero = 30, 40, 30 lite, 40 pro
tectra: edge = g60, g50, g82
[tablets]
orrik: aurapad = 9th gen, 10th gen, air 5, air 4, mini 6, pro 11
zentel: novatab = a8, s8, a7, s8 plus, s7
amaro: ember = hd 8, hd 10, kids 7
lenovar: slate m = m10, m8
[laptops]
orrik: aurabook = air m1, air m2, pro 14, pro 16
delvane: latis = 5420, 5430, 7420; inspira = 3520, 5510
lenovar: thinkline = t14, t480, x1 gen 9, x1 gen 10; ideaflex = 5, 3
hexal: probase = 440 g8, 450 g9; pavona = 14, 15
[consoles]
sonari: playcore = 5, 4, 4 slim, 4 pro, 5 digital
microvend: xcube = series x, series s, one s, one x
nintaro: flipdeck = oled, lite, v2
[smartwatches]
orrik: aurawatch = se, series 7, series 8, series 6, ultra
zentel: novawatch = 5, 4, 5 pro
garvin: fenra = 7, 6x, 6; ventura = 2, sq
fitrail: versio = 3, 4, 2; pulseband = 5, 4
[headphones]
orrik: aurabuds = pro 2, 3, 2, pro, max
sonari: quietwave = xm4, xm5, xm3
bosvel: calmfort = 45, 35, ultra
zentel: novabuds = 2 pro, 2, live
jabron: elitone = 75t, 85t, 65t
[speakers]
jebel: flipwave = 6, 5, 4; chargewave = 5, 4
bosvel: soundmicro = 2, 1
sonovar: solo = gen 2, sl
anvik: boomcore = 2, mini
[cameras]
canora: eonix = r6, 80d, r5, 90d, r10, 5d mark iv
nikaro: dx = d3500, d5600, d7500; zf = z6 ii, z50, z5
sonari: alphon = a7 iii, a6400, a6000, a7 iv
goprime: hiro = 10, 11, 9, 8
[tvs]
zentel: crystal = q60, q80, au8000
lumina: oledge = c2, c1, b2
tecel: roko = s4, r6, s5
visor: vquant = m7, v5
[monitors]
delvane: ultraview = u2720, u2422, s2721
zentel: odyss = g5, g7
azura: nitrex = vg240, xv272
[printers]
hexal: deskmate = 2755, 3755, 4155; officia pro = 8025, 9015
canora: pixmark = mg3620, ts6420, ts3520
brovik: lasera = l2350dw, l2390dw, l2370
epsel: ecopure = et2800, et3850
[peripherals]
logan: mxline = master 3, keys, anywhere 3; gforce = g502, g305, g915
razon: viperon = v2, mini; deathstrike = v3, essential
corvix: kseries = k70, k55
[storage makers]
sandrix: extremo; ultra plus
westfall: passway; bluedrive = sn570, sn580
seacrest: barrow; portway
zentel: evon = 870, 980 pro
[phone accessories]
spigor, otterline, casemart, uagard, ringko, torriden
[power accessories]
ankora, belknap, baseline, ugrin, mophix
[cars]
hokuda: civa = {_YEARS}; arden = {_YEARS}
toranto: corel = {_YEARS}; camden = {_YEARS}; ridgeback = {_YEARS}
fernhall: ranchero x = {_YEARS}; bolden = {_YEARS}
chevane: silverton = {_YEARS}; malvern = {_YEARS}
kessel: k series = {_YEARS}
[car parts]
boshen, denzo, monrow, duralux, acdelta, moogler
[car lights]
philux, sylvara, auxbright
[sneakers]
velano: air glide = 90, 270, 97; streetforce = 1, low; pegaso = 39, 40, 38
adrex: ultrapace = 21, 22, 20; gazello; superstan
nuvello: fresh = 574, 990, 327; roadfoam = 1080, 880
ascari: gel pulse = 13, 14; kayano x = 29, 30
brenner: ghostrun = 15, 14, 16; adrenal = 22, 23
vansor: old school; slip line
[boots]
timbrook: premium six; flume
docmartel: eight eye; chelsen
redwick: heritage moc; iron mill
huntley: tall original
merrow: moabi = 2, 3
[heels]
stevena, ninewell, aldovar, clarkin
[sandals]
birkhof: arizo; giza
tevara: hurrico; original universal
crossly: classic clog; literide
[apparel]
velano, adrex, highfell, carhold, ralston, gapline, underarc, champel
[denim]
levanti: four ten; four twelve; ribcage
wrangor: cowboy cut; retro fit
luckyfield, carhold
[outerwear]
highfell: nano puff; torrent
northpeak: nuptse r; denali x
columbra: bugaboo; watertight
carhold: detroit
[dress makers]
zarina, asosel, lulara, freebird
[bags]
coachwell: willow; tabbix
katespring: margaux; knott
michaelor: jetset; mercer
northpeak: borealis r; jester r
herschon: little america; retreat
[wallets]
coachwell, fossbury, ridgeline, bellmoor
[jewelry]
pandria, swarvel, alexani, kaydell
[watches]
seikon: five sports = srpd55, srpe53; prospex = sbdc101, spb143
casora: gforce one = ga2100, dw5600; edifix = efr, eqs
citizor: ecodrive = bm8180, at8020; promaster
timexa: weekender; expedor
fossbury: grant; neutron
[watch bands]
spigor, barton row, nomadix, ringko
[sofas]
ashwell: darcel; larkin
ikessa: ektor; klippan; friheten
wayborn
[seating]
steelcrest: leapline = v2, v1; gesturo
hermor: aeron x = size b, size c; embodia
sihoo line: doro = c300, s300
ikessa: markus; jarvfal
[tables]
ikessa: linnmon; malmet; hemnor
sauderly, vivara, walkden
[beds]
zinnus, tempra, casparo, nectaro, lucidia
[linens]
brookline, utopian, mellanor, bedsura
[rugs]
safavia, nuloomi, ruggedly
[lights]
govera, brightec, globon
[coffee makers]
keuron: k brew = mini, elite, classic, duo
nespria: vertua = next, plus; essenta = mini, pixie
brevano: barista = express, pro
mistara: optima
[cookware]
lodgeman, all clade, calphor, lecrest, tefalin
[kitchen appliances]
ninjo: foodrun = af101, dz201; blastpro
instapo: duo nova; vortexa
vitamar: v series = 5200, a3500
kitchenaide: artisan = ksm150; pro line = 600
hamil beach
[vacuums]
dysera: cyclon = v11, v10, v8, v15, v7
sharkor: navigon = nv352, nv360; rotaro = az1002
irobo: rumbler = i3, j7, 694
bissara: crosswave; pet pro
[power tools]
dewall: dx max = dcd771, dcd791, dcf887; atomix
makuro: lxt = xph12, xdt16
milford: m fuel = 2804, 2853
ryobel: one plus = p215, pcl206
[hand tools]
craftman, stanlow, klein ridge, gearwren
[mowers]
torrow: recyclon = 21462, 20340; timecut
hondor: hrn = 216, 217
egon: powerlite = lm2102, lm2135
husqva: rider = yth18, ts354
[garden makers]
flexzil, gardana, fiskara
[bikes]
trekka: marlon = 5, 7; domano
giantor: talona = 2, 3; escaper
speciale: rockhop; sirrus x
schwinna: highline
[fitness makers]
bowfax: select = 552, 1090
cap iron, yes4fit, manduro, liforma
[camping]
colem: sundomer; skydomer
reico: halfdome; passago
kelti: discovero
marmotto: tungsten x
[fishing]
shimaro: sienna = 2500, 4000; stradix
penning: battlor = iii 4000, ii 3000
abu gard: ugly stick gx
daiwan: bgline
[golf makers]
callaro: roguex; mavrix
taylord: stealth two; sim max
pingel: g425x; g430x
[brick sets]
brikko: space cruiser = 75192, 75257; castle = 10305, 31120; city = 60197, 60320; technix = 42115, 42083
[toys]
hotwheelie, playmob, melidoug, fishprice, nerfon
[plush makers]
squishy pals: mallow; hug a pet
jellycot: bashful; amuseable
gundel
[puzzles]
ravenburg, buffalow, cobblet
[games]
nintario: star plumber odyssey; pocket beasts scarlet; kart rally 8; legend of zephyra; animal cove
activor: call of valor; crash racer
rockfort: grand heist 5; red frontier 2
eagames: soccer 23; grid football 24; star legion survivor
bethel: elder runes v; fallen earth 4
[guitars]
fenwick: stratus = player, standard; telecraft = player, squire
gibsen: les pol = studio, standard; sg line
yamori: fg = 800, 820, 830
taylan: gs mini; big baby
ibanor: rg = 421, 450
[instrument makers]
yamori, mendina, stentora, cecilio row
[string makers]
ernie bell, addario, elixor
[perfumes]
chanelle: bleu noir; mademoise
diorelle: sauvagio; jadoro
versano: eros blu; bright crystal
armani row: acqua gio
ariana bloom: cloud nine
[hair tools]
dysera: supersonic hd = hd03, hd07; airwrapper
revlora: one step
chiara: original lava
babylise: nano titan
ghdel: platinum x
[skin care]
cerava, olayne, neutrogel, cosrix
[pet makers]
petmatex, kongo, frisky, furhaven row, rufwear
[aquarium makers]
fluvar: c series = c4, c3; underwater = 207, 307
aquaon: quietflow = 20, 55, 10
marinel: penguina = 200, 350
[strollers]
gracelle: fastlane; modes
upparoo: vistar = v2, v3; cruzo
babyzenith: yoyo x
chiccora: bravia
[car seats]
gracelle: extendfit; snugglock
chiccora: keyfit
britaxo: boulevar
[baby care]
pampera, huggles, luvies
"""


def _parse(text: str) -> Mapping[str, tuple[Model, ...]]:
    makers: dict[str, tuple[Model, ...]] = {}
    for block in text.strip("\n[").split("\n["):
        head, *rows = block.splitlines()
        makers[head.rstrip("]")] = tuple(model for row in rows for model in _row(row))
    return makers


def _row(row: str) -> Iterator[Model]:
    brand, colon, lines = row.partition(": ")
    if not colon:
        yield from (Model(name, None, None) for name in row.split(", "))
        return
    for part in lines.split("; "):
        line, _, names = part.partition(" = ")
        for name in names.split(", "):
            yield Model(brand, line, f"{line} {name}" if name else None)


MAKERS = _parse(_TEXT)
