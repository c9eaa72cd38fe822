"""Verbs with their subject, object and other roles.

A line of `FRAMES`: verb[/past/participle] [~ other verbs for questions]: subject > object | preposition:kind …

An object in quotation marks is said as it stands. `=:kind` stands after the object without a preposition. Spaces within
a preposition or a verb are written as `_`. A verb with `!` is a state: no passive, no progressive. The kinds are those
of `nouns.py`.
"""

import re
from dataclasses import dataclass

FRAMES = """
mend ~ repair, fix: person > thing | with:tool in:room for:person
hide/hid/hidden ~ conceal: person > thing | in:container from:person
bury: person > thing | under:tree behind:building
paint: person > furniture | =:colour in:room
dye: person > garment | =:colour with:flower
name ~ call: person > animal | =:first after:person
nickname ~ call: person > person | =:nickname because:reason
borrow: person > thing | from:person for:event
lend/lent/lent: person > thing | to:person for:duration
steal/stole/stolen ~ take: person > thing | from:building with:person
sell/sold/sold: person > thing | to:person for:price
buy/bought/bought ~ purchase: person > thing | from:person for:price in:town
swap ~ trade, exchange: person > furniture | for:thing with:person
win/won/won: person > thing | in:town with:sport
lose/lost/lost: person > thing | in:building on:date
find/found/found ~ discover: person > thing | under:furniture in:room
leave/left/left ~ forget: person > thing | in:vehicle with:person
carry ~ bring: person > thing | to:building in:container
send/sent/sent ~ mail: person > thing | to:person from:town
hang/hung/hung: person > garment | in:room on:furniture
knit: person > garment | for:person from:fabric
sew/sewed/sewn ~ make: person > garment | for:person from:fabric
bake ~ make: person > dish | for:person with:food
cook ~ prepare, make: person > dish | for:person in:container
fry ~ cook: person > food | with:drink for:person
serve ~ offer: person > dish | with:drink to:person
order ~ ask for: person > dish | with:drink in:town
spill ~ pour: person > drink | on:garment in:room
drink/drank/drunk: person > drink | with:person in:vehicle
grow/grew/grown ~ raise: person > flower | behind:building in:container
plant: person > tree | near:building for:person
carve ~ cut: person > animal | out_of:rock with:tool
build/built/built ~ construct: person > building | for:person out_of:material
photograph: person > animal | from:building in:town
draw/drew/drawn ~ sketch: person > animal | with:tool on:garment
feed/fed/fed: person > animal | with:food in:room
catch/caught/caught ~ land: person > fish | in:river with:tool
rescue ~ save: person > animal | from:river with:tool
follow ~ track: person > animal | into:building with:dog
see/saw/seen ~ notice, spot: person > animal | near:building on:date
play: person > instrument | in:room for:person
practise: person > instrument | in:building at:time
learn ~ pick up: person > language | from:person in:town
study ~ learn: person > science | in:town with:person
translate: person > book | from:language for:company
read/read/read: person > book | in:room to:person
write/wrote/written ~ compose: person > "a poem" | about:plural for:person
dedicate: person > book | to:person because:reason
sign: person > "the contract" | with:tool in:room on:date
cancel ~ call off: person > "the trip" | because:reason on:date
miss: person > "the last train" | because:reason
postpone ~ put off: person > event | until:date because:reason
marry: person > person | in:town on:date
visit ~ go to see: person > town | with:person in:year
meet/met/met ~ run into: person > person | in:town on:date
invite: person > person | to:event with:dish
thank: person > person | for:thing
ask: person > person | for:thing in:language
pay/paid/paid: person > person | with:food for:thing
bribe: person > job | with:drink in:building
recognise ~ know: person > person | by:garment
mistake/mistook/mistaken ~ take: person > person | for:job
interview ~ question: person > person | about:plural in:room
drive/drove/driven ~ take: person > person | to:town in:vehicle
rent ~ hire: person > room | from:person for:price
open ~ unlock: person > container | with:tool in:room
lock ~ shut: person > animal | in:room because:reason
wrap ~ pack: person > thing | in:fabric for:person
pack ~ put: person > garment | into:container for:person
smuggle ~ bring: person > drink | into:country in:container
deliver ~ bring: person > thing | to:building in:vehicle
throw/threw/thrown ~ toss: person > thing | into:river because:reason
drop ~ let fall: person > thing | into:drink at:event
break/broke/broken ~ smash: person > thing | with:tool in:room
clean ~ wash: person > furniture | with:drink for:event
polish: person > instrument | with:food for:event
inherit ~ get: person > thing | from:person in:year
donate ~ give: person > furniture | to:company in:year
show/showed/shown ~ present: person > thing | to:person in:building
collect ~ gather: person > plural | in:town for:person
count: person > plural | in:room with:tool
keep/kept/kept ~ store: person > plural | in:container for:event
climb: person > mountain | with:person in:year
cross: person > river | on:animal with:person
explore: person > island | with:dog in:year
spend/spent/spent ~ waste: person > price | on:plural in:town
bet/bet/bet ~ stake: person > price | on:animal with:person
owe !: person > price | to:person
wear/wore/worn !: person > garment | at:event
sharpen: person > tool | with:rock in:room
tie ~ fasten: person > animal | to:tree with:fabric
weave/wove/woven ~ make: person > fabric | for:person in:town
shave: person > animal | with:tool for:event
ride/rode/ridden: person > animal | to:town with:person
warn ~ alert: person > person | about:animal in:language
help ~ assist: person > person | with:science in:room
teach/taught/taught: person > person | =:language in:building
beat/beat/beaten ~ defeat: person > person | at:sport in:town
nurse ~ care for: person > person | through:illness in:town
treat: person > person | for:illness with:drink
reward: person > person | with:dish for:doing
fine: company > person | for:doing in:year
hire ~ employ: company > person | as:job in:town
appoint ~ make: company > person | as:job on:date
sack ~ dismiss: company > person | because:reason on:date
sue: company > company | over:plural in:town
open: company > building | in:town on:date
close ~ shut: company > building | in:town because:reason
demolish ~ tear down: company > building | in:year because:reason
ban ~ forbid: town > plural | because:reason in:year
export ~ sell: company > plural | to:country by:vehicle
import ~ buy: company > plural | from:country
rename: company > vehicle | =:nickname after:person
launch: company > vehicle | on:date in:town
choose/chose/chosen ~ pick: town > animal | as_its_emblem because:reason
hire_out ~ rent out: company > vehicle | for:price in:town
sponsor: company > event | with:price in:year
publish ~ print: company > book | in:year for:person
restore: company > furniture | with:material for:person
live ~ dwell !: person | in:town with:person above:building
work: person | for:company as:job in:town
sleep/slept/slept ~ spend the night: person | in:vehicle with:dog
rest: person | under:tree with:book
wait: person | for:person at:building
travel ~ go: person | to:country with:person in:vehicle
sail ~ go: person | to:island with:animal
flee/fled/fled ~ run away: person | to:country in:garment because:reason
fall/fell/fallen: person | into:river because:reason
swim/swam/swum: person | in:river with:dog
dance: person | with:person in:building
sing/sang/sung: person | about:plural in:building for:person
complain ~ grumble: person | about:plural to:person
talk ~ speak: person | about:science with:person in:room
dream/dreamt/dreamt: person | of:plural in:vehicle
apologise ~ say sorry: person | to:person for:thing
retire: person | to:island in:year because:reason
arrive ~ turn up: person | at:time in:vehicle with:dog
move ~ go: person | to:town in:year with:animal
crouch ~ hide: person | behind:furniture with:dog
suffer: person | from:illness in:year
recover: person | from:illness in:town
quarrel ~ argue: person | with:person over:thing
pray: person | for:thing in:building
hunt ~ look: person | for:thing in:room with:tool
laugh: person | at:garment during:event
stumble ~ trip: person | over:container in:room
bargain ~ haggle: person | over:furniture in:town
lecture ~ speak: person | on:plural in:building at:time
invest: person | in:company because:reason
volunteer: person | as:job in:town
feast ~ dine: person | on:dish with:person
lodge ~ stay !: person | with:person in:building
eat/ate/eaten ~ devour: animal > food | in:room on:date
bite/bit/bitten: animal > person | in:building
chase ~ hunt: animal > animal | into:river
swallow: animal > thing | in:room on:date
knock_over ~ upset: animal > container | in:room
guard: animal > building | for:person
scare ~ frighten: animal > job | in:building
damage ~ ruin: animal > instrument | in:room
sleep/slept/slept ~ lie: animal | on:furniture in:room
nest: animal | in:garment near:building
escape ~ get away: animal | from:building on:date
wander ~ stray: animal | into:room during:event
contain ~ hold !: container > plural | from:town
hold/held/held !: container > plural | for:person
belong !: thing | to:person
cost/cost/cost !: thing > price | in:town
weigh !: furniture > weight
stand/stood/stood !: furniture | in:room behind:tree
lie/lay/lain !: tool | under:furniture in:room
hang/hung/hung !: garment | in:room near:furniture
smell ~ reek !: room | of:food because:reason
taste !: dish | of:flower because:reason
come/came/come !: instrument | from:country
date ~ come !: furniture | from:year
vanish ~ disappear: thing | from:room during:event
sink/sank/sunk ~ go down: vehicle | near:island with:plural
crash ~ run: vehicle | into:building in:town
stop ~ halt: vehicle | at:building because:reason
leave/left/left ~ depart: vehicle | at:time for:country
belong !: vehicle | to:company
carry !: vehicle > plural | to:island for:company
burn_down ~ catch fire: building | in:year because:reason
collapse ~ fall down: building | on:date because:reason
open: building | at:time on:date
house ~ hold !: building > plural | for:company
begin/began/begun ~ start: event | at:time in:room
end ~ finish: event | with:dish at:time
take_place/took_place/taken_place ~ happen: event | in:building on:date
honour ~ celebrate: event > person | in:town
flood: river > building | in:year
cross !: river > town | near:building
protect: garment > person | from:drink at:event
replace: thing > thing | in:room since:year
inspire: animal > book | in:year
"""

VOWEL_CONSONANT = re.compile(r"(?:^|[^aeiou])[aeiou][bdgklmnprt]$")
DOUBLED = "knit drop ship tip stop trap plan chat ban swap beg rob trip fit wrap nag".split()


@dataclass(frozen=True)
class Verb:
    """Forms of a verb that may have a particle: base, past, participle, third person, -ing; `others`: for questions."""

    base: str
    past: str
    participle: str
    third: str
    ing: str
    others: tuple = ()


@dataclass(frozen=True)
class Role:
    preposition: str  # "" for an object's complement
    kind: str


@dataclass(frozen=True)
class Frame:
    number: int
    verb: Verb
    subject: str
    object: str | None  # a kind, or a text in quotation marks
    roles: tuple
    tail: str  # a phrase that always follows the object
    state: bool


def past_of(base):
    if base.endswith("e"):
        return base + "d"
    if re.search(r"[^aeiou]y$", base):
        return base[:-1] + "ied"
    return base + base[-1] + "ed" if base in DOUBLED else base + "ed"


def ing_of(base):
    if base.endswith("ie"):
        return base[:-2] + "ying"
    if base.endswith("e") and not base.endswith(("ee", "ye")):
        return base[:-1] + "ing"
    short = "win hit cut bet run swim begin sit get put let set".split()
    return base + base[-1] + "ing" if base in DOUBLED or base in short else base + "ing"


def third_of(base):
    if re.search(r"(s|x|z|ch|sh|o)$", base):
        return base + "es"
    return base[:-1] + "ies" if re.search(r"[^aeiou]y$", base) else base + "s"


def verb_of(text):
    head, _, others = text.partition("~")
    base, *rest = (part.strip().replace("_", " ") for part in head.split("/"))
    first, _, particle = base.partition(" ")
    particle = " " + particle if particle else ""
    past, participle = rest if rest else (past_of(first) + particle,) * 2
    return Verb(
        base,
        past,
        participle,
        third_of(first) + particle,
        ing_of(first) + particle,
        tuple(other.strip() for other in others.split(",") if other.strip()),
    )


def frame_of(number, line):
    head, _, rest = line.partition(":")
    state = "!" in head
    before, _, roles = rest.partition("|")
    subject, _, what = (part.strip() for part in before.partition(">"))
    made, tail = [], ""
    for role in roles.split():
        preposition, colon, kind = role.partition(":")
        if colon:
            made.append(Role("" if preposition == "=" else preposition.replace("_", " "), kind))
        else:
            tail = preposition.replace("_", " ")
    return Frame(number, verb_of(head.replace("!", "")), subject, what or None, tuple(made), tail, state)


ALL = tuple(frame_of(i, line) for i, line in enumerate(FRAMES.strip().splitlines()))
HELD_OUT_EVERY = 7
# a family is a verb with all its frames, so that no verb of the check is in training
FAMILIES = tuple(dict.fromkeys(f.verb.base for f in ALL))
HELD_VERBS = frozenset(FAMILIES[5::HELD_OUT_EVERY])
TRAIN = tuple(f for f in ALL if f.verb.base not in HELD_VERBS)
HELD_OUT = tuple(f for f in ALL if f.verb.base in HELD_VERBS)


def frames_of(split):
    return HELD_OUT if split == "heldOut" else TRAIN
