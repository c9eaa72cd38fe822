import random

from data.test_forms import made_lists

from armt_train.tasks.values import Words
from armt_train.tasks.variables import Variables


def test_a_variable_has_the_number_at_the_end_of_its_chain():
    rng = random.Random(1)
    world = Variables(Words("train", made_lists("train"), made_lists("train")), rng, 1, 12, 0)
    world.hops = 4
    numbers, asked = {}, 0
    for place in range(12):
        text, fact = world.tell(rng)
        fact.end = place
        name, value = text.removesuffix(".").removeprefix("VAR ").split(" = ")
        numbers[name] = numbers[value.removeprefix("VAR ")] if value.startswith("VAR ") else value
        world.read(fact)
        ask = world.ask(rng, fact)
        if ask.answer in numbers.values():
            assert ask.answer == numbers[name]
        else:
            assert sorted(ask.answer.split(", ")) == sorted(n for n in numbers if numbers[n] == numbers[name])
        asked += 1
    assert asked == 12 and len(set(numbers.values())) < 12
    assert world.tell(rng) is None
