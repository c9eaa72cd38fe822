"""Clauses of an event: tense, voice and order; and what can be asked of it.

An `Event` has a frame, a noun phrase for each role, and a tense. Constructions are functions of an event that give a
sentence without its full stop. Questions and completions are made of the same parts.
"""

import re
from dataclasses import dataclass, field

from armt_train.tasks.contexts import capital
from armt_train.tasks.events.nouns import PLACES


@dataclass(frozen=True)
class Tense:
    """`finite` with the subject; `auxiliary` … `rest` in questions; `passive` after the object; `first`: in the first
    person, where it is another. {base}, {past}, {pp}, {third}, {ing}.
    """

    finite: str
    auxiliary: str
    rest: str
    passive: str = ""
    first: str | None = None
    state: bool = False  # of a state too


TENSES = (
    *(Tense("{past}", "did", "{base}", "was {pp}", state=True),) * 10,
    *(Tense("has {pp}", "has", "{pp}", "has been {pp}", "have {pp}"),) * 4,
    *(Tense("{third}", "does", "{base}", "is {pp}", "{base}", state=True),) * 2,
    *(Tense("will {base}", "will", "{base}", "will be {pp}"),) * 2,
    Tense("is going to {base}", "is", "going to {base}", "is going to be {pp}", "am going to {base}"),
    Tense("was {ing}", "was", "{ing}", "was being {pp}"),
    Tense("had to {base}", "did", "have to {base}", "had to be {pp}"),
    Tense("wants to {base}", "does", "want to {base}", "", "want to {base}"),
    Tense("decided to {base}", "did", "decide to {base}"),
    Tense("used to {base}", "did", "use to {base}", "used to be {pp}", state=True),
    Tense("managed to {base}", "did", "manage to {base}"),
    Tense("promised to {base}", "did", "promise to {base}"),
    Tense("was asked to {base}", "was", "asked to {base}"),
    Tense("was seen {ing}", "was", "seen {ing}"),
    Tense("claims to have {pp}", "does", "claim to have {pp}", "", "claim to have {pp}"),
    Tense("hopes to {base}", "does", "hope to {base}", "", "hope to {base}"),
    Tense("must have {pp}", "must", "have {pp}", "must have been {pp}"),
    Tense("began to {base}", "did", "begin to {base}"),
)
# of these only the check has sentences
HELD_TENSES = (
    Tense("would like to {base}", "would", "like to {base}"),
    Tense("ended up {ing}", "did", "end up {ing}"),
    Tense("is said to have {pp}", "is", "said to have {pp}", "", "am said to have {pp}"),
    Tense("had {pp}", "had", "{pp}", "had been {pp}"),
)
# which tenses things, animals and events can have
BARE = ("{past}", "has {pp}", "{third}", "will {base}", "is going to {base}", "was {ing}", "used to {base}", "had {pp}")


@dataclass
class Event:
    frame: object
    nouns: dict  # role -> Noun; "S", "O", or the preposition
    tense: Tense
    asked: tuple = ()  # roles whose nouns can be answers
    form: tuple = field(default=(), compare=False)  # names of the constructions it was told with

    @property
    def verb(self):
        return self.frame.verb

    def words(self, pattern, base=None):
        verb = self.verb
        return pattern.format(
            base=base or verb.base, past=verb.past, pp=verb.participle, third=verb.third, ing=verb.ing
        )

    @property
    def finite(self):
        return self.words(self.tense.finite)

    def object(self, later=False, it=False):
        if self.frame.object is None:
            return ""
        noun = self.nouns.get("O")
        if noun is None:
            what = self.frame.object.strip('"')
        else:
            what = noun.pronoun[1] if it else noun.later if later else noun.text
        return what + (" " + self.frame.tail if self.frame.tail else "")

    @property
    def has_passive(self):
        frame = self.frame
        noun = self.nouns.get("O")
        return bool(
            self.tense.passive
            and frame.object
            and not frame.state
            and not frame.tail
            and not (noun and noun.kind == "price")
        )

    def passive(self):
        """The verb in the passive voice, as the object's number asks for it."""
        text = self.words(self.tense.passive)
        if "O" in self.nouns and self.nouns["O"].kind == "plural":
            for one, many in (("was ", "were "), ("has ", "have "), ("is ", "are ")):
                if text.startswith(one):
                    text = many + text.removeprefix(one)
        return text

    def complement(self):
        """What follows the object without a preposition."""
        return self.nouns["="].text if "=" in self.nouns else ""

    def phrases(self, rng=None, leave=()):
        """Phrases of the other roles; a reason comes last."""
        found = [phrase(name, n) for name, n in self.nouns.items() if name not in ("S", "O", "=", *leave)]
        if rng is not None:
            rng.shuffle(found)
        return sorted(found, key=lambda text: text.startswith("because "))


def phrase(preposition, noun, later=False):
    return f"{preposition} {noun.later if later else noun.text}"


def joined(*parts):
    return " ".join(part for part in parts if part)


def predicate(e, rng, verb=None, leave=(), later=False, it=False):
    return joined(verb or e.finite, e.object(later, it), e.complement(), *e.phrases(rng, leave))


# constructions: (name, function); None where it does not fit


def active(e, rng, tools):
    return joined(e.nouns["S"].text, predicate(e, rng))


def fronted(e, rng, tools):
    names = [n for n in e.nouns if n not in ("S", "O", "=", "after")]
    if not names:
        return None
    first = rng.choice(names)
    return f"{phrase(first, e.nouns[first])}, {joined(e.nouns['S'].text, predicate(e, rng, leave=(first,)))}"


def passive(e, rng, tools):
    if not e.has_passive:
        return None
    by = "by " + e.nouns["S"].text
    rest = e.phrases(rng)
    rest.insert(rng.choice((0, 0, len([r for r in rest if not r.startswith("because ")]))), by)
    return joined(e.object(), e.passive(), e.complement(), *rest)


def cleft_subject(e, rng, tools):
    who = "who" if e.nouns["S"].kind == "person" else "that"
    return joined("it was", e.nouns["S"].text, who, predicate(e, rng))


def cleft_object(e, rng, tools):
    if "O" not in e.nouns or e.frame.tail or e.nouns["O"].kind in ("price", "weight"):
        return None
    return joined("it was", e.object(), "that", e.nouns["S"].text, e.finite, e.complement(), *e.phrases(rng))


def cleft_role(e, rng, tools):
    names = [n for n in e.nouns if n not in ("S", "O", "=", "because")]
    if not names:
        return None
    first = rng.choice(names)
    return joined("it was", phrase(first, e.nouns[first]), "that", e.nouns["S"].text, predicate(e, rng, leave=(first,)))


def pseudo_cleft(e, rng, tools):
    if "O" not in e.nouns or e.nouns["O"].kind == "person" or e.frame.tail:
        return None
    return joined("what", e.nouns["S"].text, e.finite, e.complement(), *e.phrases(rng), "was", e.object())


def topic(e, rng, tools):
    if "O" not in e.nouns:
        return None
    lead = rng.choice(("as for", "regarding", "about"))
    return f"{lead} {e.nouns['O'].text}: {joined(e.nouns['S'].text, predicate(e, rng, it=True))}"


def relative(e, rng, tools):
    if e.nouns["S"].kind != "person":
        return None
    return f"{e.nouns['S'].text}, who {predicate(e, rng)}, {tools.doing(rng)}"


def told_of_object(e, rng, tools):
    if "O" not in e.nouns or e.frame.tail or e.nouns["O"].kind in ("person", "price", "town", "plural"):
        return None
    body = joined(e.nouns["S"].text, e.finite, e.complement(), *e.phrases(rng))
    return joined(e.nouns["O"].later, "that", body, rng.choice(OBJECT_ENDS))


def pronoun(e, rng, tools):
    if e.nouns["S"].kind != "person":
        return None
    he = e.nouns["S"].pronoun[0]
    lead = rng.choice(PRONOUN_LEADS).format(k=e.nouns["S"].text, n=tools.name(rng))
    return lead + capital(joined(he, predicate(e, rng)))


def pronoun_later(e, rng, tools):
    if e.nouns["S"].kind != "person":
        return None
    n, body = e.nouns["S"], tools.doing(rng)
    return (
        joined(n.text, body)
        + rng.choice((" and then ", ", but first ", "; later "))
        + joined(n.pronoun[0], predicate(e, rng))
    )


def reported(e, rng, tools):
    lead = rng.choice(REPORTS).format(n=tools.name(rng), m=tools.name(rng))
    return lead + joined(e.nouns["S"].text, predicate(e, rng))


def quoted(e, rng, tools):
    if e.nouns["S"].kind != "person":
        return None
    first = e.words(e.tense.finite if e.tense.first is None else e.tense.first)
    said = capital(joined("I", predicate(e, rng, verb=first)))
    who = e.nouns["S"].text
    kind = rng.randrange(4)
    if kind == 0:
        return f'"{said}," said {who}'
    if kind == 1:
        return f'{who} wrote: "{said}."'
    if kind == 2:
        return f"{who}: {said}"
    return f'"{said}," {who} told {tools.name(rng)}'


def participle(e, rng, tools):
    if e.nouns["S"].kind != "person":
        return None
    return f"having {predicate(e, rng, verb=e.verb.participle)}, {e.nouns['S'].text} {tools.doing(rng)}"


def contrast(e, rng, tools):
    if "O" not in e.nouns or e.frame.tail:
        return None
    other = tools.other(rng, e.nouns["O"])
    if other is None:
        return None
    e_rest = joined(e.complement(), *e.phrases(rng))
    if rng.random() < 0.5:
        return joined(e.nouns["S"].text, e.finite, "not", other, "but", e.object(), e_rest)
    return joined(e.nouns["S"].text, e.finite, e.object(), e_rest) + f", not {other}"


def gapped(e, rng, tools):
    """The same verb of two people, the second without it."""
    if "O" not in e.nouns or e.nouns["S"].kind != "person" or "=" in e.nouns:
        return None
    other = tools.other(rng, e.nouns["O"])
    if other is None or e.frame.tail:
        return None
    mine = joined(e.nouns["S"].text, predicate(e, rng))
    theirs = f"{tools.name(rng)} {other}"
    if rng.random() < 0.5 or e.phrases():
        return f"{mine}, and {theirs}"
    nothing = "nobody" if e.nouns["O"].kind in ("person", "job") else "nothing"
    return f"{mine}, {theirs} and {tools.name(rng)} {nothing}"


def and_also(e, rng, tools):
    if e.nouns["S"].kind != "person":
        return None
    return joined(e.nouns["S"].text, predicate(e, rng)) + f" and {tools.doing(rng)}"


def did_before(e, rng, tools):
    if e.nouns["S"].kind != "person":
        return None
    return joined(e.nouns["S"].text, tools.doing(rng)) + " and " + predicate(e, rng)


def beside(e, rng, tools):
    if e.nouns["S"].kind != "person":
        return None
    aside = rng.choice(ASIDES).format(n=tools.name(rng), j=tools.job(rng), d=rng.randint(19, 92))
    return f"{e.nouns['S'].text}, {aside}, {predicate(e, rng)}"


def when(e, rng, tools):
    return f"{rng.choice(WHENS).format(n=tools.name(rng))}, {active(e, rng, tools)}"


def while_other(e, rng, tools):
    clause = f"{tools.name(rng)} {tools.doing(rng)}"
    if rng.random() < 0.5:
        return f"while {clause}, {active(e, rng, tools)}"
    return f"{active(e, rng, tools)}, while {clause}"


def answered(e, rng, tools):
    """Question and answer in the text: a dialogue, or questions that are often asked."""
    if len(e.asked) > 1:
        return None
    role = e.asked[0]
    question = rng.choice(direct(e, role, rng))
    said = capital(answer_phrase(e, role))
    kind = rng.randrange(5)
    n, m = tools.name(rng), tools.name(rng)
    if kind == 0:
        return f'"{question}" asked {n}. "{said}," said {m}'
    if kind == 1:
        return f"{n}: {question}\n{m}: {said}"
    if kind == 2:
        return f"Q: {question} A: {said}"
    if kind == 3:
        return f'"{question}" - "{said}."'
    return f'{n} wanted to know: "{question}" The answer was "{said}"'


def guessed(e, rng, tools):
    if len(e.asked) > 1:
        return None
    role = e.asked[0]
    other = tools.other(rng, e.nouns[role])
    if other is None or role in ("=", "because"):
        return None
    wrong = other if role in ("S", "O") else f"{role} {other}"
    right = e.nouns[role].text if role in ("S", "O") else phrase(role, e.nouns[role])
    question = rng.choice(direct(e, role, rng))
    return f'"{question}" "{capital(wrong)}?" "No, {right}."'


SHARED = (
    *((active.__name__, active),) * 6,
    *((fronted.__name__, fronted),) * 3,
    *((passive.__name__, passive),) * 4,
    *(
        (f.__name__, f)
        for f in (
            cleft_subject, cleft_object, cleft_role, topic, relative, told_of_object, pronoun, pronoun, reported,
            reported, quoted, quoted, contrast, gapped, and_also, beside, when, while_other, answered, answered,
        )
    ),
)  # fmt: skip
HELD = tuple((f.__name__, f) for f in (pseudo_cleft, participle, pronoun_later, did_before, guessed))

OBJECT_ENDS = (
    "is still talked about",
    "caused some trouble",
    "was in all the papers",
    "made the neighbours curious",
    "turned out to be the last of its kind",
    "was not even new",
    "has become famous",
)
PRONOUN_LEADS = (
    "{k} has been up to something. ",
    "There is news of {k}. ",
    "You remember {k}? ",
    "I met {k} the other day. ",
    "Nobody believed {k}. But it is true: ",
    "Ask {k} about last week. ",
    "{n} told me about {k}. ",
    "{k} could not sit still. ",
    "Do not laugh at {k}. ",
    "I must tell you about {k}. ",
)
REPORTS = (
    "{n} says that ",
    "{n} heard from {m} that ",
    "according to {n}, ",
    "{n} is quite sure that ",
    "the report says that ",
    "it seems that ",
    "nobody knew that ",
    "it is a fact that ",
    "{n} swears that ",
    "{n} forgot to mention that ",
    "few people know that ",
    "I only found out yesterday that ",
    "rumour has it that ",
    "the whole street knows that ",
    "the minutes state that ",
    "what {n} never told {m} is that ",
)
ASIDES = (
    "a friend of {n}",
    "who is {d}",
    "as you know",
    "a retired {j}",
    "to everybody's surprise",
    "of all people",
    "once again",
    "against the advice of {n}",
    "without telling {n}",
    "for reasons of economy",
    "tired of waiting",
    "in a good mood",
    "I am told",
)
WHENS = (
    "last week",
    "before the war",
    "on the way home",
    "as soon as the rain stopped",
    "after the funeral",
    "when {n} was out",
    "the day before {n} left",
    "in the end",
    "shortly after midnight",
    "for a joke",
    "when nobody was looking",
    "during the strike",
    "in the first week of the holidays",
    "at the age of nine",
    "for the third time",
)

# questions

KINDS = {
    "animal": "animal", "dog": "dog", "fish": "fish", "tree": "tree", "room": "room", "building": "building",
    "town": "town", "country": "country", "island": "island", "river": "river", "mountain": "mountain",
    "vehicle": "vehicle", "furniture": "piece of furniture", "garment": "piece of clothing", "tool": "tool",
    "instrument": "instrument", "container": "container", "drink": "drink", "dish": "dish", "food": "food",
    "language": "language", "science": "subject", "sport": "sport", "illness": "illness", "company": "company",
    "colour": "colour", "flower": "plant", "fabric": "material", "rock": "stone", "material": "material",
    "year": "year", "date": "day", "book": "book", "event": "event",
}  # fmt: skip
WHERE = ("in", "at", "on", "under", "behind", "near", "above", "to", "into")
INSIDE = ("vehicle", "container", "furniture", "tree")  # of these one asks with "in what", too
PREFIXES = (
    "Do you know {q}?",
    "Can you tell me {q}?",
    "Tell me {q}.",
    "I forgot {q}.",
    "I would like to know {q}.",
    "Please say {q}.",
    "Do you remember {q}?",
    "We need to know {q}.",
    "Who can say {q}?",
    "It says in the text {q}; what does it say?",
)
HELD_PREFIXES = ("Could you remind me {q}?", "Any idea {q}?", "I wonder {q}.")


def others(e, rng, leave, keep=0.45):
    """Phrases that a question repeats: all where nothing else would tell it apart."""
    if leave[0] == "S" and "O" not in e.nouns:
        keep = 1
    return [
        phrase(n, noun, later=True)
        for n, noun in e.nouns.items()
        if n not in ("S", "O", "=", *leave) and (n not in e.asked or keep == 1) and rng.random() < keep
    ]


def wh_words(role, noun):
    """(question phrases in front, whether the preposition is left at the end)."""
    kind = noun.kind
    if role in ("S", "O"):
        if kind in ("person", "job"):
            return ["who"] if role == "S" else ["who", "whom"]
        if kind == "company":
            return ["who", "which company"]
        if kind == "price":
            return ["how much", "what"]
        if kind in ("duration",):
            return ["how long"]
        found = ["what"]
        if kind in KINDS:
            found += [f"which {KINDS[kind]}", f"what {KINDS[kind]}"]
        return found
    if role == "=":
        return {"colour": ["what colour", "which colour"], "language": ["which language", "what"]}.get(kind, ["what"])
    if role == "because":
        return ["why", "for what reason"]
    if role == "by" and kind == "doing":
        return ["how"]
    if kind == "time":
        return ["when", "at what time"] if role == "at" else ["when"]
    if kind == "date":
        return ["when", f"{role} what day" if role == "until" else f"{role} which date"]
    if kind == "year":
        return ["when", f"{role} which year", f"{role} what year"]
    if kind == "duration":
        return ["how long", "for how long"]
    if kind == "price":
        return [f"{role} how much"] if role != "for" else ["for how much", "for how much money"]
    if kind == "person":
        return [f"{role} whom"]
    which = [f"{role} which {KINDS[kind]}"] if kind in KINDS else []
    if kind == "company":
        return [*which, f"{role} whom"]
    if kind in PLACES and role in WHERE:
        return ["where", "where", *which, *([f"{role} what"] if kind in INSIDE else [])]
    return [f"{role} what", *which]


def stranded(role, noun):
    """Question words of a role whose preposition stays at the end."""
    if role in ("S", "O", "=", "because") or noun.kind in ("time", "date", "year", "duration", "price", "reason"):
        return []
    found = ["who"] if noun.kind in ("person", "company") else ["what"]
    if noun.kind in PLACES and noun.kind not in INSIDE:
        found = []
    if noun.kind in KINDS:
        found.append(f"which {KINDS[noun.kind]}")
    return found


def split_passive(e):
    """The passive's auxiliary and the rest, for questions; None where it has none of its own."""
    first, _, rest = e.passive().partition(" ")
    return (
        (first, rest)
        if e.has_passive and first in ("was", "were", "has", "have", "is", "are", "will", "must")
        else None
    )


def direct(e, role, rng):
    """Questions in the usual order, some of several that are possible."""
    noun, s, t = e.nouns[role], e.nouns["S"], e.tense
    who, made = s.later, []
    base = rng.choice((None, *e.verb.others)) if not (e.frame.state and t.auxiliary not in ("did", "does")) else None
    if base is not None and ("{base}" not in t.rest):
        base = None
    past = t.auxiliary in ("did", "has") and "{pp}" in t.rest or t.finite.startswith(("managed", "ended"))
    if past and rng.random() < 0.5:
        auxiliary, rest = "did", e.words("{base}", base)
    else:
        auxiliary, rest = t.auxiliary, e.words(t.rest, base)
    left = others(e, rng, (role,))
    if role == "S":
        wh = rng.choice(wh_words(role, noun))
        made.append(joined(wh, e.finite, e.object(True), e.complement(), *left))
        if (split := split_passive(e)) and noun.kind == "person":
            made.append(joined("by whom", split[0], e.object(True), split[1], e.complement(), *left))
        made.append(made[0])
    elif role == "O":
        made.append(joined(rng.choice(wh_words(role, noun)), auxiliary, who, rest, e.frame.tail, e.complement(), *left))
        if e.has_passive:
            made.append(joined(rng.choice(wh_words("S", noun)), e.words(t.passive), e.complement(), "by", who, *left))
    else:
        complement = "" if role == "=" else e.complement()
        body = joined(who, rest, e.object(True), complement, *left)
        made.append(joined(rng.choice(wh_words(role, noun)), auxiliary, body))
        tail = stranded(role, noun)
        if tail:
            near = [p for p in left if not p.startswith("because")]
            body = joined(who, rest, e.object(True), complement, *near)
            made.append(joined(rng.choice(tail), auxiliary, body, role))
        if (split := split_passive(e)) and role != "=":
            agent = "by " + who if rng.random() < 0.6 or "O" not in e.nouns else ""
            wh = rng.choice(wh_words(role, noun))
            made.append(joined(wh, split[0], e.object(True), split[1], complement, agent, *left))
    return [capital(q) + "?" for q in made]


def indirect(e, role, rng):
    noun, who = e.nouns[role], e.nouns["S"].later
    left = others(e, rng, (role,))
    if role == "S":
        return joined(rng.choice(wh_words(role, noun)), e.finite, e.object(True), e.complement(), *left)
    if role == "O":
        return joined(rng.choice(wh_words(role, noun)), who, e.finite, e.frame.tail, e.complement(), *left)
    complement = "" if role == "=" else e.complement()
    return joined(rng.choice(wh_words(role, noun)), who, e.finite, e.object(True), complement, *left)


def question(e, role, rng, held):
    if rng.random() < 0.18:
        prefix = rng.choice(HELD_PREFIXES if held else PREFIXES)
        return prefix.format(q=indirect(e, role, rng))
    return rng.choice(direct(e, role, rng))


def answer_phrase(e, role):
    noun = e.nouns[role]
    return noun.text if role in ("S", "O", "=") else phrase(role, noun)


def completion(e, role, rng):
    """A text that ends where the answer begins, or None."""
    noun, s = e.nouns[role], e.nouns["S"]
    who = s.later
    if role == "S":
        kinds = []
        left = others(e, rng, ("S",), keep=0)
        if e.has_passive:
            kinds.append(joined(e.object(True), e.passive(), e.complement(), "by"))
        whats = ("the person who", "the one who") if s.kind == "person" else ("what",)
        kinds.append(joined(rng.choice(whats), e.finite, e.object(True), e.complement(), *left, "was"))
        cue = rng.choice(kinds)
    elif role == "O":
        left = others(e, rng, (role,), keep=0.3)
        head = f"{left[0]}, " if left and not left[0].startswith(("because", "after")) else ""
        if e.frame.tail or rng.random() < 0.7:
            cue = head + joined(who, e.finite)
        else:
            what = "what" if noun.kind != "person" else "the person whom"
            cue = joined(what, who, e.finite, *left, "was")
    elif role == "=":
        cue = joined(who, e.finite, e.object(True))
    else:
        body = joined(e.finite, e.object(True), e.complement())
        if noun.kind in PLACES and role in ("in", "at", "on", "under", "behind", "near") and rng.random() < 0.2:
            cue = joined("the place where", who, body, "was", role)
        elif e.has_passive and rng.random() < 0.25:
            cue = joined(e.object(True), e.passive(), e.complement(), role)
        else:
            left = others(e, rng, (role,), keep=0.3)
            left = [p for p in left if not p.startswith(("because", "after"))]
            head = f"{left[0]}, " if left and rng.random() < 0.5 else ""
            cue = head + joined(who, body, *(left if not head else left[1:]), role)
    cue = joined(capital(cue), noun.before.strip())
    return re.sub(r"\s+", " ", cue)
