"""What streams tell: a world makes sentences and the questions about them. Each stream has worlds of its own.

`tell(rng)` gives a sentence and its fact; `read(fact)` is called when the stream has handed out the sentence;
`ask(rng, fact)` gives a question about what was read, or None where a fact no longer holds.
"""

import re
from dataclasses import dataclass
from uuid import UUID

from armt_train.tasks import contexts, forms_extra
from armt_train.tasks.relations import RELATIONS
from armt_train.tasks.values import article

OPENINGS = [
    "",
    "",
    "",
    "",
    "",
    "",
    "By the way, ",
    "As far as I know, ",
    "It turned out that ",
    "I heard that ",
    "Note that ",
    "Remember that ",
    "According to the minutes, ",
    "P.S. ",
    "In the letter it says that ",
    "To our surprise, ",
    "Since the spring, ",
    "They say that ",
    "Everybody knows that ",
    "I should mention that ",
    "For the record, ",
    "We learned that ",
    "{n} told me that ",
    "{n} wrote that ",
    "Dear {n}, ",
    "{n}: ",
    "On the phone {n} said that ",
    "Between us, ",
]
ENDINGS = [
    "",
    "",
    "",
    "",
    "",
    "",
    "",
    ", as {n} says",
    ", or so it is said",
    ", and nobody minds",
    ", which surprised {n}",
    ", said {n}",
    ", I think",
    ", to be exact",
    ", believe it or not",
    ", as before",
    ", at least until winter",
]
# half of all sentences have neither, as most sentences in a text
OPENINGS += ["", ""] * 6 + list(forms_extra.OPENINGS)
ENDINGS += [""] * 8 + list(forms_extra.ENDINGS)
HELD_OPENINGS = ["", "", "", "The diary mentions that ", "{n} insists that ", "In short, "]
HELD_ENDINGS = ["", "", "", ", as was found out later", ", {n} remembers"]


@dataclass
class Fact:
    world: object
    key: object  # what it is about, unique in its world; a later fact of the same key overrides
    key_text: str
    value: str
    extra: object = None
    pairs: tuple = ()  # (key, value) texts of the slots loss, where they are not key_text and value alone
    # set by the stream
    start: int = 0
    end: int = 0
    asked: int = 0


@dataclass
class Ask:
    """`question` and `answer`; where `ends` is false the answer is the beginning of a longer text. `raw`: the question
    is a text to be continued, and a full stop ends it. `chat`: it is always asked in the base's chat template, where
    there is one.
    """

    question: str
    answer: str
    key_text: str
    raw: bool = False
    ends: bool = True
    weight: float = 1.0
    chat: bool = False


def sentence(text):
    return text[0].upper() + text[1:] + ("" if re.search(r"""[.?!]["')]*$|[>}|]$""", text) else ".")


class Open:
    """Facts of open vocabulary. `kinds` relations; with few, the kind of a question does not tell its fact."""

    task = "open facts"

    def __init__(self, words, rng, kinds, keys, change):
        self.words, self.change, self.keys = words, change, keys
        self.relations = rng.sample(RELATIONS, kinds)
        self.known = {}  # (relation, key) -> value, told and not necessarily read
        self.live = {}
        self.by_kind = {}

    def tell(self, rng):
        held = self.words.split == "heldOut"
        if self.known and (len(self.known) >= self.keys or rng.random() < self.change):
            relation, key = rng.choice(list(self.known))
        else:
            relation = rng.choice(self.relations)
            # several relations of the same thing, so that a key alone does not tell the answer
            same = [k for (r, k) in self.known if r.key == relation.key and (relation, k) not in self.known]
            key = rng.choice(same) if same and rng.random() < 0.3 else self.words.key(rng, relation.key)
        value = self.words.value(rng, relation.value)
        if relation.value == "nickname" and key in value or key == value:
            value = self.words.invented(rng)
        self.known[relation, key] = value
        statements = relation.statements[-1:] if held else relation.statements[:-1]
        form = rng.choice(statements)
        body = form.format(k=key, v="\0").replace(" a \0", " " + article(value) + " \0").replace("\0", value)
        opening, ending = (
            rng.choice(HELD_OPENINGS if held else OPENINGS),
            rng.choice(HELD_ENDINGS if held else ENDINGS),
        )
        if opening.rstrip().endswith((":", "P.S.")):
            body = sentence(body).rstrip(".")
        elif opening and not form.startswith("{"):
            body = body[0].lower() + body[1:]
        somebody = lambda: self.words.any(rng, rng.choice(("female", "male")))
        if not held and rng.random() < 0.25:
            text = sentence(contexts.around(body, rng, somebody, held))
        else:
            text = sentence((opening + body + ending).replace("{n}", somebody()))
        return text, Fact(self, (relation, key), key, value, extra=form)

    def read(self, fact):
        self.live[fact.key] = fact

    def ask(self, rng, fact):
        fact = self.live.get(fact.key)
        if fact is None:
            return None
        relation, key = fact.key
        held = self.words.split == "heldOut"
        if rng.random() < 0.25 and not held:
            form = rng.choice(relation.statements[:-1])
            before, _, after = form.partition("{v}")
            if not after.strip() and "{k}" in before:
                cue = before.rstrip().format(k=key)
                if cue.endswith(" a"):
                    cue = cue[:-1] + article(fact.value)
                return Ask(cue[0].upper() + cue[1:], fact.value, key, raw=True)
        questions = relation.questions[-1:] if held else relation.questions[:-1]
        question = rng.choice(questions).format(k=key)
        if rng.random() < 0.1:
            question = rng.choice(("Tell me: ", "Please: ", "Quick question: ", "Do you know? ")) + question
        return Ask(question, fact.value, key)


class Six:
    """The six kinds of assets/recall/task.json."""

    task = "six kinds"

    def __init__(self, texts, rng, kinds, keys, change):
        self.texts, self.keys, self.change = texts, keys, change
        self.kinds = rng.sample(texts.kinds, min(kinds, len(texts.kinds)))
        self.names = rng.sample(texts.names, min(100, len(texts.names)))
        self.bystanders = [self.names.pop() for _ in range(4)]
        self.known, self.live, self.words = {}, {}, {}

    def pick(self, rng, name):
        if name == "name":
            return self.names.pop() if self.names else None
        if name not in self.words:
            self.words[name] = rng.sample(self.texts.lists[name], len(self.texts.lists[name]))
        return self.words[name].pop() if self.words[name] else None

    def tell(self, rng):
        if self.known and (len(self.known) >= self.keys or rng.random() < self.change):
            key = rng.choice(list(self.known))
            kind, old = self.known[key]
        else:
            kind, old = rng.choice(self.kinds), None
            if len(kind["key"]) > 1:
                key = " ".join(rng.choice(self.texts.lists[part]) for part in kind["key"])
                if key in self.known:
                    kind, old = self.known[key]
            else:
                key = self.pick(rng, kind["key"][0])
                if key is None:
                    if not self.known:
                        return None
                    key = rng.choice(list(self.known))
                    kind, old = self.known[key]
        if kind["value"] == "code":
            value = "".join(rng.choice("0123456789") for _ in range(4))
        elif kind["value"] == "name":
            value = self.names.pop() if self.names else rng.choice(self.bystanders)
        else:
            value = rng.choice([v for v in self.texts.lists[kind["value"]] if v != old])
        self.known[key] = (kind, value)
        text = (
            rng.choice(kind["facts"][self.texts.split])
            .replace("{key}", key)
            .replace("{value}", value)
            .replace("{name}", rng.choice(self.bystanders))
        )
        return text, Fact(self, key, key, value, extra=kind)

    def read(self, fact):
        self.live[fact.key] = fact

    def ask(self, rng, fact):
        fact = self.live.get(fact.key)
        if fact is None:
            return None
        return Ask(
            rng.choice(fact.extra["questions"][self.texts.split]).replace("{key}", fact.key), fact.value, fact.key
        )


class Needles:
    """Needles as RULER draws them (arXiv 2404.06654): numbers, words or UUIDs, one or several for a key, and questions
    about one key or several.
    """

    task = "needles"

    def __init__(self, words, rng, kinds, keys, change):
        self.words, self.keys = words, keys
        self.kind = rng.choice(("number", "number", "word", "uuid"))
        self.digits = rng.choice((4, 5, 7))
        self.most = rng.choice((1, 1, 1, 2, 3))
        self.known, self.live = {}, {}

    def tell(self, rng):
        again = [k for k, values in self.known.items() if len(values) < self.most]
        if again and rng.random() < 0.6 or len(self.known) >= self.keys:
            if not again:
                return None
            key = rng.choice(again)
        else:
            key = (
                self.words.any(rng, "usual artifact")
                if rng.random() < 0.5
                else f"{self.words.any(rng, 'adjective')}-{self.words.any(rng, 'usual artifact')}".replace(" ", "-")
            )
            if key in self.known:
                return None
        value = self.value(rng)
        self.known.setdefault(key, []).append(value)
        return f"One of the special magic {self.kind}s for {key} is: {value}.", Fact(self, key, key, value)

    def value(self, rng):
        if self.kind == "number":
            return self.words.number(rng, self.digits)
        if self.kind == "uuid":
            return str(UUID(int=rng.getrandbits(128), version=4))
        return self.words.pick(rng, "usual artifact", "usual animal", "usual food", "usual act")

    def read(self, fact):
        self.live.setdefault(fact.key, []).append(fact)

    def ask(self, rng, fact):
        facts = self.live.get(fact.key)
        if not facts:
            return None
        others = [key for key, found in self.live.items() if key != fact.key and len(found) == 1]
        if len(facts) == 1 and others and rng.random() < 0.25:
            keys = [fact.key, *rng.sample(others, min(len(others), rng.randint(1, 3)))]
            rng.shuffle(keys)
            fact.end = max(self.live[key][0].end for key in keys)
            listed = f"{', '.join(keys[:-1])}{',' if len(keys) > 2 else ''} and {keys[-1]}"
            question = f"What are all the special magic {self.kind}s for {listed} mentioned in the provided text?"
            return Ask(question, ", ".join(self.live[key][0].value for key in keys), fact.key)
        if len(facts) > 1:
            return Ask(
                f"What are all the special magic {self.kind}s for {fact.key} mentioned in the provided text?",
                ", ".join(f.value for f in facts),
                fact.key,
            )
        return Ask(
            f"What is the special magic {self.kind} for {fact.key} mentioned in the provided text?",
            facts[0].value,
            fact.key,
        )


class Recite:
    """Sentences of the prose itself: their first words, and how they go on."""

    task = "recitation"

    def __init__(self, weight):
        self.weight = weight

    def fact(self, text):
        words = text.split()
        if not 12 <= len(words) <= 45:
            return None
        return Fact(self, id(self), " ".join(words[:4]), text, extra=words)

    def read(self, fact):
        pass

    def ask(self, rng, fact):
        words = fact.extra
        cue = rng.choice((3, 5, 6, 8, 8, 8, 10)) if len(words) >= 16 else rng.choice((4, 5, 6))
        start = rng.randrange(len(words) - cue - 5) if len(words) > cue + 8 and rng.random() < 0.3 else 0
        answer = " ".join(words[start + cue : start + cue + 5])
        begin = " ".join(words[start : start + cue])
        if rng.random() < 0.7:
            return Ask(begin, answer, begin, raw=True, ends=False, weight=self.weight)
        question = rng.choice(
            ('How does the sentence that begins with "{}" go on?', 'What comes after "{}"?', 'Continue: "{}"')
        ).format(begin)
        return Ask(question, answer, begin, ends=False, weight=self.weight)


class Stories:
    """Stories of the bAbI kind (arXiv 1502.05698), simulated: who is where, who carries what, who gave what to whom,
    what lies north of what.
    """

    task = "stories"
    MOVES = [
        "{p} went to the {l}.",
        "{p} moved to the {l}.",
        "{p} travelled to the {l}.",
        "{p} journeyed to the {l}.",
        "{p} went back to the {l}.",
    ]
    TAKES = [
        "{p} picked up the {o} there.",
        "{p} got the {o} there.",
        "{p} took the {o} there.",
        "{p} grabbed the {o} there.",
    ]
    DROPS = [
        "{p} put down the {o} there.",
        "{p} dropped the {o} there.",
        "{p} left the {o} there.",
        "{p} discarded the {o}.",
    ]
    GIVES = ["{p} gave the {o} to {q}.", "{p} handed the {o} to {q}.", "{p} passed the {o} to {q}."]
    PEOPLE = "Mary John Daniel Sandra Bill Fred Jeff Julie Emily Tom Anna Peter".split()
    ROOMS = "kitchen bathroom bedroom garden hallway office park school cinema cellar attic library".split()
    THINGS = "football apple milk cake lamp book ring box hat ball".split()
    BACK = {"north": "south", "south": "north", "east": "west", "west": "east"}

    def __init__(self, words, rng, kinds, keys, change):
        usual = rng.random() < 0.5 and words.split == "train"
        draw = lambda usual_list, make, n: (
            rng.sample(usual_list, n) if usual else list(dict.fromkeys(make() for _ in range(n)))
        )
        self.people = draw(self.PEOPLE, lambda: words.first(rng), rng.randint(2, 4))
        self.places = draw(self.ROOMS, lambda: words.pick(rng, "room", "building"), rng.randint(3, 6))
        self.things = draw(
            self.THINGS, lambda: words.pick(rng, "usual artifact", "tool", "usual food"), rng.randint(1, 3)
        )
        self.kind = rng.choice(("where", "where", "object", "object", "before", "gave", "north"))
        # as told
        self.at, self.held, self.lies = {}, {}, {}
        # as read: person -> place, thing -> places in order, gifts, maps; each with the position of its last evidence
        self.seen = {"at": {}, "held": {}, "trail": {}, "gifts": [], "map": {}}
        # of a map: sides that are taken, and the places that sentences join, so that no sentence contradicts another
        self.sides, self.joined = set(), {place: {place} for place in self.places}

    def tell(self, rng):
        if self.kind == "north":
            free = [(a, b) for a in self.places for b in self.places if b not in self.joined[a]]
            if not free:
                return None
            a, b = rng.choice(free)
            way = rng.choice(list(self.BACK))
            # one place at most on each side of another, seen from both
            if (way, b) in self.sides or (self.BACK[way], a) in self.sides:
                return None
            both = self.joined[a] | self.joined[b]
            self.joined.update(dict.fromkeys(both, both))
            self.sides |= {(way, b), (self.BACK[way], a)}
            return f"The {a} is {way} of the {b}.", self.make("map", (way, a, b), a, b)
        p = rng.choice(self.people)
        here = self.at.get(p)
        mine = [t for t, who in self.held.items() if who == p]
        free = [t for t in self.things if t not in self.held and self.lies.get(t, here) == here]
        others = [q for q in self.people if q != p]
        roll = rng.random()
        if here is None or roll < 0.45:
            place = rng.choice([x for x in self.places if x != here])
            self.at[p] = place
            return rng.choice(self.MOVES).format(p=p, l=place), self.make("move", (p, place), p, place)
        if mine and self.kind == "gave" and others and roll < 0.8:
            thing, q = rng.choice(mine), rng.choice(others)
            self.held[thing] = q
            return rng.choice(self.GIVES).format(p=p, o=thing, q=q), self.make("give", (p, thing, q), thing, q)
        if mine and roll < 0.6:
            thing = rng.choice(mine)
            del self.held[thing]
            self.lies[thing] = here
            return rng.choice(self.DROPS).format(p=p, o=thing), self.make("drop", (p, thing), p, thing)
        if free:
            thing = rng.choice(free)
            self.held[thing] = p
            return rng.choice(self.TAKES).format(p=p, o=thing), self.make("take", (p, thing), p, thing)
        return None

    def make(self, kind, event, key, value):
        return Fact(self, (kind, event), key, value, extra=(kind, event))

    def read(self, fact):
        kind, event = fact.extra
        seen = self.seen
        if kind == "map":
            seen["map"][event] = fact.end
            return
        p, what = event[0], event[1]
        if kind == "move":
            seen["at"][p] = (what, fact.end)
            for thing, who in seen["held"].items():
                if who == p:
                    seen["trail"].setdefault(thing, []).append((what, fact.end))
        elif kind == "take":
            seen["held"][what] = p
            if p in seen["at"]:
                seen["trail"].setdefault(what, []).append((seen["at"][p][0], fact.end))
        elif kind == "drop":
            seen["held"].pop(what, None)
        else:
            q = event[2]
            seen["held"][what] = q
            seen["gifts"] = [g for g in seen["gifts"] if g[1] != what] + [(p, what, q, fact.end)]

    def ask(self, rng, fact):
        seen = self.seen
        if self.kind == "north":
            if not seen["map"]:
                return None
            (way, a, b), end = rng.choice(list(seen["map"].items()))
            fact.end = end
            if rng.random() < 0.5:
                return Ask(f"What is {way} of the {b}?", a, b)
            return Ask(f"What is the {a} {way} of?", b, a)
        if self.kind == "gave" and seen["gifts"]:
            p, thing, q, end = rng.choice(seen["gifts"])
            fact.end = end
            asks = [Ask(f"Who gave the {thing} to {q}?", p, thing), Ask(f"Who received the {thing}?", q, thing)]
            if sum((g[0], g[2]) == (p, q) for g in seen["gifts"]) == 1:
                asks.append(Ask(f"What did {p} give to {q}?", thing, p))
            return rng.choice(asks)
        if self.kind in ("object", "before"):
            trails = [(t, trail) for t, trail in seen["trail"].items() if trail]
            if trails:
                thing, trail = rng.choice(trails)
                fact.end = trail[-1][1]
                places = [place for i, (place, _) in enumerate(trail) if i == 0 or trail[i - 1][0] != place]
                if self.kind == "before" and len(places) > 1:
                    return Ask(f"Where was the {thing} before the {places[-1]}?", places[-2], thing)
                return Ask(f"Where is the {thing}?", places[-1], thing)
        if not seen["at"]:
            return None
        p, (place, end) = rng.choice(list(seen["at"].items()))
        fact.end = end
        return Ask(f"Where is {p}?", place, p)
