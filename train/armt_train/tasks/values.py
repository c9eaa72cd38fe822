"""Keys and values of open facts, drawn from the corpus's word lists or made up. No word of a made-up value is shared
between training and check either.
"""

import re

from armt_train.data.vocabulary import RUDE, held_out
from armt_train.tasks.forms_extra import MoreValues

COLOURS = (
    "red blue green yellow white black brown purple orange pink grey golden silver crimson turquoise violet beige "
    "maroon olive teal ivory scarlet amber"
).split()
MONTHS = "January February March April May June July August September October November December".split()
RELATIVES = (
    "grandfather grandmother father mother uncle aunt brother sister cousin neighbour landlord teacher boss daughter "
    "son husband wife niece nephew flatmate dentist"
).split()
START, MIDDLE, END = (
    "b br c cl d dr f fl g gr h j k kl l m n p pr r s st t tr v w z sh th".split(),
    "a e i o u ai ei au ou ie".split(),
    "n r l s t k d m v nd rt lm st sk".split(),
)
DAYS = ("Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday")
PLACES = [
    "under the {a} {t}",
    "behind the {t}",
    "beneath the {a} {t}",
    "between the {t} and the {u}",
    "inside the {a} {t}",
    "below the {t} in the {r}",
    "near the {t}",
    "beside the {a} {t}",
]
COMMON = 0.6  # how often a word is one in usual use, where a list has enough of them
LEAST_COMMON = 6
SYMBOLS = "abcdefghjkmnpqrstuvwxyz23456789"


def article(word):
    """By sound, as far as spelling tells: a unicorn, an uneven floor, a eucalyptus, an hour."""
    vowel = r"[ai]|e(?!u|we)|o(?!ne\b|nce\b)|u(?!ni(?![mn])|s[eu]|ten|ke|kul|ra|ro|biq)|hou?r\b|honest|hono|heir"
    return "an" if re.match(vowel, word, re.I) else "a"


PLURALS = {
    "man": "men",
    "foot": "feet",
    "tooth": "teeth",
    "goose": "geese",
    "mouse": "mice",
    "louse": "lice",
    "child": "children",
}


def plural(noun):
    for one, many in PLURALS.items():
        if noun.endswith(one) and not noun.endswith("human"):
            return noun[: -len(one)] + many
    # "pliers" and "castanets" are plurals already
    if re.search(r"[^sui]s$|fish$|sheep$|deer$", noun):
        return noun
    if re.search(r"(?:kni|li|wi)fe$|(?:lea|loa|shel|hal|el|cal|scar)f$", noun):
        return re.sub(r"fe?$", "ves", noun)
    if re.search(r"(s|x|z|ch|sh)$", noun):
        return noun + "es"
    if re.search(r"[^aeiou]y$", noun):
        return noun[:-1] + "ies"
    return noun + "s"


class Words(MoreValues):
    """Draws keys and values of one split. `lists` are the split's word lists, `shared` those of training: keys may be
    of any word, values only of the split's.
    """

    VALUE_LISTS = {
        "food": ("usual food", "dish", "fruit", "food"),
        "thing": ("usual artifact", "usual artifact", "tool", "artifact"),
        "job": ("job", "profession", "usual person"),
        "container": ("container", "usual artifact", "furniture"),
        "material": ("fabric", "rock", "usual substance"),
        "petof": ("dog", "bird", "usual animal", "animal"),
        "building": ("building",),
        "room": ("room",),
    }

    def __init__(self, split, lists, shared):
        self.split, self.lists, self.shared = split, lists, shared
        usual = {
            w for part in (lists, shared) for name, found in part.items() if name.startswith("usual ") for w in found
        }
        self.usual = [
            {name: [w for w in found if w in usual] for name, found in part.items()} for part in (shared, lists)
        ]

    def common(self, rng, name, own):
        """A word of a list, of the split if `own`, more often than not one in usual use."""
        found = self.usual[own].get(name) if rng.random() < COMMON else None
        return rng.choice(found if found and len(found) >= LEAST_COMMON else (self.lists if own else self.shared)[name])

    def pick(self, rng, *names):
        return rng.choice(self.lists[rng.choice(names)])

    def any(self, rng, name):
        return rng.choice(self.shared[name])

    def invented(self, rng):
        """A pronounceable name that nobody has, of this split."""
        while True:
            name = "".join(
                rng.choice(START) + rng.choice(MIDDLE) + (rng.choice(END) if rng.random() < 0.5 else "")
                for _ in range(rng.choice((1, 2, 2, 2, 3)))
            )
            if 4 <= len(name) <= 10 and held_out(name) == (self.split == "heldOut") and not RUDE.search(name):
                return name.capitalize()

    def first(self, rng):
        return self.pick(rng, "female", "male") if rng.random() < 0.85 else self.invented(rng)

    def last(self, rng):
        return self.pick(rng, "last") if rng.random() < 0.8 else self.invented(rng)

    def number(self, rng, digits):
        return str(rng.randrange(10 ** (digits - 1), 10**digits))

    def value(self, rng, kind):
        lists = self.VALUE_LISTS.get(kind)
        if lists:
            return self.pick(rng, *lists)
        return getattr(self, "value_" + kind, lambda r: self.pick(r, kind))(rng)

    def value_town(self, rng):
        return self.pick(rng, "town") if rng.random() < 0.5 else self.invented(rng)

    def value_river(self, rng):
        return self.pick(rng, "river") if rng.random() < 0.4 else self.invented(rng)

    def value_fullname(self, rng):
        return f"{self.first(rng)} {self.last(rng)}"

    def value_first(self, rng):
        return self.first(rng)

    def value_company(self, rng):
        kind = rng.randrange(4)
        if kind == 0:
            return f"{self.last(rng)} & {self.last(rng)}"
        if kind == 1:
            kinds = ("Bank", "Gazette", "Brewery", "Museum", "Railway", "Theatre", "Institute")
            return f"the {self.pick(rng, 'town')} {rng.choice(kinds)}"
        return (
            f"{self.invented(rng)} {rng.choice(('Ltd', 'Systems', 'Labs', 'Foods', 'Motors', 'Press', 'Group'))}"
            if kind == 2
            else self.invented(rng)
        )

    def value_nickname(self, rng):
        kind = rng.randrange(3)
        if kind == 0:
            return f"the {self.pick(rng, 'usual animal', 'animal', 'usual artifact').title()}"
        return (
            f"{self.pick(rng, 'adjective').capitalize()} {self.pick(rng, 'usual artifact', 'usual animal').title()}"
            if kind == 1
            else self.invented(rng)
        )

    def value_plural(self, rng):
        noun = plural(
            self.pick(
                rng,
                "usual artifact",
                "usual animal",
                "bird",
                "tool",
                "instrument",
                "garment",
                "flower",
                "usual food",
                "rock",
            )
        )
        return noun if rng.random() < 0.6 else f"{self.pick(rng, 'adjective')} {noun}"

    def value_colour(self, rng):
        return rng.choice([c for c in COLOURS if held_out(c) == (self.split == "heldOut")])

    def value_place(self, rng):
        form = rng.choice(PLACES)
        draw = lambda: self.pick(rng, "usual artifact", "tree", "furniture")
        return form.format(a=self.pick(rng, "adjective"), t=draw(), u=draw(), r=self.any(rng, "room"))

    def value_date(self, rng):
        day, month = rng.randint(1, 28), rng.choice(MONTHS)
        return f"{month} {day}" if rng.random() < 0.5 else f"{day} {month}"

    def value_year(self, rng):
        return str(rng.randint(1650, 2024))

    def value_phone(self, rng):
        return f"{self.number(rng, 3)}-{self.number(rng, 4)}"

    def value_roomnumber(self, rng):
        return self.number(rng, 3) if rng.random() < 0.7 else f"{rng.choice('ABCDEFG')}{self.number(rng, 2)}"

    def value_price(self, rng):
        amount = rng.choice((self.number(rng, 2), self.number(rng, 3), f"{rng.randint(1, 90)},{rng.randint(100, 999)}"))
        return rng.choice(("{} pounds", "{} euros", "{} dollars", "${}", "{} crowns")).format(amount)

    def value_weight(self, rng):
        return f"{rng.randint(2, 900)} {rng.choice(('grams', 'kilograms', 'pounds', 'tons', 'ounces'))}"

    def value_code(self, rng):
        letters = "ABCDEFGHKLMNPRSTVX"
        return f"{rng.choice(letters)}{rng.choice(letters)}-{self.number(rng, rng.choice((2, 3, 4)))}"

    def value_digits(self, rng):
        return self.number(rng, rng.choice((3, 4, 4, 5, 6)))

    def value_password(self, rng):
        kind = rng.randrange(3)
        if kind == 0:
            return (
                f"{self.pick(rng, 'usual artifact', 'usual animal', 'adjective').replace(' ', '')}{self.number(rng, 2)}"
            )
        return (
            f"{self.pick(rng, 'adjective')}-{self.pick(rng, 'usual artifact', 'usual food')}".replace(" ", "-")
            if kind == 1
            else "".join(rng.choice(SYMBOLS) for _ in range(6))
        )

    def value_email(self, rng):
        return f"{self.last(rng).lower()}@{self.invented(rng).lower()}.{rng.choice(('org', 'com', 'net', 'eu'))}"

    def value_time(self, rng):
        minute = rng.choice(("00", "05", "10", "15", "20", "30", "40", "45", "50", "55"))
        return rng.choice(
            (f"{rng.randint(6, 22)}:{minute}", f"{rng.randint(1, 12)}:{minute} {rng.choice(('am', 'pm'))}")
        )

    def value_number(self, rng):
        return rng.choice((f"{rng.randint(1, 99)},{rng.randint(100, 999)}", str(rng.randint(20, 990))))

    def value_smallnumber(self, rng):
        return str(rng.randint(1, 60))

    def value_version(self, rng):
        return ".".join(str(rng.randint(0, 20)) for _ in range(rng.choice((2, 3))))

    def value_port(self, rng):
        return self.number(rng, rng.choice((4, 5)))

    # keys; of any split's words, since a key is given in the question

    def key(self, rng, kind):
        return getattr(self, "key_" + kind)(rng)

    def key_person(self, rng):
        name = lambda: rng.choice((self.any(rng, "female"), self.any(rng, "male"), self.invented(rng)))
        kind = rng.randrange(6)
        if kind <= 1:
            return name()
        if kind == 2:
            return f"{name()} {self.any(rng, 'last')}"
        if kind == 3:
            return f"{name()}'s {rng.choice(RELATIVES)}"
        return (
            f"the {self.any(rng, 'adjective')} {self.any(rng, 'usual person')}"
            if kind == 4
            else f"the {self.any(rng, 'job')} from {self.any(rng, 'town')}"
        )

    def key_thing(self, rng):
        noun = rng.choice(
            (
                self.any(rng, "usual artifact"),
                self.any(rng, "tool"),
                self.any(rng, "furniture"),
                self.any(rng, "instrument"),
            )
        )
        kind = rng.randrange(5)
        if kind == 0:
            return f"the {noun}"
        if kind <= 2:
            return f"the {rng.choice((self.any(rng, 'adjective'), rng.choice(COLOURS)))} {noun}"
        return (
            f"{self.any(rng, rng.choice(('female', 'male')))}'s {noun}"
            if kind == 3
            else f"the {noun} from {self.any(rng, 'town')}"
        )

    def key_lock(self, rng):
        lock = rng.choice(
            (
                "gate",
                "door",
                "vault",
                "safe",
                "locker",
                "cabinet",
                "archive",
                "chest",
                "garage",
                "shed",
                "lift",
                "alarm",
                "bicycle lock",
                "suitcase",
                "cellar",
                "boathouse",
            )
        )
        return rng.choice(
            (
                f"the {self.any(rng, 'adjective')} {lock}",
                f"{self.any(rng, 'female')}'s {lock}",
                f"the {lock} in the {self.any(rng, 'room')}",
                f"the {self.any(rng, 'building')} {lock}",
            )
        )

    def key_account(self, rng):
        return rng.choice(
            (
                f"the {self.any(rng, 'usual artifact')} account",
                f"the {self.invented(rng)} server",
                f"{self.any(rng, 'male')}'s laptop",
                f"the {self.any(rng, 'adjective')} database",
                f"the {self.any(rng, 'building')} network",
            )
        )

    def key_org(self, rng):
        return rng.choice(
            (
                f"{self.invented(rng)} {rng.choice(('Ltd', 'Labs', 'Foods', 'Press', 'Group'))}",
                f"{self.any(rng, 'last')} & {self.any(rng, 'last')}",
                f"the {self.any(rng, 'town')} {rng.choice(('Bank', 'Gazette', 'Brewery', 'Museum', 'Club', 'School'))}",
                f"the {self.any(rng, 'adjective')} {self.any(rng, 'building')}",
            )
        )

    def key_project(self, rng):
        return rng.choice(
            (
                f"Project {self.any(rng, 'usual animal').title()}",
                f"Operation {self.any(rng, 'usual artifact').title()}",
                f"the {self.any(rng, 'usual artifact')} project",
                f"the {self.invented(rng)} study",
            )
        )

    def key_event(self, rng):
        event = rng.choice(
            (
                "meeting",
                "concert",
                "lecture",
                "wedding",
                "funeral",
                "workshop",
                "auction",
                "rehearsal",
                "exam",
                "dinner",
                "parade",
                "hearing",
            )
        )
        return rng.choice(
            (
                f"the {self.any(rng, 'usual artifact')} {event}",
                f"{self.any(rng, 'female')}'s {event}",
                f"the {event} on {rng.choice(DAYS)}",
                f"the {self.any(rng, 'adjective')} {event}",
                f"the {event} of the {self.any(rng, 'usual person')}s",
            )
        )

    def key_town(self, rng):
        return rng.choice((self.any(rng, "town"), self.invented(rng), self.invented(rng)))

    def key_book(self, rng):
        title = rng.choice(
            (
                f"The {self.any(rng, 'adjective').title()} {self.any(rng, 'usual artifact').title()}",
                f"{self.any(rng, 'usual animal').title()} and {self.any(rng, 'usual artifact').title()}",
                f"The {self.any(rng, 'usual person').title()} of {self.invented(rng)}",
            )
        )
        return rng.choice((title, f'"{title}"', f"the {rng.choice(('novel', 'poem', 'play', 'film'))} {title}"))

    def key_animal(self, rng):
        animal = rng.choice(
            (
                self.any(rng, "usual animal"),
                self.any(rng, "dog"),
                self.any(rng, "bird"),
                "dog",
                "cat",
                "horse",
                "parrot",
            )
        )
        return rng.choice(
            (
                f"{self.any(rng, 'female')}'s {animal}",
                f"the {self.any(rng, 'adjective')} {animal}",
                f"the {animal} of the {self.any(rng, 'usual person')}",
            )
        )

    def key_train(self, rng):
        return rng.choice(
            (
                f"the train to {self.any(rng, 'town')}",
                f"flight {rng.choice('ABCDEFKLMQST')}{rng.choice('ABCDEFKLMQST')}{self.number(rng, 3)}",
                f"the bus to {self.invented(rng)}",
                f"the ferry to {self.any(rng, 'island')}",
            )
        )

    def key_software(self, rng):
        return rng.choice(
            (
                self.invented(rng).lower(),
                f"the {self.any(rng, 'usual artifact')} service",
                f"lib{self.invented(rng).lower()}",
                f"the {self.invented(rng)} plugin",
            )
        )
