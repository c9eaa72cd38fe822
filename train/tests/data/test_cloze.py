import random

import pytest
from data.test_forms import words

from armt_train.tasks.cloze import Cloze, kinds_of

PROSE = [
    "When the rain had stopped at last, we found the kettle on the roof of the shed.",
    "She went to the market every morning and came back with an apple for her neighbour.",
    "Nothing that he had ever read about the war prepared him for what Peter told the captain.",
]


class Texts:
    def __init__(self, split="train"):
        self.split = split
        self.words = words(split)
        lists = dict(self.words.shared)
        lists["usual artifact"] = [*lists["usual artifact"], "kettle", "roof", "shed"]
        lists["usual food"] = [*lists["usual food"], "apple"]
        lists["usual person"] = [*lists["usual person"], "neighbour", "captain"]
        lists["male"] = [*lists["male"], "Peter", "April"]
        self.kinds_of = kinds_of(lists)

    def passage(self, rng):
        return PROSE


@pytest.mark.parametrize("split", ["train", "heldOut"])
def test_a_word_of_the_prose_is_another_of_its_kind(split):
    texts, rng, met = Texts(split), random.Random(1), set()
    for _ in range(60):
        world = Cloze(texts, rng, 3, 4, 0.1)
        text, fact = world.tell(rng)
        world.read(fact)
        ask = world.ask(rng, fact)
        before, after = fact.extra
        assert text == before + fact.value + after
        assert any(text.startswith(s[:12]) for s in PROSE) and text not in PROSE
        assert ask.answer == fact.value and fact.value not in ask.question
        assert not ask.raw or before.endswith(ask.question + " ")
        met.add(fact.value)
    assert len(met) > 20
    values = {w for found in texts.words.lists.values() for w in found}
    assert met <= values


def test_an_article_fits_the_word():
    texts, rng = Texts(), random.Random(2)
    texts.words.lists["usual food"] = ["plum"]
    found = set()
    for _ in range(200):
        text, fact = Cloze(texts, rng, 3, 4, 0.1).tell(rng)
        if fact.value == "plum":
            found.add(text)
    assert found and all("with a plum for" in text for text in found)


def test_names_of_months_are_no_names_of_people():
    assert "April" not in Texts().kinds_of[1] and "Peter" in Texts().kinds_of[1]


def test_a_world_ends_with_its_keys():
    texts, rng = Texts(), random.Random(3)
    world = Cloze(texts, rng, 3, 1, 0.1)
    assert world.tell(rng) is not None
    assert world.tell(rng) is None
