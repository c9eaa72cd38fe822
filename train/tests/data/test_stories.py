import random
import re

import pytest
from data.test_forms import made_lists

from armt_train.tasks.values import Words
from armt_train.tasks.worlds import Stories

TAKEN = r"(\S+) (?:picked up|got|took|grabbed) the (\S+) there\."
LEFT = r"(\S+) (?:put down|dropped|left|discarded) the (\S+)(?: there)?\."
MOVED = r"(\S+) (?:went|moved|travelled|journeyed|went back) to the (\S+)\."
GIVEN = r"(\S+) (?:gave|handed|passed) the (\S+) to (\S+)\."
BACK = {"north": "south", "south": "north", "east": "west", "west": "east"}


def story(kind, seed, sentences=24):
    rng = random.Random(seed)
    world = Stories(Words("train", made_lists("train"), made_lists("train")), rng, 1, 8, 0)
    world.kind = kind
    told = []
    fact = None
    for _ in range(sentences * 2):
        made = world.tell(rng)
        if made is not None and len(told) < sentences:
            text, fact = made
            fact.end = len(told)
            told.append(text)
            world.read(fact)
    return told, world.ask(rng, fact)


@pytest.mark.parametrize("seed", range(40))
def test_answers_follow_from_what_was_told(seed):
    told, ask = story(random.Random(seed).choice(("where", "object", "before", "gave")), seed)
    at, carrier, lies, trail, gifts = {}, {}, {}, {}, []
    for text in told:
        if match := re.fullmatch(MOVED, text):
            at[match[1]] = match[2]
            for thing, who in carrier.items():
                if who == match[1]:
                    trail[thing].append(match[2])
        elif match := re.fullmatch(TAKEN, text):
            who, thing = match.groups()
            assert thing not in carrier and lies.get(thing, at[who]) == at[who], "a thing is taken where it lies"
            carrier[thing] = who
            trail.setdefault(thing, []).append(at[who])
        elif match := re.fullmatch(LEFT, text):
            assert carrier.pop(match[2]) == match[1]
            lies[match[2]] = at[match[1]]
        else:
            giver, thing, taker = re.fullmatch(GIVEN, text).groups()
            assert carrier[thing] == giver
            carrier[thing] = taker
            gifts = [g for g in gifts if g[1] != thing] + [(giver, thing, taker)]
    assert ask is not None
    if match := re.fullmatch(r"Where is (?!the )(\S+)\?", ask.question):
        assert ask.answer == at[match[1]]
    elif match := re.fullmatch(r"Where is the (\S+)\?", ask.question):
        assert ask.answer == trail[match[1]][-1]
    elif match := re.fullmatch(r"Where was the (\S+) before the (\S+)\?", ask.question):
        places = [place for i, place in enumerate(trail[match[1]]) if i == 0 or trail[match[1]][i - 1] != place]
        assert places[-1] == match[2] and ask.answer == places[-2]
    elif match := re.fullmatch(r"Who gave the (\S+) to (\S+)\?", ask.question):
        assert [g[0] for g in gifts if g[1:] == match.groups()] == [ask.answer]
    elif match := re.fullmatch(r"What did (\S+) give to (\S+)\?", ask.question):
        assert [g[1] for g in gifts if (g[0], g[2]) == match.groups()] == [ask.answer]
    else:
        thing = re.fullmatch(r"Who received the (\S+)\?", ask.question)[1]
        assert [g[2] for g in gifts if g[1] == thing] == [ask.answer]


@pytest.mark.parametrize("seed", range(20))
def test_a_map_does_not_contradict_itself(seed):
    told, ask = story("north", seed)
    places, neighbours = set(), {}
    for text in told:
        a, way, b = re.fullmatch(r"The (\S+) is (\S+) of the (\S+)\.", text).groups()
        places |= {a, b}
        assert neighbours.setdefault((way, b), a) == a and neighbours.setdefault((BACK[way], a), b) == b
    # a tree: as many sentences as joins
    assert len(told) < len(places)
    if match := re.fullmatch(r"What is (north|south|east|west) of the (\S+)\?", ask.question):
        assert neighbours[match[1], match[2]] == ask.answer
    else:
        a, way = re.fullmatch(r"What is the (\S+) (\S+) of\?", ask.question).groups()
        assert neighbours[BACK[way], a] == ask.answer
