import json
import re
from pathlib import Path

import pytest

from armt_train.data.corpus import kept_words
from armt_train.data.vocabulary import held_out, split_of, words_of
from armt_train.errors import TrainError

EVAL = Path(__file__).parents[3] / "assets" / "eval"


def test_a_phrase_belongs_to_a_split_only_if_all_its_words_do():
    words = [f"word{c}" for c in "abcdefghijklmnopqrstuvwxyz"]
    check = next(w for w in words if held_out(w))
    train = next(w for w in words if not held_out(w))
    assert split_of(f"the {train} of {train}") == "train"
    assert split_of(f"{check} and {check.upper()}") == "heldOut"
    assert split_of(f"{check} {train}") is None


def test_about_one_word_in_eight_is_held_out():
    share = sum(held_out(f"w{i}") for i in range(4000)) / 4000
    assert 0.1 < share < 0.15


def test_natural_facts_hold_their_answers_and_kept_words_are_those_of_the_answers():
    facts = json.loads((EVAL / "natural.json").read_text())["facts"]
    assert len(facts) >= 120
    assert len({f["text"] for f in facts}) == len(facts)
    for fact in facts:
        assert any(a.lower() in fact["text"].lower() for a in fact["answers"]), fact
        assert fact["question"].endswith("?") and not re.search(r"[.?!]$", fact["completion"]), fact
    kept = kept_words([EVAL / "natural.json"])
    assert "rhinoceros" in kept and "the" not in kept


def test_natural_facts_share_no_phrase_with_the_forms_of_training():
    from armt_train.tasks.forms_extra import EXTRA_RELATIONS, MORE
    from armt_train.tasks.pairs import LINES
    from armt_train.tasks.relations import RELATIONS

    forms = [line[1] for line in LINES] + [s for r in RELATIONS for s in r.statements]
    forms += [s for statements, _ in MORE.values() for s in statements] + [s for r in EXTRA_RELATIONS for s in r[3]]

    def runs(text):
        words = re.findall(r"[\w']+|\{\w\}", text.lower())
        return {tuple(words[i : i + 6]) for i in range(len(words) - 5)}

    trained = {run for form in forms for run in runs(form)}
    for fact in json.loads((EVAL / "natural.json").read_text())["facts"]:
        assert not runs(fact["text"]) & trained, fact["text"]


@pytest.mark.parametrize(
    "name, lists", [("needles", ("adjectives", "nouns")), ("stories", ("people", "places", "things"))]
)
def test_words_for_measuring_are_held_out(name, lists):
    data = json.loads((EVAL / f"{name}.json").read_text())
    for words in lists:
        assert len(data[words]) >= 15
        assert all(held_out(part) for word in data[words] for part in words_of(word))


def test_a_file_of_kept_facts_that_is_none_is_named(tmp_path):
    file = tmp_path / "facts.json"
    file.write_text("[]")
    with pytest.raises(TrainError, match="--keep .*facts.json"):
        kept_words([file])


def test_books_have_twenty_questions_each_and_their_answers():
    books = json.loads((EVAL / "books.json").read_text())["books"]
    assert [len(book["questions"]) for book in books] == [20, 20, 20]
    for book in books:
        assert len({q["question"] for q in book["questions"]}) == 20
        assert all(q["answers"] and q["quote"] for q in book["questions"])
