"""Noun phrases: what stands in a sentence for a person, a thing or a place, and how later sentences refer to it."""

import re
from dataclasses import dataclass

from armt_train.tasks.values import RELATIVES, article

# kind -> word lists of what has an article
LISTS = {
    "thing": ("usual artifact", "usual artifact", "tool", "artifact"),
    "tool": ("tool",),
    "furniture": ("furniture",),
    "container": ("container",),
    "instrument": ("instrument",),
    "garment": ("garment",),
    "vehicle": ("vehicle",),
    "room": ("room",),
    "building": ("building",),
    "animal": ("usual animal", "animal", "bird"),
    "dog": ("dog",),
    "fish": ("fish",),
    "tree": ("tree",),
    "job": ("job", "profession"),
    "plant": ("flower", "tree"),
}
MASS = {
    "food": ("usual food", "fruit", "food"),
    "dish": ("dish", "usual food"),
    "drink": ("drink",),
    "fabric": ("fabric",),
    "rock": ("rock",),
    "material": ("fabric", "rock", "usual substance"),
    "flower": ("flower",),
    "illness": ("illness",),
    "science": ("science",),
    "sport": ("sport",),
    "language": ("language",),
    "country": ("country",),
    "island": ("island",),
    "mountain": ("mountain",),
}
# values that are made, and said as they are
MADE = {
    "plural",
    "price",
    "weight",
    "date",
    "year",
    "time",
    "duration",
    "nickname",
    "reason",
    "doing",
    "colour",
    "first",
}
PLACES = {
    "room",
    "building",
    "town",
    "country",
    "island",
    "river",
    "mountain",
    "tree",
    "vehicle",
    "furniture",
    "container",
}
HE, SHE, IT, THEY = ("he", "him"), ("she", "her"), ("it", "it"), ("they", "them")


@dataclass(frozen=True)
class Noun:
    """`before` + `answer` + `after` is the phrase; `again` is how it is referred to later."""

    kind: str
    before: str
    answer: str
    after: str = ""
    again: str = ""
    pronoun: tuple = IT

    @property
    def text(self):
        return self.before + self.answer + self.after

    @property
    def later(self):
        return self.again or self.text


def person_name(words, rng, own, full=None):
    """A name, and its pronouns."""
    female = rng.random() < 0.5
    if own:
        first = words.pick(rng, "female" if female else "male")
    else:
        first = words.any(rng, "female" if female else "male")
    if full is None:
        full = rng.random() < 0.3
    last = (words.last(rng) if own else words.any(rng, "last")) if full else ""
    return (f"{first} {last}" if last else first), first, SHE if female else HE


def noun(words, rng, kind, own):
    """A phrase of a kind; where `own`, its words are of the split, so that it can be an answer."""
    draw = lambda lists: words.common(rng, rng.choice(lists), own)
    if kind == "person":
        return person(words, rng, own)
    if kind in LISTS:
        value = draw(LISTS[kind])
        for _ in range(4):
            # "a trousers"
            if not re.search(r"[^suio]s$", value):
                break
            value = draw(LISTS[kind])
        return counted(words, rng, kind, value)
    if kind in MASS:
        value = draw(MASS[kind])
        before = "the " if kind == "flower" and rng.random() < 0.2 else ""
        if kind in ("food", "dish", "drink", "flower") and rng.random() < 0.15:
            before = rng.choice(("some ", "a little ", "too much ", "a bit of "))
        return Noun(kind, before, value, again=f"the {value}" if before else value)
    if kind in MADE:
        return Noun(kind, "", words.value(rng, kind), pronoun=THEY if kind == "plural" else IT)
    if kind == "town":
        return Noun(kind, "", words.value(rng, "town") if own else words.key_town(rng))
    if kind == "river":
        return Noun(kind, "the ", words.value(rng, "river") if own else words.any(rng, "river"))
    if kind == "company":
        return Noun(kind, "", words.value(rng, "company") if own else words.key_org(rng))
    if kind in ("event", "book"):
        return Noun(kind, "", getattr(words, "key_" + kind)(rng))
    raise ValueError(f"unknown kind of noun: {kind}")


def counted(words, rng, kind, value):
    roll = rng.random()
    again = f"the {value}"
    if kind in ("room", "building") and roll < 0.75 or roll < 0.25:
        return Noun(kind, "the ", value, again=again)
    if roll < 0.4:
        adjective = words.any(rng, "adjective")
        return Noun(kind, f"{article(adjective)} {adjective} ", value, again=again)
    if roll < 0.5:
        return Noun(kind, f"{words.any(rng, rng.choice(('female', 'male')))}'s ", value, again=again)
    if roll < 0.56:
        return Noun(kind, "the ", value, f" from {words.any(rng, 'town')}", again=again)
    return Noun(kind, f"{article(value)} ", value, again=again)


def person(words, rng, own):
    name, first, pronoun = person_name(words, rng, own)
    roll = rng.random()
    if own or roll < 0.65:
        return Noun("person", "", name, again=first if not own else "", pronoun=pronoun)
    if roll < 0.8:
        relative = rng.choice(RELATIVES)
        return Noun("person", f"{first}'s ", relative, pronoun=gender(relative, rng))
    if roll < 0.9:
        job = words.any(rng, "job")
        return Noun("person", "the ", job, again=f"the {job}", pronoun=rng.choice((HE, SHE)))
    place = words.any(rng, "town")
    return Noun("person", "", name, f" from {place}", again=first, pronoun=pronoun)


def gender(relative, rng):
    if re.search(r"father|uncle|brother|son$|husband|nephew|landlord", relative):
        return HE
    if re.search(r"mother|aunt|sister|daughter|wife|niece", relative):
        return SHE
    return rng.choice((HE, SHE))
