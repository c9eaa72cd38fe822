"""Endless streams of tokens: prose with facts, stories and needles in it, cut into segments, and questions about it.

A stream lives for a number of chunks. A chunk is `n` segments, which the model reads with the memory that the chunk
before left, and then questions about what is in memory (`asked`) or in the open segment after it (`tail`). So one chunk
back-propagates through few segments while the facts may be thousands of segments old. The arrays are described in
docs/train.md.
"""

import math
import random
from dataclasses import dataclass, field, fields

import numpy as np

from armt_train.tasks.cloze import Cloze
from armt_train.tasks.events import Events
from armt_train.tasks.pairs import Pairs
from armt_train.tasks.variables import Variables
from armt_train.tasks.worlds import Ask, Fact, Needles, Open, Recite, Six, Stories

TASKS = ["six kinds", "open facts", "recitation", "needles", "stories", "own", "variables", "events", "cloze"]
# tasks whose facts can be asked for as soon as they stand in the open segment
AT_ONCE = ("six kinds", "open facts", "events", "cloze")
WORLDS = {
    "six": Six,
    "open": Open,
    "pair": Pairs,
    "event": Events,
    "cloze": Cloze,
    "variables": Variables,
    "needle": Needles,
    "story": Stories,
}
OF_TEXTS = ("six", "cloze")  # worlds that need more than words
START, END = "<|im_start|>", "<|im_end|>"
RECITABLE = 160  # sentences of a stream that wait to be asked for


@dataclass(frozen=True)
class Shape:
    """What one chunk holds. Sizes in tokens, except n (segments), questions, tail (0 or 1 open segment) and facts (a
    segment's, in the slots loss).
    """

    segment: int = 128
    n: int = 6
    questions: int = 8
    question: int = 56
    answer: int = 20
    tail: int = 1
    facts: int = 4
    key_parts: int = 4
    value_parts: int = 8


@dataclass(frozen=True)
class Mix:
    """How streams are drawn. Pairs are bounds of a log-uniform draw."""

    worlds: dict = field(default_factory=lambda: {"six": 1.0})  # weights by which a stream draws its worlds
    several: float = 0.4  # probability that a stream has a second world, and then a third
    facts: tuple = (2, 24)  # things of a world that facts are about
    density: tuple = ()  # facts a segment; without it a stream tells `facts` facts in all
    life: tuple = (1, 1)  # chunks that a stream lives
    apart: int = 0  # if not 0: at most one fact in a segment, whole, behind less than so many tokens of prose
    change: float = 0.2  # of the facts, those that override an earlier one
    kinds: tuple = (1, 6)  # kinds of facts in a world
    most_facts: int = 0  # that a stream tells (0: no bound)
    asks: int = 2  # questions about one fact in a stream's life
    recite: float = 0.0  # probability that a sentence of prose may be asked for
    recite_weight: float = 0.3  # of a recitation's tokens in the loss
    chat: float = 0.5  # probability that a question is asked in the base's chat template
    cut: float = 0.1  # probability that a question begins at the end of the last segment
    quiet: float = 1.0  # weight of a segment without facts in the loss on writes
    open: float = 0.0  # probability that the open segment has facts of its own, and the question is about one of them
    first: float = 1.0  # weight of an answer's first token in the loss, where each other token has 1
    most: float = math.inf  # of all tokens of an answer but the first, together
    own: float = 0.0  # probability that a fact is one of the user's own
    own_text: float = 0.5  # probability that a passage is from the user's own folders, where there are any
    long: dict = field(default_factory=dict)  # of a `share` of the streams: what they draw otherwise


class Stream:
    def __init__(self, corpus, texts, shape, mix, rng):
        self.corpus, self.texts, self.shape, self.mix, self.rng = corpus, texts, shape, mix, rng
        self.start()

    def log_uniform(self, bounds):
        low, high = bounds
        return math.exp(self.rng.uniform(math.log(low), math.log(high)))

    def start(self):
        rng, shape, mix = self.rng, self.shape, self.mix
        self.left = round(self.log_uniform(mix.life))
        budget = max(1, round(self.log_uniform(mix.facts)))
        segments = self.left * shape.n
        count = budget
        if mix.density:
            count = max(budget, round(self.log_uniform(mix.density) * segments))
        if mix.most_facts:
            count = min(count, mix.most_facts)
        names, weights = zip(*mix.worlds.items())
        drawn = [rng.choices(names, weights)[0]]
        while not mix.apart and len(drawn) < 3 and rng.random() < mix.several:
            drawn.append(rng.choices(names, weights)[0])
        kinds = lambda: max(1, round(self.log_uniform(mix.kinds)))
        self.worlds = [
            WORLDS[name](self.texts if name in OF_TEXTS else self.texts.words, rng, kinds(), budget, mix.change)
            for name in drawn
        ]
        self.recite = Recite(mix.recite_weight)
        # a stream in which few sentences are asked for, another in which most are
        self.recite_rate = mix.recite * rng.random() if mix.recite else 0.0
        if mix.apart:
            self.places = [
                i * shape.segment + rng.randrange(mix.apart)
                for i in sorted(rng.sample(range(segments), min(count, segments)))
            ]
        else:
            self.places = sorted(rng.uniform(0, segments * shape.segment) for _ in range(count))
        self.next_place = 0
        self.buffer = []  # tokens made and not handed out yet
        self.taken = 0
        self.events = []  # facts not handed out whole yet, in order
        self.due = {}  # chunks left -> facts to ask for then
        self.read = []  # facts of worlds that were read
        self.recitable = []
        self.queue = []
        self.broken = True  # whether a line break came last

    # text

    def encode(self, text):
        return self.texts.tokenizer.encode(text)

    def prose(self):
        if not self.queue:
            self.queue = self.texts.passage(self.rng, self.mix.own_text)[::-1] or ["And so it went on."]
        return self.queue.pop()

    def told(self):
        """A sentence of one of the stream's worlds and its fact, or None."""
        rng = self.rng
        if self.corpus.own and rng.random() < self.mix.own:
            own = rng.choice(self.corpus.own)
            return own.text, Fact(Own(own), own.question, own.question, own.answer)
        for _ in range(4):
            made = rng.choice(self.worlds).tell(rng)
            if made is not None:
                return made
        return None

    def extend(self, tokens):
        """Makes the buffer at least that long."""
        rng, mix = self.rng, self.mix
        while len(self.buffer) < tokens:
            place = self.taken + len(self.buffer)
            made = None
            if self.next_place < len(self.places) and self.places[self.next_place] <= place:
                self.next_place += 1
                made = self.told()
            separator = "" if self.broken else " "
            if made is not None:
                text, fact = made
                ids = self.told_ids(text, fact, separator)
                if mix.apart:
                    ids = self.short(ids, place, separator)
                    if ids is None:
                        continue
                    fact = self.short_fact
                fact.start, fact.end = place, place + len(ids)
                self.events.append(fact)
            else:
                text = self.prose()
                ids = self.encode(separator + text)
                if mix.apart and self.next_place < len(self.places):
                    ids = ids[: max(1, self.places[self.next_place] - place)]
                elif self.recite_rate and rng.random() < self.recite_rate:
                    fact = self.recite.fact(text)
                    if fact is not None:
                        fact.start, fact.end = place, place + len(ids)
                        self.events.append(fact)
            self.buffer += ids
            self.broken = rng.random() < 0.12 and not mix.apart
            if self.broken:
                self.buffer += self.encode("\n" if rng.random() < 0.7 else "\n\n")

    def told_ids(self, text, fact, separator):
        """A chat is told in the base's template, anything else as text."""
        tokenizer = self.texts.tokenizer
        if fact.world.task == "own" and fact.world.own.chat and tokenizer.chat_template is not None:
            return tokenizer.encode(tokenizer.chat(list(fact.world.own.chat), generation_prompt=False), special=True)
        return self.encode(separator + text)

    def short(self, ids, place, separator):
        """A fact that fits what is left of its segment; the first stage's segments are short."""
        for _ in range(12):
            made = self.told()
            if made is None:
                return None
            text, self.short_fact = made
            ids = self.told_ids(text, self.short_fact, separator)
            if len(ids) <= self.shape.segment - place % self.shape.segment:
                return ids
        return None

    # questions

    def question(self, ask):
        """Tokens of a question and its answer, how many of them are asked for, or None where they do not fit."""
        rng, shape, encode = self.rng, self.shape, self.encode
        tokenizer = self.texts.tokenizer
        special = lambda text: tokenizer.encode(text, special=True)
        answer = ask.answer
        chat = not ask.raw and tokenizer.chat_template is not None and (ask.chat or rng.random() < self.mix.chat)
        if ask.raw:
            asked = encode(rng.choice(("\n", "\n\n", " ")) + ask.question)
            # with nothing after it, a model goes on inside the word: "ballerinaist" for "ballerina"
            told = encode(" " + answer + ("." if ask.ends else ""))
        elif chat:
            head = tokenizer.id(START) is not None
            if head:
                asked = special(f"{START}user\n") + encode(ask.question) + special(f"{END}\n{START}assistant\n")
                if rng.random() < 0.3:
                    asked = encode("\n") + asked
                told = encode(answer[0].upper() + answer[1:] + "." if ask.ends and rng.random() < 0.15 else answer)
            else:
                asked = special(tokenizer.chat([{"role": "user", "content": ask.question}]))
                told = encode(answer)
        else:
            asked = encode(self.texts.before + ask.question + self.texts.after)
            told = encode(" " + answer)
        if ask.ends and not ask.raw:
            told = [*told, tokenizer.end]
        if len(told) > shape.answer:
            # a long answer, a UUID or a list, is trained in parts: what comes before a part is given
            last = min(len(told) - shape.answer, shape.question - shape.answer - len(asked))
            given = rng.randint(0, max(0, last))
            asked, told = asked + told[:given], told[given : given + shape.answer]
        if len(asked) + len(told) > shape.question or not asked:
            return None
        return asked + told, len(told)

    def key_parts(self, text):
        ids, k = self.encode(" " + text), self.shape.key_parts
        first = (k + 1) // 2
        parts = ids if len(ids) <= k else ids[:first] + ids[-(k - first) :]
        return parts + [-1] * (k - len(parts))

    def value_parts(self, text):
        ids = self.encode(" " + text)[: self.shape.value_parts]
        return ids + [-1] * (self.shape.value_parts - len(ids))

    def chunk(self, out, i):
        """Fills row i of a batch and goes on to the next chunk."""
        shape, mix, rng = self.shape, self.mix, self.rng
        if self.left == 0:
            self.start()
        out["fresh"][i] = self.taken == 0
        total = shape.n * shape.segment
        self.extend(total + shape.segment)
        self.left -= 1
        first = self.taken
        cut = self.cut_question(total) if rng.random() < mix.cut and not mix.apart else None
        out["text"][i] = np.array(self.buffer[:total]).reshape(shape.n, shape.segment)
        del self.buffer[:total]
        self.taken += total

        counts = [0] * shape.n
        # a segment with a sentence that may be asked for is not filler either
        for fact in self.events:
            for segment in range((fact.start - first) // shape.segment, (fact.end - 1 - first) // shape.segment + 1):
                if 0 <= segment < shape.n:
                    out["quiet"][i, segment] = 0
        while self.events and self.events[0].end <= self.taken:
            fact = self.events.pop(0)
            fact.world.read(fact)
            segment = (fact.start - first) // shape.segment
            if fact.world is self.recite:
                self.recitable.append(fact)
                if len(self.recitable) > RECITABLE:
                    self.recitable.pop(rng.randrange(len(self.recitable) // 2))
                continue
            self.read.append(fact)
            self.plan_questions(fact)
            if 0 <= segment == (fact.end - 1 - first) // shape.segment:
                for key, value in fact.pairs or ((fact.key_text, fact.value),):
                    if counts[segment] < shape.facts:
                        parts = [*self.key_parts(key), *self.value_parts(value)]
                        out["slots"][i, segment, counts[segment]] = parts
                        counts[segment] += 1

        rows = 0
        if cut is not None:
            ids, n_answer, fact, ask = cut
            self.put(out, i, rows, ids, n_answer, fact, ask)
            rows += 1
        due = self.due.pop(self.left, [])
        rng.shuffle(due)
        for fact in due:
            rows += rows < shape.questions and self.ask(out, i, rows, fact)
        # the remaining rows ask for the prose, for sentences that were not asked for yet, and for facts once more
        tries = 0
        while rows < shape.questions and tries < 2 * shape.questions:
            tries += 1
            if self.recitable and (not self.read or rng.random() < 0.8):
                # recent ones more often: half within the last tenth
                index = min(len(self.recitable) - 1, int(len(self.recitable) * (1 - rng.random() ** 3)))
                fact = self.recitable.pop(index)
            elif self.read:
                fact = rng.choice(self.read[-64:])
                if fact.asked > mix.asks:
                    continue
            else:
                break
            rows += self.ask(out, i, rows, fact)
        for j in range(shape.tail):
            self.tail(out, i, j, due)

    def ask(self, out, i, j, fact):
        ask = fact.world.ask(self.rng, fact)
        made = ask and self.question(ask)
        if not made:
            return 0
        self.put(out, i, j, *made, fact, ask)
        return 1

    def cut_question(self, total):
        """Puts the beginning of a question where the last segment ends; the row that asks it holds the rest."""
        point = self.taken + total
        candidates = [f for f in self.read[-32:]] + self.recitable[-8:]
        if not candidates or any(f.start < point < f.end for f in self.events):
            return None
        fact = self.rng.choice(candidates)
        if any(f.world is fact.world and f.end <= point for f in self.events):
            return None  # what is still to be read in this chunk may change the answer
        ask = fact.world.ask(self.rng, fact)
        made = ask and self.question(ask)
        if not made:
            return None
        ids, n_answer = made
        length = self.rng.randint(1, max(1, len(ids) - n_answer - 1))
        if any(f.start < point - length < f.end or point - length <= f.start < point for f in self.events):
            return None
        self.buffer[total - length : total - length] = ids[:length]
        for later in self.events:
            if later.start >= point - length:
                later.start += length
                later.end += length
        return ids[length:], n_answer, fact, ask

    def plan_questions(self, fact):
        """Chunks after which a fact is asked for, by what is left of the stream's life then."""
        for n in range(self.mix.asks):
            wait = round(self.log_uniform((1, self.left))) if n and self.left else 0
            self.due.setdefault(self.left - wait, []).append(fact)

    def tail(self, out, i, j, due):
        """The open segment as it stands some tokens later, with a question about what it or the memory holds."""
        shape, rng = self.shape, self.rng
        if self.mix.open and rng.random() < self.mix.open and self.open_facts(out, i, j):
            return
        length = rng.randint(0, max(0, shape.segment - 40))
        point = self.taken + length
        pending = [f for f in self.events if f.start < point + shape.question]
        whole = [
            f
            for f in pending
            if f.end <= point and f.world.task in AT_ONCE or f.world is self.recite and f.end <= point
        ]
        ids, n_answer, fact, ask = [], 0, None, None
        changing = {(id(f.world), f.key) for f in pending if f.world is not self.recite}
        candidates = [f for f in whole if sum((id(f.world), f.key) == (id(g.world), g.key) for g in pending) == 1]
        if not candidates or rng.random() < 0.3:
            candidates = candidates + [
                f for f in due if (id(f.world), f.key) not in changing and not (f.world.task == "stories" and pending)
            ]
        if candidates:
            fact = rng.choice(candidates)
            restore = None
            if fact in whole and fact.world is not self.recite:
                # as if it were read, and put back afterwards: the stream has not handed it out yet
                restore = (fact.world.live, fact.world.live.get(fact.key))
                fact.world.live[fact.key] = fact
            ask = fact.world.ask(rng, fact)
            if restore is not None:
                live, before = restore
                if before is None:
                    live.pop(fact.key)
                else:
                    live[fact.key] = before
            made = ask and self.question(ask)
            if made and length + len(made[0]) <= shape.segment:
                ids, n_answer = made
        self.put_tail(out, i, j, self.buffer[:length], ids, n_answer, ask, fact and fact.world.task)
        out["tail_open"][i, j] = n_answer > 0 and fact in whole

    def open_facts(self, out, i, j):
        """An open segment with facts of its own, of a world that the stream does not have, and a question about one.
        Gives whether one fits.
        """
        shape, mix, rng = self.shape, self.mix, self.rng
        names, weights = zip(*mix.worlds.items())
        name = rng.choices(names, weights)[0]
        count = rng.randint(3, 8) if name == "story" else rng.randint(1, 4)
        world = WORLDS[name](self.texts if name in OF_TEXTS else self.texts.words, rng, rng.randint(1, 3), count, 0.0)
        room = shape.segment - 40
        length = rng.randint(0, room // 2)
        row, facts = self.buffer[:length], []
        for _ in range(count):
            made = world.tell(rng)
            ids = made and self.encode(" " + made[0])
            if not ids or len(row) + len(ids) > room:
                break
            row = row + ids
            made[1].start, made[1].end = self.taken + len(row) - len(ids), self.taken + len(row)
            world.read(made[1])
            facts.append(made[1])
        row = row + self.buffer[length : length + rng.randint(0, room - len(row))]
        ask = world.ask(rng, rng.choice(facts)) if facts else None
        made = ask and self.question(ask)
        if not made or len(row) + len(made[0]) > shape.segment:
            return False
        self.put_tail(out, i, j, row, *made, ask, world.task)
        out["tail_open"][i, j] = True
        return True

    def put_tail(self, out, i, j, text, ids, n_answer, ask, task):
        row = [*text, *ids]
        out["tail"][i, j, : len(row)] = row
        out["tail_length"][i, j] = len(row)
        if n_answer:
            out["tail_places"][i, j, :n_answer] = np.arange(len(row) - n_answer, len(row)) - 1
            out["tail_weight"][i, j, :n_answer] = self.answer_weights(n_answer, ask)
            out["tail_task"][i, j] = TASKS.index(task)

    def segment_of(self, fact):
        """The segment of this chunk that holds all that a question about `fact` needs; -1 without."""
        if fact.world.task not in AT_ONCE:
            return -1
        fact = fact.world.live.get(fact.key, fact)  # the newest of this key
        first = self.taken - self.shape.n * self.shape.segment
        segment = (fact.start - first) // self.shape.segment
        return segment if 0 <= segment == (fact.end - 1 - first) // self.shape.segment else -1

    def answer_weights(self, n, ask):
        """Weights of an answer's tokens in the loss [n]. A first token is the hardest one, and a long answer would
        count for many.
        """
        weights = np.full(n, min(1.0, self.mix.most / max(1, n - 1)))
        weights[0] = self.mix.first
        return weights * ask.weight

    def put(self, out, i, j, ids, n_answer, fact, ask):
        # logits at place p predict token p + 1
        out["asked"][i, j, : len(ids)] = ids
        out["asked_places"][i, j, :n_answer] = np.arange(len(ids) - n_answer, len(ids)) - 1
        out["asked_weight"][i, j, :n_answer] = self.answer_weights(n_answer, ask)
        out["asked_task"][i, j] = TASKS.index(fact.world.task)
        out["asked_age"][i, j] = max(0, (self.taken - fact.end) // self.shape.segment)
        out["asked_segment"][i, j] = self.segment_of(fact)
        if fact.world is not self.recite:
            out["asked_key"][i, j] = self.key_parts(ask.key_text)
        fact.asked += 1


class Own:
    """A fact of the user's own file."""

    task = "own"

    def __init__(self, own):
        self.own = own

    def read(self, fact):
        pass

    def ask(self, rng, fact):
        return Ask(self.own.question, fact.value, self.own.question, chat=bool(self.own.chat))


def checked(kind, values, name):
    known = {f.name for f in fields(kind)}
    for key in values:
        if key not in known:
            raise ValueError(f'{name}: unknown key "{key}"; known are {", ".join(sorted(known))}')
    return kind(**{key: tuple(value) if isinstance(value, list) else value for key, value in values.items()})


class Batches:
    """Batches of `batch` streams, each going on with the same streams; the same for the same seed."""

    def __init__(self, tokenizer, corpus, shape, mix, batch, seed, split):
        self.shape, usual = checked(Shape, shape, "shape"), mix
        mix = checked(Mix, usual, "mix")
        long = {**usual, **mix.long}
        share = long.pop("share", 0)
        long = checked(Mix, long, "mix.long")
        if mix.long and not 0 < share <= 1:
            raise ValueError(f"mix.long: its share of the streams is {share}; give one above 0 and at most 1")
        unknown = (set(mix.worlds) | set(long.worlds)) - set(WORLDS)
        if unknown or not mix.worlds or not long.worlds:
            raise ValueError(
                f'mix.worlds: unknown world "{"".join(sorted(unknown)[:1])}"; known are {", ".join(WORLDS)}'
            )
        texts = getattr(corpus, split)
        # drawn, since a worker may have a single stream
        is_long = lambda i: share and random.Random(f"{seed}-{split}-{i}-long").random() < share
        self.streams = [
            Stream(corpus, texts, self.shape, long if is_long(i) else mix, random.Random(f"{seed}-{split}-{i}"))
            for i in range(batch)
        ]
        self.quiet = mix.quiet

    def __next__(self):
        s, b = self.shape, len(self.streams)
        ids = lambda *shape: np.zeros((b, *shape), np.int32)
        weights = lambda *shape: np.zeros((b, *shape), np.float32)
        out = {
            "text": ids(s.n, s.segment),
            "fresh": np.zeros(b, bool),
            "quiet": weights(s.n) + self.quiet,
            "asked": ids(s.questions, s.question),
            "asked_places": ids(s.questions, s.answer),
            "asked_weight": weights(s.questions, s.answer),
            "asked_task": np.full((b, s.questions), -1, np.int8),
            "asked_age": ids(s.questions) - 1,
            "asked_segment": ids(s.questions) - 1,
            "asked_key": ids(s.questions, s.key_parts) - 1,
            "tail": ids(s.tail, s.segment),
            "tail_places": ids(s.tail, s.answer),
            "tail_weight": weights(s.tail, s.answer),
            "tail_length": ids(s.tail),
            "tail_task": np.full((b, s.tail), -1, np.int8),
            "tail_open": np.zeros((b, s.tail), bool),
            "slots": ids(s.n, s.facts, s.key_parts + s.value_parts) - 1,
        }
        for i, stream in enumerate(self.streams):
            stream.chunk(out, i)
        return out
