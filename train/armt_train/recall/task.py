"""Endless streams of token ids with facts in filler, cut into segments, and questions about what was read.

A stream lives for a number of chunks. A chunk is `n` segments, which the model reads with the memory that the chunk
before left, and then questions
about facts that are in memory (`asked`) or still in the open segment after it (`tail`). So one chunk back-propagates
through few segments while the
facts asked for may be thousands of segments old.
"""

import json
import math
import random
from dataclasses import dataclass, fields
from pathlib import Path

import numpy as np

ANSWER_MAX = 8  # tokens of an answer, its end token included
KEY_PARTS = 2  # tokens of a key: its first and its last
VALUE_PARTS = 6  # tokens of a value, at most
FACTS_MAX = 4  # facts of a segment that its memory tokens are told of
TASKS = ["object", "person", "code", "colour", "owner", "job"]
REPOSITORY = Path(__file__).parents[3]


@dataclass(frozen=True)
class Shape:
    """What one chunk holds; sizes in tokens, except n (segments), asked and tail (questions)."""

    segment: int = 256
    n: int = 8
    asked: int = 4
    question: int = 48
    tail: int = 1


@dataclass(frozen=True)
class Mix:
    """How streams are drawn."""

    facts: tuple = (1, 24)  # facts of a stream's life, log-uniform; with `density`, things that facts are told of
    density: tuple = ()  # facts a segment, log-uniform; once there are enough things, every further fact overrides
    life: tuple = (1, 1)  # chunks that a stream lives, log-uniform
    # 0: facts anywhere. Else the easiest form of the task: at most one fact in a segment, whole, with less than so many
    # tokens of filler before it
    apart: int = 0
    change: float = 0.25  # of the facts, those that override an earlier one
    # kinds of facts in a stream, log-uniform. With few, the kind of a question does not tell which fact it asks for, so
    # that keys must be learned
    kinds: tuple = (6, 6)
    # questions about one fact in a stream's life: one at once, the others at random ages. Asked in each of the hundreds
    # of steps that a stream may
    # live, a fact is learned by heart by the weights, and memory stays unused
    asks: int = 2


class Corpus:
    """Both splits. `settings`: `task`, the file of words and sentences (default: the repository's
    assets/recall/task.json), and `prose`, the folder that
    `python -m armt_train.recall.corpus` filled (default: train/data of the repository)."""

    def __init__(self, tokenizer, settings):
        unknown = set(settings) - {"task", "prose"}
        if unknown:
            raise ValueError(f'unknown key "{sorted(unknown)[0]}"; known are task, prose')
        task = Path(settings.get("task") or REPOSITORY / "assets" / "recall" / "task.json")
        prose = Path(settings.get("prose") or REPOSITORY / "train" / "data")
        if not task.is_file():
            raise ValueError(f"{task} is missing; data.task names the repository's assets/recall/task.json")
        self.train, self.heldOut = (Texts(tokenizer, split, task, prose) for split in ("train", "heldOut"))


class Texts:
    """Everything that does not change from stream to stream."""

    def __init__(self, tokenizer, split, task_file, prose_folder):
        self.split, self.tokenizer = split, tokenizer
        task = json.loads(task_file.read_text())
        names = task["names"]
        held = lambda i, j: (i + j) % names["heldOutEvery"] == 0
        self.names = [
            s + e
            for i, s in enumerate(names["stems"])
            for j, e in enumerate(names["endings"])
            if held(i, j) == (split == "heldOut")
        ]
        self.lists, self.kinds = task["lists"], task["kinds"]
        self.before, self.after = task["answer"]["before"], task["answer"]["after"]

        encode = self.tokenizer.encode
        variants = lambda s: (np.array(encode(" " + s), np.int32), np.array(encode(s), np.int32))
        file = prose_folder / f"prose-{split.lower()}.txt"
        if not file.is_file():
            raise ValueError(
                f"{file} is missing; python -m armt_train.recall.corpus writes it (data.prose names its folder)"
            )
        prose = [line for line in file.read_text().splitlines() if line.strip()]
        if not prose:
            raise ValueError(f"{file} is empty")
        self.prose = [[variants(s) for s in self.cut(p)] for p in prose]
        rng = random.Random(1)
        self.chatter = [variants(self.make_chatter(task["chatter"], rng)) for _ in range(4000)]
        self.newline = encode("\n")

    @staticmethod
    def cut(passage):
        out, start = [], 0
        for i in range(len(passage) - 2):
            if passage[i] in ".?!" and passage[i + 1] == " " and passage[i + 2].isupper():
                out.append(passage[start : i + 1])
                start = i + 2
        return [*out, passage[start:].strip()]

    def make_chatter(self, chatter, rng):
        out = rng.choice(chatter[self.split])
        for slot in ("adj", "noun", "verb", "adv"):
            while "{" + slot + "}" in out:
                out = out.replace("{" + slot + "}", rng.choice(chatter[slot]), 1)
        return out


class Stream:
    def __init__(self, texts, shape, mix, rng):
        self.texts, self.shape, self.mix, self.rng = texts, shape, mix, rng
        self.start()

    def log_uniform(self, bounds):
        low, high = bounds
        return round(math.exp(self.rng.uniform(math.log(low), math.log(high))))

    def start(self):
        rng, shape = self.rng, self.shape
        self.left = self.log_uniform(self.mix.life)
        budget = self.log_uniform(self.mix.facts)
        total = self.left * shape.n * shape.segment
        count = budget
        if self.mix.density:
            density = math.exp(rng.uniform(*map(math.log, self.mix.density)))
            count = max(budget, round(density * self.left * shape.n))
        self.keys = budget
        if self.mix.apart:
            segments = self.left * shape.n
            self.places = [
                i * shape.segment + rng.randrange(self.mix.apart)
                for i in sorted(rng.sample(range(segments), min(count, segments)))
            ]
        else:
            self.places = sorted(rng.uniform(0, total) for _ in range(count))
        self.next_place = 0
        self.buffer = np.zeros(0, np.int32)
        self.taken = 0  # tokens handed out
        self.events = []  # (position after the fact's last token, key, kind, value, position of its first token)
        self.live = {}  # key -> (kind, value, position)
        self.due = {}  # chunks left -> keys to ask for then
        self.known = {}  # key -> kind, facts not yet handed out included
        self.kinds = rng.sample(self.texts.kinds, self.log_uniform(self.mix.kinds))
        self.names = rng.sample(self.texts.names, min(100, len(self.texts.names)))
        self.bystanders = [self.names.pop() for _ in range(4)]
        self.words = {}
        self.queue = []  # filler sentences to come
        self.broken = True  # whether a newline came last

    # filler and facts

    def filler(self):
        rng, texts = self.rng, self.texts
        if not self.queue:
            if rng.random() < 0.5:
                passage = rng.choice(texts.prose)
                i = rng.randrange(len(passage))
                self.queue = passage[i : i + rng.randint(2, 12)][::-1]
            else:
                self.queue = rng.choices(texts.chatter, k=rng.randint(2, 16))
        return self.queue.pop()[1 if self.broken else 0]

    def pick(self, name):
        """A word of a list that this stream has not used as a key."""
        if name == "name":
            return self.names.pop() if self.names else None
        if name not in self.words:
            self.words[name] = self.rng.sample(self.texts.lists[name], len(self.texts.lists[name]))
        return self.words[name].pop() if self.words[name] else None

    def new_key(self):
        rng = self.rng
        kind = rng.choice(self.kinds)
        if len(kind["key"]) > 1:
            for _ in range(20):
                key = " ".join(rng.choice(self.texts.lists[part]) for part in kind["key"])
                if key not in self.known:
                    return kind, key
            return None
        key = self.pick(kind["key"][0])
        return None if key is None else (kind, key)

    def value(self, kind, old):
        rng = self.rng
        if kind["value"] == "code":
            return "".join(rng.choice("0123456789") for _ in range(4))
        if kind["value"] == "name":
            return self.names.pop() if self.names else rng.choice(self.bystanders)
        while True:
            value = rng.choice(self.texts.lists[kind["value"]])
            if value != old:
                return value

    def fact(self):
        rng = self.rng
        if len(self.known) >= self.keys or self.known and rng.random() < self.mix.change:
            key = rng.choice(list(self.known))
            kind, old = self.known[key]
        else:
            made = self.new_key()
            if made is None:
                return None
            (kind, key), old = made, None
        value = self.value(kind, old)
        self.known[key] = (kind, value)
        text = rng.choice(kind["facts"][self.texts.split])
        text = text.replace("{key}", key).replace("{value}", value).replace("{name}", rng.choice(self.bystanders))
        return (" " if not self.broken else "") + text, key, kind, value

    def extend(self, tokens):
        """Makes the buffer at least that long."""
        parts, length = [self.buffer], len(self.buffer)
        while length < tokens:
            place = self.taken + length
            made = None
            if self.next_place < len(self.places) and self.places[self.next_place] <= place:
                self.next_place += 1
                made = self.fact()
            if made is not None:
                text, key, kind, value = made
                piece = np.array(self.texts.tokenizer.encode(text), np.int32)
                self.events.append((place + len(piece), key, kind, value, place))
            else:
                piece = self.filler()
                if self.mix.apart and self.next_place < len(self.places):
                    piece = piece[: self.places[self.next_place] - place]
            parts.append(piece)
            length += len(piece)
            self.broken = self.rng.random() < 0.08 and not self.mix.apart
            if self.broken:
                parts.append(np.array(self.texts.newline, np.int32))
                length += len(self.texts.newline)
        self.buffer = np.concatenate(parts)

    # questions

    def question(self, key, kind, value):
        """Token ids of question and answer, and how many of them are the answer."""
        text = self.rng.choice(kind["questions"][self.texts.split]).replace("{key}", key)
        asked = self.texts.tokenizer.encode(self.texts.before + text + self.texts.after)
        answer = [*self.texts.tokenizer.encode(" " + value), self.texts.tokenizer.end]
        return asked + answer, len(answer)

    def chunk(self, out, i):
        """Fills row i of a batch and goes on to the next chunk."""
        shape, rng = self.shape, self.rng
        if self.left == 0:
            self.start()
        out["fresh"][i] = self.taken == 0
        total = shape.n * shape.segment
        self.extend(total + shape.segment)
        out["text"][i] = self.buffer[:total].reshape(shape.n, shape.segment)
        self.buffer = self.buffer[total:]
        self.taken += total
        self.left -= 1
        base = (self.taken - total) // shape.segment
        for position, *_, start in self.events:
            for segment in range(start // shape.segment, (position - 1) // shape.segment + 1):
                if 0 <= segment - base < shape.n:
                    out["quiet"][i, segment - base] = 0
        counts = [0] * shape.n
        while self.events and self.events[0][0] <= self.taken:
            position, key, kind, value, start = self.events.pop(0)
            self.live[key] = (kind, value, position)
            self.plan_questions(key)
            segment = start // shape.segment
            local = segment - base
            if segment == (position - 1) // shape.segment and counts[local] < FACTS_MAX:
                out["slots"][i, local, counts[local]] = [*self.key_parts(key), *self.value_parts(value)]
                counts[local] += 1

        asked = self.due.pop(self.left, [])
        rng.shuffle(asked)
        for j, key in enumerate(asked[: shape.asked]):
            kind, value, position = self.live[key]
            ids, n_answer = self.question(key, kind, value)
            self.put(out, "asked", i, j, ids, n_answer)
            out["asked_key"][i, j] = self.key_parts(key)
            out["asked_age"][i, j] = (self.taken - position) // shape.segment
            out["asked_task"][i, j] = TASKS.index(kind["name"])
        for j in range(shape.tail):
            self.tail(out, i, j, asked)

    def key_parts(self, key):
        ids = self.texts.tokenizer.encode(" " + key)
        return [ids[0], ids[-1]]

    def value_parts(self, value):
        ids = self.texts.tokenizer.encode(" " + value)
        return [*ids, *[-1] * (VALUE_PARTS - len(ids))]

    def plan_questions(self, key):
        """Chunks after which a new fact is asked for, by what is left of the stream's life then."""
        for n in range(self.mix.asks):
            wait = self.log_uniform((1, self.left)) if n and self.left else 0
            self.due.setdefault(self.left - wait, []).append(key)

    def tail(self, out, i, j, asked):
        """The open segment as it stands some tokens later, with a question about what it or the memory holds."""
        cut = self.rng.randint(0, self.shape.segment - self.shape.question)
        known = dict(self.live)
        fresh = []
        for position, key, kind, value, _ in self.events:
            if position <= self.taken + cut:
                known[key] = (kind, value, position)
                fresh.append(key)
        # a fact that is cut in two can't be asked for, neither its old nor its new value
        for position, key, *_ in self.events:
            if self.taken + cut < position <= self.taken + cut + self.shape.question:
                known.pop(key, None)
        fresh = [k for k in fresh if k in known]
        candidates = fresh or [k for k in asked if k in known]
        if candidates:
            key = self.rng.choice(candidates)
            kind, value, _ = known[key]
            ids, n_answer = self.question(key, kind, value)
        else:
            ids, n_answer = [], 0
        ids = [*self.buffer[:cut].tolist(), *ids]
        out["tail"][i, j, : len(ids)] = ids
        out["tail_length"][i, j] = len(ids)
        self.put_places(out, "tail", i, j, len(ids), n_answer)

    def put(self, out, name, i, j, ids, n_answer):
        out[name][i, j, : len(ids)] = ids
        self.put_places(out, name, i, j, len(ids), n_answer)

    @staticmethod
    def put_places(out, name, i, j, length, n_answer):
        # logits at place p predict token p + 1
        places = np.arange(length - n_answer, length) - 1
        out[name + "_places"][i, j, :n_answer] = places
        out[name + "_weight"][i, j, :n_answer] = 1


def options(kind, values, where):
    known = [field.name for field in fields(kind)]
    for key in values:
        if key not in known:
            raise ValueError(f'{where}: unknown key "{key}"; known are {", ".join(known)}')
    return kind(**{key: tuple(value) if isinstance(value, list) else value for key, value in values.items()})


class Batches:
    """Batches of `batch` streams, each going on with the same streams."""

    def __init__(self, tokenizer, corpus, shape, mix, batch, seed, split):
        self.shape, mix = options(Shape, shape, "shape"), options(Mix, mix, "mix")
        texts = getattr(corpus, split)
        self.streams = [Stream(texts, self.shape, mix, random.Random(f"{seed}-{i}")) for i in range(batch)]

    def __next__(self):
        s, b = self.shape, len(self.streams)
        zeros = lambda *shape, dtype=np.int32: np.zeros((b, *shape), dtype)
        out = {
            "text": zeros(s.n, s.segment),
            "fresh": zeros(dtype=np.bool_),
            "quiet": zeros(s.n, dtype=np.float32) + 1,
            "slots": zeros(s.n, FACTS_MAX, KEY_PARTS + VALUE_PARTS) - 1,
            "asked": zeros(s.asked, s.question),
            "asked_places": zeros(s.asked, ANSWER_MAX),
            "asked_weight": zeros(s.asked, ANSWER_MAX, dtype=np.float32),
            "asked_key": zeros(s.asked, KEY_PARTS) - 1,
            "asked_task": zeros(s.asked, dtype=np.int8) - 1,
            "asked_age": zeros(s.asked) - 1,
            "tail": zeros(s.tail, s.segment),
            "tail_places": zeros(s.tail, ANSWER_MAX),
            "tail_weight": zeros(s.tail, ANSWER_MAX, dtype=np.float32),
            "tail_length": zeros(s.tail),
            "tail_task": zeros(s.tail, dtype=np.int8) - 1,
        }
        for i, stream in enumerate(self.streams):
            stream.chunk(out, i)
        return out
