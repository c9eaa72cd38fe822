import random
import re

import pytest
from data.test_forms import words

from armt_train.data.vocabulary import held_out
from armt_train.tasks import contexts
from armt_train.tasks.events import Events, frames, grammar, records
from armt_train.tasks.events.nouns import LISTS, MADE, MASS, noun
from armt_train.tasks.values import COLOURS

SPLITS = ("train", "heldOut")


def told(split, seed, count=400, change=0.1):
    """(text, fact, question) of events."""
    draw, rng = words(split), random.Random(seed)
    while count:
        world = Events(draw, rng, 4, 8, change)
        for _ in range(8):
            made = world.tell(rng)
            if made is None:
                continue
            text, fact = made
            world.read(fact)
            count -= 1
            yield text, fact, world.ask(rng, fact)
            if not count:
                return


def test_no_verb_of_the_check_is_in_training():
    assert {f.verb.base for f in frames.TRAIN}.isdisjoint(f.verb.base for f in frames.HELD_OUT)
    assert len(frames.TRAIN) + len(frames.HELD_OUT) == len(frames.ALL) >= 190
    assert len(frames.HELD_VERBS) >= 20
    assert {t.finite for t in grammar.TENSES}.isdisjoint(t.finite for t in grammar.HELD_TENSES)
    assert {name for name, _ in grammar.SHARED}.isdisjoint(name for name, _ in grammar.HELD)
    assert set(contexts.AROUND).isdisjoint(contexts.HELD_AROUND)


@pytest.mark.parametrize("frame", frames.ALL, ids=lambda f: f"{f.number}-{f.verb.base.replace(' ', '_')}")
def test_a_frame_has_known_kinds(frame):
    known = {"person", "town", "river", "company", "event", "book", *LISTS, *MASS, *MADE}
    kinds = [frame.subject, *(role.kind for role in frame.roles)]
    if frame.object is not None and not frame.object.startswith('"'):
        kinds.append(frame.object)
    assert set(kinds) <= known
    # a preposition is what tells roles apart
    assert len({role.preposition for role in frame.roles}) == len(frame.roles)


@pytest.mark.parametrize(
    "base, forms",
    [
        ("knit", ("knitted", "knits", "knitting")),
        ("carry", ("carried", "carries", "carrying")),
        ("dye", ("dyed", "dyes", "dyeing")),
        ("polish", ("polished", "polishes", "polishing")),
        ("open", ("opened", "opens", "opening")),
        ("knock_over", ("knocked over", "knocks over", "knocking over")),
    ],
)
def test_forms_of_verbs(base, forms):
    verb = frames.verb_of(base)
    assert (verb.past, verb.third, verb.ing) == forms


@pytest.mark.parametrize("split", SPLITS)
def test_a_sentence_holds_what_is_asked_for(split):
    for text, fact, ask in told(split, 1):
        assert ask.answer.lower() in text.lower(), (text, ask)
        assert all(value.lower() in text.lower() for _, value in fact.pairs)
        # the question does not hold the answer
        assert not re.search(rf"\b{re.escape(ask.answer)}\b", ask.question), (text, ask)
        assert ask.raw or ask.question[-1] in "?."
        assert "{" not in ask.question and "  " not in ask.question and " ?" not in ask.question


@pytest.mark.parametrize("split", SPLITS)
def test_words_of_answers_belong_to_the_split(split):
    draw, rng = words(split), random.Random(2)
    for kind in (*LISTS, *MASS, "person", "town", "river"):
        for _ in range(20):
            for word in re.findall(r"[^\W\d_]+", noun(draw, rng, kind, own=True).answer):
                assert held_out(word) == (split == "heldOut"), (kind, word)
    assert COLOURS


def test_a_sentence_ends_once():
    for text, _, _ in told("heldOut", 3, 600):
        assert not re.search(r"[.?!][\"')]*\.$|,,| ,|\.\.", text), text


def test_a_new_value_overrides_the_old():
    newest = {}
    rng = random.Random(4)
    world = Events(words("train"), rng, 2, 2, 0.7)
    for _ in range(60):
        made = world.tell(rng)
        if made is None:
            continue
        text, fact = made
        world.read(fact)
        newest[fact.key] = {event_role: fact.extra.nouns[event_role].answer for event_role in fact.extra.asked}
        assert world.ask(rng, fact).answer in newest[fact.key].values()
    assert len(newest) <= 2


def test_every_construction_and_record_is_used():
    seen, kinds = set(), set()
    for split in SPLITS:
        for _, fact, _ in told(split, 5, 3000, change=0):
            seen.add(fact.extra.form[0])
            kinds.add(len(fact.pairs))
    assert seen == {name for name, _ in grammar.SHARED + grammar.HELD} | {"record"}
    assert kinds == {1, 2}
    event = next(told("train", 6))[1].extra
    made = [records.record(event, random.Random(i), held) for i in range(40) for held in (False, True)]
    assert all(event.nouns[role].answer in text for text in made for role in event.asked)


def test_a_form_of_the_check_is_not_one_of_training():
    """With nouns and names put aside, no sentence of the check is one of training's."""

    def forms(split):
        found = set()
        for text, fact, _ in told(split, 7, 3000, change=0):
            if fact.extra.form[0] == "record":
                continue
            for n in fact.extra.nouns.values():
                for part in (n.text, n.later, n.answer):
                    text = text.replace(part, "_")
            found.add(re.sub(r"\d+", "0", text))
        return found

    train, held = (forms(split) for split in SPLITS)
    assert len(train) > 2000
    assert not train & held
