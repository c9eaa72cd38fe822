"""Facts out of the prose itself: a sentence in which a noun or a name stands in the place of another of its kind, so
that only what was read tells it. As many sentence forms as the prose has sentences.
"""

import re

from armt_train.tasks.values import MONTHS, article
from armt_train.tasks.worlds import Ask, Fact

KINDS = ("usual artifact", "usual animal", "usual food", "usual person", "usual substance", "tool", "furniture",
         "garment", "room", "building", "container", "vehicle", "tree", "job")  # fmt: skip
NAMES = ("female", "male")
BEFORE = r"(?:the|a|an|his|her|their|my|our|your|this|that|its|some|every|no|another|one)"
SLOT = re.compile(rf"\b{BEFORE} (?=([a-z]{{3,14}})\b(?: ([a-z]{{3,14}})\b)?)")
NAME = re.compile(r"(?<=[a-z,;] )[A-Z][a-z]{2,11}\b(?! [A-Z])")
LEAST_BEFORE = 4  # words before the slot, which a completion repeats
TRIES = 24  # sentences that are looked at
# what a question of one word about a text can look like
ASKS = (
    'Which word is missing: "{b} ___{a}"?',
    'Fill in the gap: "{b} ___{a}"',
    'Complete the sentence from the text: "{b}"',
    'How does it go on: "{b}"?',
    'What follows "{b}" in the text?',
    '"{b} ..." What comes next?',
)
HELD_ASKS = ('What stands in the gap: "{b} [...]{a}"?', 'Go on: "{b}"')


class Cloze:
    """Values are words of the split, sentences of the split's prose."""

    task = "cloze"

    def __init__(self, texts, rng, kinds, keys, change):
        self.texts, self.words, self.keys = texts, texts.words, keys
        self.held = texts.split == "heldOut"
        self.known, self.live = set(), {}

    def candidates(self, text):
        """(start, end, list) of words that another of the list can replace."""
        adjectives, kinds = self.texts.kinds_of
        for m in SLOT.finditer(text):
            first, second = kinds.get(m[1]), kinds.get(m[2])
            # of "the old kettle" and "the kitchen table" the second word
            if second is not None and (first is not None or m[1] in adjectives):
                yield m.start(2), m.end(2), second
            elif first is not None:
                yield m.start(1), m.end(1), first
        for m in NAME.finditer(text):
            lists = kinds.get(m[0])
            if lists is not None:
                yield m.start(), m.end(), lists

    def tell(self, rng):
        if len(self.known) >= self.keys:
            return None
        for _ in range(TRIES):
            passage = self.texts.passage(rng)
            text = rng.choice(passage) if passage else ""
            if not 40 <= len(text) <= 260 or "://" in text:
                continue
            found = [c for c in self.candidates(text) if text.count(" ", 0, c[0]) >= LEAST_BEFORE]
            if not found:
                continue
            start, end, lists = rng.choice(found)
            value = self.words.pick(rng, *lists)
            before, after = text[:start], text[end:]
            old = text[start:end]
            if old in (before + after).split() or value == old:
                continue
            if re.search(r"\b[Aa]n? $", before):
                before = re.sub(r"(a)n? $", rf"\1{article(value)[1:]} ", before, flags=re.I)
            key = before
            if key in self.known:
                continue
            self.known.add(key)
            key_text = " ".join(before.split()[-3:])
            return before + value + after, Fact(self, key, key_text, value, extra=(before, after))
        return None

    def read(self, fact):
        self.live[fact.key] = fact

    def ask(self, rng, fact):
        if fact.key not in self.live:
            return None
        before, after = fact.extra
        words = before.split()
        # the beginning of the sentence, or the words just before the gap
        if len(words) > 14 or rng.random() < 0.3:
            words = words[-rng.randint(min(6, len(words)), min(12, len(words))) :]
        begin = " ".join(words)
        if rng.random() < 0.65:
            return Ask(begin, fact.value, fact.key_text, raw=True)
        rest = after.split()[: rng.choice((0, 3, 5))]
        form = rng.choice(HELD_ASKS if self.held else ASKS)
        tail = (" " if after[:1].isspace() else "") + " ".join(rest) if rest else ""
        return Ask(form.format(b=begin, a=tail), fact.value, fact.key_text)


def kinds_of(lists):
    """(adjectives, {word: lists that have it}) of a split's words."""
    kinds = {}
    for name in KINDS:
        for word in lists.get(name, ()):
            kinds.setdefault(word, []).append(name)
    # names of people, as long as they are no words
    for name in NAMES:
        for word in set(lists.get(name, ())) - set(MONTHS):
            kinds.setdefault(word, []).append(name)
    return frozenset(lists.get("adjective", ())), {word: tuple(found) for word, found in kinds.items()}
