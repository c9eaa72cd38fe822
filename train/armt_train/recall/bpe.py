"""A byte-level BPE tokenizer in the form of Hugging Face's tokenizer.json: training, encoding, and the files that
`armt convert` reads.

Words are split as llama.cpp does under the name `qwen2`, single digits, restricted to ASCII, which is all that the
corpus holds.
"""

import json
import re
from collections import Counter, defaultdict
from functools import lru_cache

SPLIT_JSON = (
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
)
SPLIT = re.compile(
    r"(?:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\nA-Za-z0-9]?[A-Za-z]+|[0-9]| ?[^\sA-Za-z0-9]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+",
    re.I,
)


def byte_letters():
    """GPT-2's printable letter for each byte."""
    plain = [*range(33, 127), *range(161, 173), *range(174, 256)]
    letters = {b: chr(b) for b in plain}
    for n, b in enumerate(b for b in range(256) if b not in letters):
        letters[b] = chr(256 + n)
    return letters


LETTERS = byte_letters()


def split(text):
    return ["".join(LETTERS[b] for b in word.encode()) for word in SPLIT.findall(text)]


def join(parts, pair):
    out, i = [], 0
    while i < len(parts):
        if i + 1 < len(parts) and (parts[i], parts[i + 1]) == pair:
            out.append(parts[i] + parts[i + 1])
            i += 2
        else:
            out.append(parts[i])
            i += 1
    return out


class Tokenizer:
    def __init__(self, merges, end):
        self.end_text = end
        self.merges = [tuple(m) for m in merges]
        self.ranks = {m: i for i, m in enumerate(self.merges)}
        tokens = [end, *(LETTERS[b] for b in range(256)), *(a + b for a, b in self.merges)]
        self.ids = {}
        for token in tokens:
            self.ids.setdefault(token, len(self.ids))
        self.word = lru_cache(maxsize=None)(self._word)

    @classmethod
    def train(cls, words, first_words, vocab_size, end):
        """words: how often each occurs; first_words become single tokens before anything else is counted."""
        letters = set(LETTERS.values())
        newline = LETTERS[10]
        merges, made = [], set(letters)
        texts = {w: list(w) for w in words if newline not in w}

        def merge(pair):
            merges.append(pair)
            made.add(pair[0] + pair[1])

        for word in first_words:
            parts = list(word)
            for pair in merges:
                parts = join(parts, pair)
            while len(parts) > 1:
                pair = (parts[0], parts[1])
                merge(pair)
                parts = join(parts, pair)
        for w in texts:
            for pair in merges:
                if pair[0] in w:
                    texts[w] = join(texts[w], pair)

        counts, where = Counter(), defaultdict(set)
        for w, parts in texts.items():
            for pair in zip(parts, parts[1:]):
                counts[pair] += words[w]
                where[pair].add(w)
        while 1 + len(made) < vocab_size:
            pair = max(counts, key=lambda p: (counts[p], p))
            if counts[pair] < 2:
                break
            merge(pair)
            for w in list(where.pop(pair)):
                old = texts[w]
                for p in zip(old, old[1:]):
                    counts[p] -= words[w]
                new = texts[w] = join(old, pair)
                for p in zip(new, new[1:]):
                    counts[p] += words[w]
                    where[p].add(w)
            del counts[pair]
        return cls(merges, end)

    def _word(self, word):
        parts = list(word)
        while len(parts) > 1:
            best = min(zip(parts, parts[1:]), key=lambda p: self.ranks.get(p, len(self.ranks)))
            if best not in self.ranks:
                break
            parts = join(parts, best)
        return tuple(self.ids[p] for p in parts)

    def encode(self, text):
        return [i for word in split(text) for i in self.word(word)]

    @property
    def end(self):
        return self.ids[self.end_text]

    def __len__(self):
        return len(self.ids)

    def to_json(self):
        return {
            "version": "1.0",
            "truncation": None,
            "padding": None,
            "added_tokens": [
                {
                    "id": self.end,
                    "content": self.end_text,
                    "single_word": False,
                    "lstrip": False,
                    "rstrip": False,
                    "normalized": False,
                    "special": True,
                }
            ],
            "normalizer": None,
            "pre_tokenizer": {
                "type": "Sequence",
                "pretokenizers": [
                    {"type": "Split", "pattern": {"Regex": SPLIT_JSON}, "behavior": "Isolated", "invert": False},
                    {"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": True, "use_regex": False},
                ],
            },
            "post_processor": None,
            "decoder": {"type": "ByteLevel", "add_prefix_space": True, "trim_offsets": True, "use_regex": True},
            "model": {
                "type": "BPE",
                "dropout": None,
                "unk_token": None,
                "continuing_subword_prefix": None,
                "end_of_word_suffix": None,
                "fuse_unk": False,
                "byte_fallback": False,
                "ignore_merges": False,
                "vocab": self.ids,
                "merges": [list(m) for m in self.merges],
            },
        }

    @classmethod
    def load(cls, path):
        data = json.loads(path.read_text())
        return cls(data["model"]["merges"], data["added_tokens"][0]["content"])
