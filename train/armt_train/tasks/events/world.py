"""A world of events: what is told of them, and the questions."""

import re

from armt_train.tasks import contexts
from armt_train.tasks.events import grammar, records
from armt_train.tasks.events.frames import frames_of
from armt_train.tasks.events.nouns import LISTS, noun
from armt_train.tasks.values import article
from armt_train.tasks.worlds import Ask, Fact, sentence

ROLES_TOLD = (0.25, 0.45, 0.22, 0.08)  # how many roles beside subject and object an event has
DOINGS = (
    "went home", "sat down", "had a cup of tea", "said nothing", "laughed", "waved", "felt better", "slept well",
    "called a taxi", "closed the door", "lit the stove", "missed the bus", "kept quiet", "took the stairs",
    "read the paper", "paid the bill", "shook hands with {n}", "wrote to {n}", "helped {n}", "looked for {n}",
    "left a note for {n}", "wished {n} luck", "borrowed an umbrella", "lost a glove", "found a coin",
    "worked as a {j}", "asked for a {j}", "bought a newspaper", "watered the plants", "got into an argument with a {j}",
)  # fmt: skip
CORRECTIONS = ("Correction: ", "No, I was wrong: ", "As of today, ", "It has turned out that ", "Update: ")


class Tools:
    """What constructions need of the words: bystanders, and others of a kind."""

    def __init__(self, words):
        self.words = words

    def name(self, rng):
        return self.words.any(rng, rng.choice(("female", "male")))

    def job(self, rng):
        return self.words.any(rng, "job")

    def doing(self, rng):
        text = rng.choice(DOINGS).format(n=self.name(rng), j=self.job(rng))
        return re.sub(r"\ba (?=[aeiou])", "an ", text)

    def other(self, rng, noun_):
        """Another of the same kind, which is not the answer."""
        if noun_.kind == "person":
            other = self.name(rng)
            return None if other in noun_.text else other
        if noun_.kind not in LISTS:
            return None
        word = self.words.any(rng, rng.choice(LISTS[noun_.kind]))
        return None if word == noun_.answer else f"{article(word)} {word}"


class Events:
    """Values are words of the split; what is given in questions may be of any word. A fact is an event, of which one or
    two roles are asked for.
    """

    task = "events"

    def __init__(self, words, rng, kinds, keys, change):
        self.words, self.keys, self.change = words, keys, change
        self.tools = Tools(words)
        self.held = words.split == "heldOut"
        frames = frames_of(words.split)
        self.frames = rng.sample(frames, min(len(frames), max(1, kinds * 2)))
        self.known, self.live = {}, {}  # key -> event as told; key -> fact as read

    def make(self, rng, frame):
        roles = ["S"]
        if frame.object is not None and not frame.object.startswith('"'):
            roles.append("O")
        extra = rng.choices(range(len(ROLES_TOLD)), ROLES_TOLD)[0]
        if len(roles) == 1:
            extra = max(extra, 1)
        named = {role.preposition or "=": role.kind for role in frame.roles}
        chosen = rng.sample(list(named), min(extra, len(named)))
        if frame.verb.base in ("dye", "paint", "name", "nickname", "rename", "teach") and "=" not in chosen:
            chosen.append("=")
        chosen = [name for name in named if name in chosen]
        kinds = {"S": frame.subject, "O": frame.object, **named}
        roles += chosen
        # given objects of events and books are never asked for
        askable = [r for r in roles if kinds[r] not in ("event", "book")]
        weights = [1 if r == "S" else 3 for r in askable]
        asked = [rng.choices(askable, weights)[0]]
        if len(roles) > 2 and rng.random() < 0.4:
            more = [r for r in askable if r not in asked and r != "S"]
            asked += rng.sample(more, min(1, len(more)))
        nouns = {r: noun(self.words, rng, kinds[r], r in asked) for r in roles}
        texts = [n.answer for n in nouns.values()]
        kinds_told = {n.kind for n in nouns.values()}
        if len(set(texts)) < len(texts):
            return None
        return grammar.Event(frame, nouns, self.tense(rng, frame, "year" in kinds_told), tuple(asked))

    def tense(self, rng, frame, past):
        tenses = grammar.TENSES + (grammar.HELD_TENSES * 4 if self.held else ())
        if frame.subject != "person":
            tenses = [t for t in tenses if t.finite in grammar.BARE]
        if frame.state:
            tenses = [t for t in tenses if t.state]
        if past:
            tenses = [t for t in tenses if t.auxiliary in ("did", "was", "had")]
        return rng.choice(tenses)

    def changed(self, rng, event):
        """The same event with other answers."""
        nouns = {
            role: noun(self.words, rng, value.kind, True) if role in event.asked else value
            for role, value in event.nouns.items()
        }
        return grammar.Event(event.frame, nouns, event.tense, event.asked)

    def tell(self, rng):
        """A sentence and its fact, or None where nothing is left to tell."""
        again = None
        if self.known and (len(self.known) >= self.keys or rng.random() < self.change):
            again = rng.choice(list(self.known))
            event = self.changed(rng, self.known[again])
        else:
            event = self.make(rng, rng.choice(self.frames))
            if event is None:
                return None
        given = tuple(n.text for role, n in event.nouns.items() if role not in event.asked)
        key = again or (event.frame.number, event.asked, given)
        if again is None and key in self.known:
            return None
        text = self.say(rng, event, again is not None)
        self.known[key] = event
        pairs = tuple((self.key_text(event, role), event.nouns[role].answer) for role in event.asked)
        return text, Fact(self, key, *pairs[0], extra=event, pairs=pairs)

    def say(self, rng, event, again):
        if again or rng.random() > 0.08:
            constructions = grammar.SHARED + (grammar.HELD * 6 if self.held else ())
            body = None
            while body is None:
                name, function = rng.choice(constructions)
                body = function(event, rng, self.tools)
        else:
            # a record tells what was done
            event.tense = grammar.TENSES[0]
            name, body = "record", records.record(event, rng, self.held)
        event.form = (name,)
        if again:
            return sentence(rng.choice(CORRECTIONS) + body)
        if name != "record" and "\n" not in body and not body.startswith('"') and rng.random() < 0.3:
            event.form = (name, "context")
            return sentence(contexts.around(body, rng, lambda: self.tools.name(rng), self.held))
        return body if name == "record" else sentence(body)

    @staticmethod
    def key_text(event, role):
        """What tells the answer apart: who or what it is about, and its role."""
        if role == "S":
            about = (
                event.nouns["O"].answer
                if "O" in event.nouns
                else next((n.answer for r, n in event.nouns.items() if r != "S"), event.verb.base)
            )
            return f"{event.verb.base} {about}"
        return f"{event.nouns['S'].answer} {event.verb.base if role in 'O=' else role}"

    def read(self, fact):
        self.live[fact.key] = fact

    def ask(self, rng, fact):
        fact = self.live.get(fact.key)
        if fact is None:
            return None
        event = fact.extra
        role = rng.choice(event.asked)
        answer, key_text = event.nouns[role].answer, self.key_text(event, role)
        if rng.random() < 0.35:
            return Ask(grammar.completion(event, role, rng), answer, key_text, raw=True)
        return Ask(grammar.question(event, role, rng, self.held), answer, key_text)
