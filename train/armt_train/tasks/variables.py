"""Variable tracking as RULER draws it (arXiv 2404.06654): chains of assignments; values and names are asked for."""

from armt_train.data.vocabulary import held_out
from armt_train.tasks.worlds import Ask, Fact

LETTERS = "ABCDEFGHIJKLMNOPQRSTUVWXYZ"


class Variables:
    """`keys` bounds the variables of a stream. A variable is assigned once, by a number or by a variable before it."""

    task = "variables"

    def __init__(self, words, rng, kinds, keys, change):
        self.words, self.keys = words, max(2, keys)
        self.hops = rng.choice((1, 1, 2, 4))
        self.depth = {}  # as told: name -> assignments between it and its number
        self.source = {}  # as told: name -> number or name
        self.read_names = {}  # name -> its fact

    def name(self, rng):
        length = rng.choice((1, 3, 5))
        while True:
            name = "".join(rng.choice(LETTERS) for _ in range(length))
            if name not in self.source and held_out(name) == (self.words.split == "heldOut"):
                return name
            length = min(5, length + 1)

    def tell(self, rng):
        if len(self.source) >= self.keys:
            return None
        name = self.name(rng)
        chain = [n for n, depth in self.depth.items() if depth < self.hops]
        if chain and rng.random() < 0.6:
            source = rng.choice(chain)
            self.depth[name] = self.depth[source] + 1
            text = f"VAR {name} = VAR {source}."
        else:
            source = self.words.number(rng, rng.choice((2, 4, 5)))
            self.depth[name] = 0
            text = f"VAR {name} = {source}."
        self.source[name] = source
        return text, Fact(self, name, f"VAR {name}", source)

    def read(self, fact):
        self.read_names[fact.key] = fact

    def number(self, name):
        while name in self.source:
            name = self.source[name]
        return name

    def ask(self, rng, fact):
        if fact.key not in self.read_names:
            return None
        number = self.number(fact.key)
        names = [name for name in self.read_names if self.number(name) == number]
        if len(names) > 1 and rng.random() < 0.5:
            fact.end = max(self.read_names[name].end for name in names)
            question = rng.choice(
                (
                    f"Find all variables that are assigned the value {number} in the text above.",
                    f"Which variables have the value {number}?",
                )
            )
            return Ask(question, ", ".join(names), number)
        question = rng.choice((f"What is the value of VAR {fact.key}?", f"Which number does VAR {fact.key} hold?"))
        return Ask(question, number, f"VAR {fact.key}")
