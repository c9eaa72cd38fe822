"""Data for tests: streams of random tokens with a key and a value in each segment, and a question of the key's. The
arrays are those that tasks make.
"""

import random

import numpy as np

TASKS = ["copy", "other"]
DEFAULTS = dict(segment=8, n=2, questions=2, question=6, answer=2, tail=1, facts=2, key_parts=1, value_parts=2)


class Corpus:
    def __init__(self, tokenizer, settings):
        self.size = len(tokenizer)


class Batches:
    def __init__(self, tokenizer, corpus, shape, mix, batch, seed, split):
        unknown = set(shape) - set(DEFAULTS)
        if unknown:
            raise ValueError(f'shape: unknown key "{sorted(unknown)[0]}"')
        self.corpus, self.shape, self.life = corpus, DEFAULTS | shape, mix.get("life", 2)
        self.streams = [dict(rng=random.Random(f"{seed}-{split}-{i}"), left=0) for i in range(batch)]

    def __next__(self):
        s, b = self.shape, len(self.streams)
        parts = s["key_parts"] + s["value_parts"]
        ids = lambda *shape: np.zeros((b, *shape), np.int32)
        weights = lambda *shape: np.zeros((b, *shape), np.float32)
        questions, answer, tail = s["questions"], s["answer"], s["tail"]
        out = {
            "text": ids(s["n"], s["segment"]),
            "fresh": np.zeros(b, bool),
            "quiet": weights(s["n"]),
            "asked": ids(questions, s["question"]),
            "asked_places": ids(questions, answer),
            "asked_weight": weights(questions, answer),
            "asked_task": np.full((b, questions), -1, np.int8),
            "asked_age": ids(questions) - 1,
            "asked_segment": ids(questions) - 1,
            "asked_key": ids(questions, s["key_parts"]) - 1,
            "tail": ids(tail, s["segment"]),
            "tail_places": ids(tail, answer),
            "tail_weight": weights(tail, answer),
            "tail_length": ids(tail),
            "tail_task": np.full((b, tail), -1, np.int8),
            "slots": ids(s["n"], s["facts"], parts) - 1,
        }
        for i, stream in enumerate(self.streams):
            self.chunk(out, i, stream)
        return out

    def chunk(self, out, i, stream):
        rng, s, size = stream["rng"], self.shape, self.corpus.size
        out["fresh"][i] = stream["left"] == 0
        stream["left"] = stream["left"] - 1 if stream["left"] else self.life - 1
        draw = lambda n: [rng.randrange(size) for _ in range(n)]
        out["text"][i] = [draw(s["segment"]) for _ in range(s["n"])]
        facts = []
        for segment in range(s["n"]):
            if rng.random() < 0.3:
                out["quiet"][i, segment] = 1
                continue
            fact = draw(1 + s["answer"])
            out["text"][i, segment, 1 : 2 + s["answer"]] = fact
            out["slots"][i, segment, 0, : len(fact)] = fact
            facts.append((segment, fact))
        for q in range(min(s["questions"], len(facts))):
            segment, (key, *value) = facts[q]
            row = [3, key, 4, *value]
            out["asked"][i, q, : len(row)] = row
            out["asked_places"][i, q] = [2 + j for j in range(len(value))]
            out["asked_weight"][i, q] = 1
            out["asked_task"][i, q] = q % 2
            out["asked_age"][i, q] = s["n"] - 1 - segment
            out["asked_segment"][i, q] = segment
            out["asked_key"][i, q, 0] = key
        for r in range(s["tail"]):
            length = rng.randrange(4, s["segment"] + 1)
            out["tail"][i, r, :length] = draw(length)
            out["tail_length"][i, r] = length
            out["tail_places"][i, r, 0] = length - 2
            out["tail_weight"][i, r, 0] = 1
            out["tail_task"][i, r] = 0
