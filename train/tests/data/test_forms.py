import random
import re
import string

import pytest

from armt_train.data.vocabulary import held_out, words_of
from armt_train.tasks.forms_extra import ENDINGS, EXTRA_RELATIONS, MORE, OPENINGS
from armt_train.tasks.pairs import HELD_OUT_EVERY, LINES, Pairs, filled
from armt_train.tasks.relations import RELATIONS
from armt_train.tasks.values import Words, article, plural

CONSONANTS = "bdfgklmnprstvz"
LISTS = (
    "usual artifact,usual animal,usual food,usual substance,usual person,usual act,artifact,"
    "animal,food,person,adjective,tool,furniture,instrument,garment,bird,dog,fish,tree,"
    "flower,fruit,dish,drink,container,room,building,rock,fabric,town,island,mountain,river,"
    "country,language,science,sport,dance,illness,vehicle,job,profession,female,male,last,"
    "plant,verb,thinker,substance"
).split(",")


def made_lists(split):
    """Word lists of a split, of made-up words."""
    rng = random.Random(split)
    lists = {}
    for name in LISTS:
        words = []
        while len(words) < 30:
            word = "".join(rng.choice(CONSONANTS) + rng.choice("aeiou") for _ in range(3))
            if held_out(word) == (split == "heldOut"):
                words.append(word)
        lists[name] = words
    return lists


def words(split):
    return Words(split, made_lists(split), made_lists("train"))


def slots(form):
    return [name for _, name, _, _ in string.Formatter().parse(form) if name]


def test_statements_have_a_key_and_a_value_and_questions_a_key():
    forms = [*MORE.values(), *((r[3], r[4]) for r in EXTRA_RELATIONS)]
    for statements, questions in forms:
        for statement in statements:
            assert sorted(slots(statement)) == ["k", "v"], statement
            assert statement[-1] not in ".!", statement
        for question in questions:
            assert slots(question) == ["k"], question
            assert question.endswith("?"), question
    assert set(MORE) <= {r.name for r in RELATIONS}
    assert all(len(set(r[3])) >= 3 and len(set(r[4])) >= 2 for r in EXTRA_RELATIONS)
    assert all(set(slots(text)) <= {"n"} for text in OPENINGS + ENDINGS)


def test_there_are_forms_for_open_vocabulary():
    assert len(RELATIONS) >= 120 and len({r.name for r in RELATIONS}) == len(RELATIONS)
    assert len({s for r in RELATIONS for s in r.statements}) >= 700


def test_forms_that_are_added_leave_the_last_ones_to_the_check():
    for relation in RELATIONS:
        if relation.name in MORE:
            assert relation.statements[-1] not in MORE[relation.name][0]
            assert relation.questions[-1] not in MORE[relation.name][1]
            assert set(MORE[relation.name][0]) < set(relation.statements)


@pytest.mark.parametrize(
    "word",
    "a unicorn,an uneven floor,a eucalyptus,an hour,an honest man,a one-off,an owl,a uniform,a ewe,an egg".split(","),
)
def test_an_article_goes_by_sound(word):
    given, rest = word.split(" ", 1)
    assert article(rest) == given


@pytest.mark.parametrize(
    "one, many",
    [
        ("key", "keys"),
        ("lady", "ladies"),
        ("box", "boxes"),
        ("pliers", "pliers"),
        ("glass", "glasses"),
        ("sea bass", "sea basses"),
    ]
    + [
        ("walrus", "walruses"),
        ("bonefish", "bonefish"),
        ("postman", "postmen"),
        ("knife", "knives"),
        ("bookshelf", "bookshelves"),
    ],
)
def test_plurals(one, many):
    assert plural(one) == many


@pytest.mark.parametrize("split", ["train", "heldOut"])
def test_each_kind_of_value_can_be_drawn(split):
    draw, rng = words(split), random.Random(1)
    kinds = {line[0] for line in LINES} | {r[2] for r in EXTRA_RELATIONS} | {r.value for r in RELATIONS}
    for kind in sorted(kinds):
        for _ in range(20):
            assert draw.value(rng, kind).strip(), kind


@pytest.mark.parametrize("kind", ["objects", "doing", "host", "dishphrase", "address", "animal"])
def test_words_of_a_value_belong_to_its_split(kind):
    rng = random.Random(2)
    shared = set(
        "two three four five six seven eight nine ten eleven twelve fifteen twenty thirty forty and with".split()
    )
    for split in ("train", "heldOut"):
        draw = words(split)
        # a plural is a word of its own for the hash; what it was made of is of the split
        vocabulary = {w for name in LISTS for w in draw.lists[name]}
        for _ in range(40):
            for word in words_of(draw.value(rng, kind)):
                stem = next(
                    (w for w in (word, re.sub(r"s$", "", word), re.sub(r"es$", "", word)) if w in vocabulary), word
                )
                assert word in shared or stem in vocabulary or held_out(word) == (split == "heldOut"), (kind, word)


def test_pairs_name_nothing_that_the_statement_does_not_have():
    for _, statement, questions, completion in LINES:
        known = set(slots(statement))
        assert "v" in known
        assert len(questions) >= 2
        for question in questions:
            assert set(slots(question)) <= known - {"v"}, question
            assert slots(question), question
        assert set(slots(completion)) <= known - {"v"}, completion


def test_pairs_ask_for_the_newest_value():
    rng = random.Random(3)
    world = Pairs(words("train"), rng, 3, 2, 0.5)
    newest = {}
    for _ in range(40):
        text, fact = world.tell(rng)
        assert fact.value in text
        world.read(fact)
        newest[fact.key] = fact.value
        ask = world.ask(rng, fact)
        assert ask.answer == newest[fact.key]
    assert len(newest) <= 2


def test_pairs_of_the_check_are_never_trained_on():
    train, held = (Pairs(words(split), random.Random(4), 200, 8, 0.1) for split in ("train", "heldOut"))
    assert not set(train.lines) & set(held.lines)
    assert len(held.lines) == len([i for i in range(len(LINES)) if i % HELD_OUT_EVERY == 3])


def test_an_article_follows_the_word():
    assert filled("a {x} and a {y}", {"x": "old map", "y": "mug"}) == "an old map and a mug"
