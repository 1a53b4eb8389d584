"""The text of the catalogue; `departments` says how to read it."""

DEVICES = """
# Cell Phones & Accessories > Cell Phones & Smartphones
smartphone|phone|cell phone|mobile phone|handset
    *5; @phones; color=tech; capacity=storage; condition=device; feature=phone
    +with case|w/ charger|no charger|box included|screen protector included
# Cell Phones & Accessories > Cell Phone Accessories > Cases, Covers & Skins
phone case|cell phone case|mobile phone cover|phone cover
    *5; ^phone accessories; @phone accessories; >phones; color=case; material=case; feature=case
# Cell Phones & Accessories > Cell Phone Accessories > Screen Protectors
phone screen protector|screen film|screen guard
    *2; ^phone accessories; @phone accessories; >phones; size=pack; feature=protector
# Cell Phones & Accessories > Cell Phone Accessories > Chargers & Cradles
wall charger|phone charger|power adapter|charging block
    *2; ^phone accessories; @power accessories; color=tech; capacity=watt; feature=charger
    +with cable|no cable
portable charger|power bank|battery pack
    ^phone accessories; @power accessories; color=tech; capacity=bank; feature=charger
# Cell Phones & Accessories > Cell Phone Accessories > Cables & Adapters
charging cable|charger cord|phone cable
    *2; ^phone accessories; @power accessories; >phones; color=tech; size=cable; feature=cable
# Cell Phones & Accessories > Cell Phone Parts
replacement battery|phone battery
    @power accessories; >phones; condition=part; +with tools
phone lcd screen|replacement screen|display digitizer
    >phones; color=tech; condition=part; +with tools|with frame
# Cell Phones & Accessories > Smart Watches
smartwatch|smart watch|fitness tracker
    *2; @smartwatches; color=tech; size=band; condition=device; +with band|w/ charger
# Cell Phones & Accessories > Smart Watch Bands
watch band|watch strap|smartwatch band|wristband
    *2; @watch bands; >smartwatches; color=case; size=band; material=band; audience=adults
# Computers/Tablets & Networking > Laptops & Netbooks
laptop|notebook computer|laptop computer
    *3; @laptops; size=laptop; capacity=disk; condition=device; feature=laptop; color=tech
    +with bag|w/ charger|no charger|w/ dock
# Computers/Tablets & Networking > Laptop & Desktop Accessories > Chargers
laptop charger|laptop power cord|ac adapter
    @power accessories; >laptops; capacity=watt; condition=part
# Computers/Tablets & Networking > Laptop & Desktop Accessories > Cases & Bags
laptop case|laptop sleeve|laptop bag
    @bags; >laptops; color=fashion; size=laptop; material=bag
# Computers/Tablets & Networking > Tablets & eReaders
tablet|tablet computer|tablet pc
    *2; @tablets; color=tech; capacity=storage; condition=device; feature=tablet
    +with keyboard|with case|w/ pen
# Computers/Tablets & Networking > Tablet Accessories
tablet case|tablet cover|tablet folio
    *2; ^tablet accessories; @phone accessories; >tablets; color=case; material=case; feature=case
tablet keyboard|keyboard case|keyboard folio
    ^tablet accessories; @phone accessories; >tablets; color=tech; feature=keyboard
# Computers/Tablets & Networking > Monitors
monitor|computer monitor|pc screen|display monitor
    @monitors; size=monitor; condition=device; feature=monitor; +with stand|w/ hdmi cable
# Computers/Tablets & Networking > Keyboards & Mice
mouse|computer mouse|pc mouse
    @peripherals; color=tech; condition=general; feature=mouse; +with dongle
keyboard|computer keyboard|pc keyboard
    @peripherals; color=tech; condition=general; feature=keyboard
# Computers/Tablets & Networking > Printers
printer|desktop printer|home printer
    @printers; condition=device; feature=printer; color=tech; +with ink|no ink
# Computers/Tablets & Networking > Ink & Toner
ink cartridge|printer ink|toner|ink refill
    *2; >printers; color=ink; size=pack; condition=part; feature=ink
# Computers/Tablets & Networking > Drives & Storage
ssd|solid state drive
    ^storage drives; @storage makers; capacity=drive; condition=general
external hard drive|portable hard drive|external hdd
    ^storage drives; @storage makers; capacity=drive; condition=general; color=tech
memory card|sd card|flash card
    ^storage drives; @storage makers; capacity=card; size=pack
# Consumer Electronics > TVs
tv|television|flat screen|telly
    *2; @tvs; size=tv; condition=device; feature=tv; +with remote|no stand|w/ wall mount
# Consumer Electronics > TV Accessories
tv remote|remote control replacement|television remote
    >tvs; condition=part
tv wall mount|tv bracket|television mount
    *0.5; @power accessories; size=tv; feature=tool
# Consumer Electronics > Headphones
headphones|head phones|headset
    *2; ^audio gear; @headphones; color=tech; condition=device; feature=audio; +with case|no cable
earbuds|ear buds|earphones|in ear headphones
    *2; ^audio gear; @headphones; color=tech; condition=device; feature=audio
    +with charging case|left bud only
# Consumer Electronics > Headphone Accessories
ear pads|earpads|replacement ear cushions
    *0.5; >headphones; color=tech; material=pet; size=pack
earbud case|charging case cover|ear bud case cover
    @phone accessories; >headphones; color=case; material=case
# Consumer Electronics > Portable Speakers
speaker|portable speaker|sound box
    ^audio gear; @speakers; color=tech; condition=device; feature=speaker
# Cameras & Photo > Digital Cameras
digital camera|camera|digicam|photo camera
    *2; @cameras; color=tech; condition=device; feature=camera
    +with 18-55mm lens|w/ battery|with strap|no charger
# Cameras & Photo > Camera Accessories
camera battery|replacement camera battery
    ^camera accessories; @power accessories; >cameras; size=pack
camera bag|camera case|photo bag
    ^camera accessories; @bags; >cameras; color=fashion; material=bag
# Video Games & Consoles > Consoles
game console|video game console|gaming console
    *2; @consoles; color=tech; capacity=drive; condition=device; feature=console
    +with 2 games|with controller|no controller|w/ cables
# Video Games & Consoles > Controllers
controller|gamepad|game controller|joypad
    >consoles; color=tech; condition=general; feature=mouse
# Video Games & Consoles > Video Games
video game|game disc|game
    *3; @games; >consoles; condition=general; feature=game; +no manual|with poster
"""

FASHION = """
# Clothing, Shoes & Accessories > Shoes > Athletic Shoes
sneakers|trainers|tennis shoes|athletic shoes
    *4; ^shoes; @sneakers; color=fashion; size=shoe; audience=people; condition=worn; material=shoe
    feature=shoe; +with box|no box|extra laces
running shoes|running sneakers|joggers shoes|running trainers
    *2; ^shoes; @sneakers; color=fashion; size=shoe; audience=people; condition=worn; feature=shoe; +no box
# Clothing, Shoes & Accessories > Shoes > Boots
boots|ankle boots|booties
    *2; ^shoes; @boots; color=fashion; size=shoe; audience=people; condition=worn; material=boot
    feature=boot; +with box
# Clothing, Shoes & Accessories > Shoes > Heels
heels|high heels|pumps|stilettos
    ^shoes; @heels; color=fashion; size=shoe; condition=worn; material=boot
# Clothing, Shoes & Accessories > Shoes > Sandals
sandals|flip flops|slides
    ^shoes; @sandals; color=fashion; size=shoe; audience=people; condition=worn; material=shoe
# Clothing, Shoes & Accessories > Clothing > Shirts & Tops
t shirt|tee|tshirt|t-shirt
    *3; ^tops; @apparel; color=fashion; size=clothes; audience=people; condition=worn; material=cloth
    feature=top
sweater|jumper|pullover sweater|knit top
    *2; ^tops; @apparel; color=fashion; size=clothes; audience=people; condition=worn; material=cloth
    feature=top
# Clothing, Shoes & Accessories > Clothing > Hoodies & Sweatshirts
hoodie|hooded sweatshirt|hoody
    *2; ^tops; @apparel; color=fashion; size=clothes; audience=people; condition=worn; feature=hoodie
# Clothing, Shoes & Accessories > Clothing > Coats & Jackets
jacket|coat|outerwear jacket
    *2; @outerwear; color=fashion; size=clothes; audience=people; condition=worn; material=cloth
    feature=jacket
# Clothing, Shoes & Accessories > Clothing > Jeans
jeans|denim pants|denims
    *2; ^bottoms; @denim; color=fashion; size=waist; audience=adults; condition=worn; feature=jeans
# Clothing, Shoes & Accessories > Clothing > Dresses
dress|frock|gown
    *2; @dress makers; color=fashion; size=clothes; condition=worn; material=cloth; feature=dress
# Clothing, Shoes & Accessories > Bags & Wallets > Handbags
handbag|purse|hand bag|pocketbook
    *2; ^bags; @bags; color=fashion; condition=worn; material=bag; feature=bag; +with dust bag
# Clothing, Shoes & Accessories > Bags & Wallets > Backpacks
backpack|rucksack|school bag|bookbag
    ^bags; @bags; color=fashion; condition=worn; material=bag; feature=bag; audience=people
# Clothing, Shoes & Accessories > Bags & Wallets > Wallets
wallet|billfold|pocket wallet
    @wallets; color=fashion; audience=adults; condition=worn; material=bag
# Jewelry & Watches > Fine Jewelry > Rings
ring|finger ring|engagement ring
    *2; ^jewelry; @jewelry; size=ring; material=jewel; color=jewel; audience=adults; feature=jewel
    +gift box|with appraisal
# Jewelry & Watches > Fine Jewelry > Necklaces
necklace|neck chain|necklace pendant
    ^jewelry; @jewelry; size=necklace; material=jewel; color=jewel; feature=jewel; +gift box
# Jewelry & Watches > Fine Jewelry > Earrings
earrings|ear rings|earring pair
    ^jewelry; @jewelry; material=jewel; color=jewel; audience=adults; +gift box
# Jewelry & Watches > Watches
watch|wristwatch|wrist watch|timepiece
    *2; @watches; color=fashion; material=band; audience=adults; condition=worn; feature=watch
    +with box & papers|extra links|no box
"""

HOME_AND_LEISURE = """
# Home & Garden > Furniture > Sofas
sofa|couch|settee
    *2; @sofas; color=home; material=furniture; condition=general; feature=sofa
    +with pillows|covers only washable
sofa cover|couch cover|couch slipcover|sofa slipcover
    @linens; >sofas; color=home; material=bedding
# Home & Garden > Furniture > Chairs
office chair|desk chair|computer chair
    *2; @seating; color=home; material=furniture; condition=general; feature=chair; +with headrest|no arms
# Home & Garden > Furniture > Desks & Tables
desk|computer desk|writing desk
    ^tables; @tables; color=home; material=wood; feature=table; condition=general
coffee table|cocktail table|living room table
    ^tables; @tables; color=home; material=wood; feature=table; condition=general
# Home & Garden > Furniture > Dressers
dresser|chest of drawers|bedroom drawers
    @tables; color=home; material=wood; size=drawer
# Home & Garden > Bedroom > Mattresses
mattress|bed mattress
    @beds; size=bed; material=foam; +free pillow
bed frame|bedstead|bed base
    @beds; size=bed; material=wood; color=home; +slats included
# Home & Garden > Bedroom > Bedding
comforter|duvet|quilt|bedspread
    *2; ^bedding; @linens; size=bed; color=home; material=bedding; feature=bedding; +with shams
sheet set|bed sheets|bedsheets
    *2; ^bedding; @linens; size=bed; color=home; material=bedding
# Home & Garden > Home Decor > Curtains
curtains|drapes|window panels|drapery
    @linens; color=home; size=curtain; feature=curtain; +rod not included
# Home & Garden > Home Decor > Rugs
area rug|rug|floor carpet
    @rugs; color=home; size=rug; material=rug; feature=rug
# Home & Garden > Home Decor > Lamps
lamp|table lamp|bedside lamp|accent lamp
    @lights; color=home; feature=lamp; condition=general; +bulb included|no bulb
# Home & Garden > Kitchen > Coffee Makers
coffee maker|coffee machine|coffeemaker
    *2; @coffee makers; color=appliance; condition=device; feature=coffee; +with filters|with pods
coffee pods|coffee capsules|refillable pod
    >coffee makers; size=pack
# Home & Garden > Kitchen > Cookware
frying pan|skillet|fry pan|frypan
    ^cookware; @cookware; size=pan; material=pan; feature=kitchen; color=pot
dutch oven|casserole pot|french oven
    ^cookware; @cookware; size=quart; material=pan; feature=kitchen; color=pot
# Home & Garden > Kitchen > Small Appliances
air fryer|airfryer|hot air fryer
    ^kitchen appliances; @kitchen appliances; size=quart; color=appliance; feature=fryer; condition=device
blender|smoothie maker|liquidizer
    ^kitchen appliances; @kitchen appliances; color=appliance; condition=device; +extra cup
stand mixer|cake mixer|kitchen mixer
    ^kitchen appliances; @kitchen appliances; size=quart; color=appliance; condition=device
    +with dough hook
# Home & Garden > Vacuums
vacuum cleaner|vacuum|hoover|vac
    *2; @vacuums; condition=device; feature=vacuum; color=appliance; +with attachments|no charger
vacuum filter|hoover filter|vac filter
    >vacuums; size=pack; condition=part
# Home & Garden > Garden > Mowers
lawn mower|lawnmower|grass cutter
    @mowers; condition=general; feature=mower; +with bag|no battery
mower blade|lawn mower blade|replacement mower blades
    >mowers; size=pack; condition=part
garden hose|water hose|hosepipe
    @garden makers; size=hose; color=home; feature=hose; +with nozzle
# Home & Garden > Tools > Power Tools
drill|power drill|drill driver
    *2; ^power tools; @power tools; feature=tool; condition=device; +2 batteries|no battery|with case
impact driver|impact gun
    ^power tools; @power tools; feature=tool; condition=device; +with charger & bag
circular saw|circ saw|skill saw
    ^power tools; @power tools; feature=tool; condition=device; +blade included
# Home & Garden > Tools > Tool Batteries
tool battery|drill battery|power tool battery pack
    @power accessories; >power tools; capacity=battery; size=pack; condition=part
# Motors > Parts > Brakes
brake pads|disc pads|brake pad set
    *2; ^brake parts; @car parts; >cars; material=brake; feature=part; condition=part; +with hardware
brake rotors|brake discs|disc rotors
    ^brake parts; @car parts; >cars; feature=part; condition=part
# Motors > Parts > Lighting
headlight|head lamp|headlamp assembly
    ^car lights; @car lights; >cars; feature=light; condition=part; color=case; +bulbs included
tail light|taillight|rear lamp
    ^car lights; @car lights; >cars; condition=part; feature=light
# Motors > Parts > Filters & Interior
cabin filter|cabin air filter|ac filter
    @car parts; >cars; size=pack; condition=part
floor mats|car mats|floor liners
    *2; >cars; color=home; material=mat
# Motors > Parts > Wheels
alloy wheel|car rim|wheel rim
    >cars; size=rim; color=appliance; condition=part; +no tire|center cap included
# Sporting Goods > Fitness
dumbbell|hand weight|free weight
    *2; ^fitness gear; @fitness makers; size=weight; material=weight; feature=fitness
kettlebell|kettle bell
    ^fitness gear; @fitness makers; size=weight; material=weight
yoga mat|exercise mat|pilates mat
    ^fitness gear; @fitness makers; color=fashion; feature=mat; +with strap
# Sporting Goods > Cycling
bicycle|bike|push bike|cycle
    *2; @bikes; size=wheel; color=fashion; material=frame; feature=bike; condition=general; audience=people
bike helmet|cycling helmet|bicycle helmet
    @bikes; size=clothes; color=fashion; audience=people
# Sporting Goods > Camping
tent|camping tent|backpacking tent
    ^camping gear; @camping; size=tent; color=fashion; feature=camp; condition=general; +with rainfly
sleeping bag|camping bag|mummy bag
    ^camping gear; @camping; color=fashion; feature=camp; audience=people; condition=general
# Sporting Goods > Fishing
fishing rod|fishing pole|angling rod
    ^fishing gear; @fishing; size=rod; feature=rod; condition=general
fishing line|fish line
    *0.5; ^fishing gear; @fishing; material=lure
# Sporting Goods > Golf
golf driver|driver golf club|golf club
    @golf makers; size=wrist; feature=golf; condition=general; +with headcover
# Toys & Hobbies > Building Toys
building set|brick set|building blocks
    *2; @brick sets; condition=general; feature=game; +no minifigures|with instructions
# Toys & Hobbies > Vehicles & Dolls
toy car|diecast car|model car
    ^toys; @toys; color=fashion; feature=toy; condition=worn
doll|dolly|toy doll
    ^toys; @toys; feature=toy; condition=worn
# Toys & Hobbies > Plush & Puzzles
plush|stuffed animal|plushie|soft toy
    ^toys; @plush makers; color=fashion; feature=plush
jigsaw puzzle|puzzle|jigsaw
    ^toys; @puzzles; size=pieces; condition=general
# Musical Instruments > Guitars
electric guitar|e guitar|solid body guitar
    ^guitars; @guitars; color=finish; condition=device; feature=guitar; +with gig bag|hard case included
acoustic guitar|folk guitar|steel string guitar
    ^guitars; @guitars; color=finish; condition=device; feature=guitar; +with gig bag
# Musical Instruments > Accessories & Strings
guitar strings|string set
    @string makers; size=pack; material=string
violin|fiddle|student violin
    *0.5; @instrument makers; size=violin; condition=general; +with bow & case
# Health & Beauty > Fragrances
perfume|fragrance|cologne|scent
    *2; @perfumes; size=bottle; audience=adults; feature=perfume; +sealed|no cap
# Health & Beauty > Hair Care
hair dryer|blow dryer|hairdryer
    ^hair tools; @hair tools; color=tech; feature=hair; condition=device; +with diffuser
flat iron|hair straightener|straightening iron
    ^hair tools; @hair tools; color=tech; feature=hair; condition=device
# Pet Supplies > Dogs
dog bed|pet bed|puppy bed
    ^dog supplies; @pet makers; size=pet; color=home; feature=pet
dog collar|puppy collar
    ^dog supplies; @pet makers; size=pet; color=fashion; material=pet; feature=pet
dog leash|dog lead
    ^dog supplies; @pet makers; color=fashion; material=pet; feature=pet
# Pet Supplies > Fish & Aquariums
aquarium filter|fish tank filter
    @aquarium makers; size=tank; +media included
aquarium|fish tank|fishtank
    @aquarium makers; size=tank; condition=general; +with light|no lid
# Baby > Strollers & Car Seats
stroller|pushchair|buggy|pram
    @strollers; color=fashion; feature=stroller; condition=general; +with rain cover
car seat|baby car seat|child seat
    @car seats; color=fashion; feature=seat; condition=general; +with base
# Baby > Diapering
diapers|nappies|baby diapers
    @baby care; size=baby
"""
