"""How many sentence forms do facts of open vocabulary have, and how much of the check's was in training?

Draws facts of each world, puts a sign in the place of names, nouns and numbers of the word lists (the value's is
`<V>`), and counts what is left: distinct sentences, distinct questions, distinct surroundings of the value (two words
before and two after), and how many of the held-out ones training has, too. It also counts what making data takes:
streams a second of processor time, for each stage of a recipe. On the CPU, without PyTorch's models:

    PYTHONPATH=train python bench/training/diversity.py --data train/data --base BASE.gguf --json FILE
"""

import argparse
import json
import random
import re
import time
from pathlib import Path

from armt_train.base.gguf_file import GgufBase
from armt_train.base.tokenizer import BaseTokenizer
from armt_train.loop.recipe import read_recipe
from armt_train.tasks import Batches, Corpus
from armt_train.tasks.streams import OF_TEXTS, WORLDS

SPLITS = ("train", "heldOut")
LEFT = {
    "verb",
    "adjective",
    "female",
    "male",
    "last",
    "town",
}  # of these lists, only capitalized words are names


def signs_of(lists):
    """Words in whose place a sign stands: nouns that are no adjectives or verbs, and names."""
    verbs = {
        w
        for split in SPLITS
        for name in ("verb", "adjective")
        for w in lists[split].get(name, [])
    }
    nouns = {
        w
        for split in SPLITS
        for name, words in lists[split].items()
        if name not in LEFT
        for w in words
    }
    parts = {part for word in nouns for part in word.lower().split()} - verbs
    return parts


def form_of(text, value, nouns):
    text = text.replace(value, " \0 ", 1) if value else text
    words = []
    for word in re.findall(r"\0|[^\W\d_]+(?:'s)?|\d+(?:[.,:/-]\d+)*|[^\w\s]", text):
        if word == "\0":
            words.append("<V>")
            continue
        possessive = "'s" if word.endswith("'s") else ""
        bare = word.removesuffix("'s")
        first = not words or words[-1] in '.!?:"-'
        is_name = bare[0].isupper() and (not first or bare.lower() in nouns)
        one = re.sub(r"(?:ies|es|s)$", "", bare.lower())
        if bare[0].isdigit():
            words.append("<N>")
        elif is_name or bare in nouns or one in nouns and len(one) > 3:
            if words and words[-1].startswith("<W>"):
                words[-1] = "<W>" + possessive
            else:
                words.append("<W>" + possessive)
        else:
            words.append(bare.lower() + possessive)
    return " ".join(words)


def surroundings(form):
    words = ["", "", *form.split(), "", ""]
    for i, word in enumerate(words):
        if word == "<V>":
            return " ".join(words[i - 2 : i + 3])
    return None


def trigrams(forms):
    return {
        tuple(form.split()[i : i + 3])
        for form in forms
        for i in range(len(form.split()) - 2)
    }


def facts(corpus, split, world, count, seed, nouns):
    rng = random.Random(f"{seed}-{split}-{world}")
    texts = getattr(corpus, split)
    statements, questions, around = [], [], []
    while len(statements) < count:
        made = WORLDS[world](
            texts if world in OF_TEXTS else texts.words, rng, 6, 24, 0.1
        )
        for _ in range(24):
            told = made.tell(rng)
            if told is None:
                continue
            text, fact = told
            made.read(fact)
            form = form_of(text, fact.value, nouns)
            statements.append(form)
            place = surroundings(form)
            if place:
                around.append(place)
            ask = made.ask(rng, fact)
            if ask is not None:
                questions.append(form_of(ask.question, None, nouns))
    return statements[:count], questions[:count], around[:count]


def shared(held, known):
    return round(sum(form in known for form in held) / max(1, len(held)), 4)


def main():
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument(
        "--base", type=Path, required=True, help="a GGUF file, for its tokenizer"
    )
    parser.add_argument(
        "--data", default="train/data", help="what `armt-train corpus` wrote"
    )
    parser.add_argument(
        "--count",
        type=int,
        default=20_000,
        help="facts of each world and split (default: 20,000)",
    )
    parser.add_argument("--recipe", default="memory")
    parser.add_argument("--seed", default="forms")
    parser.add_argument("--json", type=Path, help="file to write the counts to")
    parser.add_argument(
        "--samples", type=int, default=0, help="print so many facts instead"
    )
    parser.add_argument("--worlds", default="open,pair,event,cloze")
    options = parser.parse_args()

    tokenizer = BaseTokenizer.from_gguf(GgufBase(options.base))
    corpus = Corpus(tokenizer, {"folder": options.data})
    worlds = options.worlds.split(",")
    if options.samples:
        return samples(corpus, worlds, options.samples, options.seed)
    lists = json.loads((Path(options.data) / "words.json").read_text())
    nouns = signs_of(lists)
    found = {}
    for world in worlds:
        made = {
            split: facts(corpus, split, world, options.count, options.seed, nouns)
            for split in SPLITS
        }
        told = {}
        for i, name in enumerate(("statements", "questions", "surroundings")):
            train, held = (made[split][i] for split in SPLITS)
            grams = trigrams(train)
            told[name] = {
                "facts": len(train),
                "distinct": len(set(train)),
                "distinct held out": len(set(held)),
                "held out that training has": shared(held, set(train)),
                "three words in a row that training has": shared(
                    [g for form in held for g in trigrams([form])], grams
                ),
            }
        found[world] = told
        print(world, json.dumps(told), flush=True)
    recipe, _ = read_recipe(options.recipe)
    speed = {}
    for stage in recipe.stages:
        source = Batches(
            tokenizer, corpus, stage.shape, stage.mix, 16, "speed", "train"
        )
        next(source)
        start, made = time.process_time(), 0
        while time.process_time() - start < 3:
            next(source)
            made += 16
        speed[stage.name] = round(made / (time.process_time() - start), 1)
        print(
            f"{stage.name}: {speed[stage.name]} streams a second of a core", flush=True
        )
    if options.json:
        told = {
            "seed": options.seed,
            "facts": found,
            "streams a second of processor time": speed,
        }
        options.json.write_text(json.dumps(told, indent=1) + "\n")


def samples(corpus, worlds, count, seed):
    for split in SPLITS:
        texts = getattr(corpus, split)
        rng = random.Random(f"{seed}-{split}")
        for i in range(count):
            world = worlds[i % len(worlds)]
            made = WORLDS[world](
                texts if world in OF_TEXTS else texts.words, rng, 6, 24, 0.1
            )
            told = next(filter(None, (made.tell(rng) for _ in range(50))), None)
            if told is None:
                continue
            text, fact = told
            made.read(fact)
            ask = made.ask(rng, fact)
            print(f"{split} {world}: {text}\n    ? {ask.question}\n    = {ask.answer}")


if __name__ == "__main__":
    main()
