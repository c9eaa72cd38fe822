import json
import lzma
import pickle
import random
import re

import numpy as np
import pytest
from data.test_forms import made_lists

from armt_train.tasks import TASKS, Batches, Corpus
from armt_train.tasks.corpus import parts_of, read_folder, read_own

S, N = 96, 4


class WordTokenizer:
    """A word with the space before it is a token; a token's id is given when it is first met."""

    chat_template = None

    def __init__(self):
        self.ids, self.texts = {}, []
        self.end = self.number("<end>")

    def number(self, text):
        if text not in self.ids:
            self.ids[text] = len(self.texts)
            self.texts.append(text)
        return self.ids[text]

    def encode(self, text, special=False):
        return [self.number(piece) for piece in re.findall(r" ?\w+|\s|\S", text)]

    def encode_batch(self, texts):
        return [self.encode(text) for text in texts]

    def decode(self, ids):
        return "".join(self.texts[i] for i in ids)

    def id(self, text):
        return self.ids.get(text)


@pytest.fixture(scope="module")
def data_folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("data")
    rng = random.Random(0)
    for split in ("train", "heldOut"):
        lists = made_lists(split)
        words = [w for name in ("adjective", "verb", "usual act", "usual substance") for w in lists[name]]
        sentence = lambda words=words: " ".join(rng.choices(words, k=rng.randint(13, 20))).capitalize() + "."
        chapters = ["\n".join(" ".join(sentence() for _ in range(4)) for _ in range(5)) for _ in range(20)]
        (folder / f"prose-{split}.txt.xz").write_bytes(lzma.compress("\n\n".join(chapters).encode()))
    (folder / "words.json").write_text(json.dumps({split: made_lists(split) for split in ("train", "heldOut")}))
    return folder


@pytest.fixture(scope="module")
def corpus(data_folder):
    return Corpus(WordTokenizer(), {"folder": str(data_folder)})


def batches(corpus, split="train", seed="a", batch=3, **mix):
    mix = {"worlds": {"open": 1}, "facts": [2, 6], "life": [3, 3], **mix}
    shape = {"segment": S, "n": N, "questions": 6, "question": 64, "answer": 16, "tail": 1}
    return Batches(corpus.train.tokenizer, corpus, shape, mix, batch, seed, split)


def rows(corpus, batch):
    """(task, question, answer, age, stream) of the rows that ask."""
    decode = corpus.train.tokenizer.decode
    for b, q in np.argwhere(batch["asked_task"] >= 0):
        places = batch["asked_places"][b, q][batch["asked_weight"][b, q] > 0]
        ids = batch["asked"][b, q]
        task, age = TASKS[batch["asked_task"][b, q]], batch["asked_age"][b, q]
        yield task, decode(ids[: places[0] + 1]), decode(ids[places + 1]), age, b


def test_the_same_seed_gives_the_same_batches_and_another_others(corpus):
    one, two, other = batches(corpus), batches(corpus), batches(corpus, seed="b")
    for _ in range(4):
        first, second = next(one), next(two)
        assert all(np.array_equal(first[key], second[key]) for key in first)
    assert not np.array_equal(first["text"], next(other)["text"])


def test_batches_go_on_exactly_after_pickling(corpus):
    source = batches(corpus, worlds={"open": 1, "story": 1, "needle": 1, "six": 1}, recite=0.5)
    next(source)
    copy = pickle.loads(pickle.dumps(source))
    for _ in range(3):
        first, second = next(source), next(copy)
        assert all(np.array_equal(first[key], second[key]) for key in first)


@pytest.mark.parametrize("worlds", [{"open": 1}, {"six": 1}, {"needle": 1}])
@pytest.mark.parametrize("split", ["train", "heldOut"])
def test_an_answer_was_read_before_it_is_asked_for(corpus, worlds, split):
    source = batches(corpus, split, worlds=worlds, cut=0.0, several=0.0)
    read, asked = [""] * 3, 0
    for _ in range(9):
        batch = next(source)
        for b in range(3):
            text = corpus.train.tokenizer.decode(batch["text"][b].reshape(-1))
            read[b] = text if batch["fresh"][b] else read[b] + text
        for _, _, answer, age, b in rows(corpus, batch):
            parts = answer.replace("<end>", "").strip().rstrip(".").split(", ")
            # a value that begins its sentence has a capital there
            assert all(part.lower() in read[b].lower() for part in parts if len(part) > 3), answer
            assert 0 <= age <= 3 * N
            asked += 1
    assert asked > 20


@pytest.mark.parametrize("world", ["open", "pair", "event", "six"])
def test_the_segment_of_a_question_has_its_answer(corpus, world):
    source = batches(corpus, worlds={world: 1}, cut=0.0, several=0.0, life=[4, 4])
    decode, found, older = corpus.train.tokenizer.decode, 0, 0
    for _ in range(16):
        batch = next(source)
        for b, q in np.argwhere(batch["asked_task"] >= 0):
            segment = batch["asked_segment"][b, q]
            older += segment < 0
            if segment >= 0:
                places = batch["asked_places"][b, q][batch["asked_weight"][b, q] > 0]
                answer = decode(batch["asked"][b, q][places + 1]).replace("<end>", "").strip().rstrip(".")
                assert answer.lower() in decode(batch["text"][b, segment]).lower()
                found += 1
    assert found > 10 and older > 10


def test_stories_and_needles_stand_in_no_single_segment(corpus):
    source = batches(corpus, worlds={"story": 1, "needle": 1, "variables": 1}, cut=0.0)
    assert all((next(source)["asked_segment"] == -1).all() for _ in range(6))


@pytest.mark.parametrize("world", ["open", "pair", "event"])
def test_every_answer_that_has_an_end_is_trained_to_end(corpus, world):
    source = batches(corpus, worlds={world: 1}, cut=0.0, several=0.0, chat=0.0)
    ends = {".": 0, "<end>": 0}
    for _ in range(12):
        for _, question, answer, _, _ in rows(corpus, next(source)):
            # a text to be continued ends with a full stop, the answer to a question with the token for it
            raw = corpus.train.before.strip() not in question
            ends["." if raw else "<end>"] += 1
            assert answer.endswith("." if raw else "<end>"), (question, answer)
    assert all(ends.values())


def test_a_recitation_is_what_the_text_says(corpus):
    source = batches(corpus, worlds={"six": 1}, facts=[1, 1], recite=1.0, cut=0.0)
    read, asked = [""] * 3, 0
    for _ in range(6):
        batch = next(source)
        for b in range(3):
            text = corpus.train.tokenizer.decode(batch["text"][b].reshape(-1))
            read[b] = text if batch["fresh"][b] else read[b] + text
        for task, question, answer, _, b in rows(corpus, batch):
            if task != "recitation":
                continue
            cue = re.search(r'"(.*?)("| go on|\n|$)', question)[1] if '"' in question else question
            assert f"{cue.strip()} {answer.strip()}" in read[b]
            asked += 1
    assert asked > 20


def test_segments_without_facts_are_quiet_and_slots_hold_the_facts(corpus):
    source = batches(corpus, worlds={"six": 1}, facts=[2, 4], cut=0.0)
    decode = corpus.train.tokenizer.decode
    quiet = held = 0
    for _ in range(6):
        batch = next(source)
        for b in range(3):
            for i in range(N):
                slots = batch["slots"][b, i]
                there = slots[slots[:, 0] >= 0]
                quiet += batch["quiet"][b, i]
                held += len(there)
                assert not (len(there) and batch["quiet"][b, i])
                for slot in there:
                    value = decode(slot[4:][slot[4:] >= 0]).strip()
                    assert value in decode(batch["text"][b, i])
    assert quiet and held


def test_questions_that_a_segments_end_cuts_go_on_in_the_row(corpus):
    source = batches(corpus, worlds={"six": 1}, facts=[8, 8], cut=1.0)
    decode, found = corpus.train.tokenizer.decode, 0
    for _ in range(12):
        batch = next(source)
        for b in range(3):
            end = decode(batch["text"][b].reshape(-1)[-12:])
            for task, question, _, _, stream in rows(corpus, batch):
                whole = question.startswith("\nQuestion: ")
                if stream == b and task == "six kinds" and not whole and "?\nAnswer:" in question:
                    assert re.search(r"\nQ|\nQuestion|\n$", end), (end, question)
                    assert re.search(r"\nQuestion: .*\?\nAnswer:$", end + question, re.S), (end, question)
                    found += 1
                    break
    assert found


def test_the_open_segment_ends_with_its_answer(corpus):
    source = batches(corpus, worlds={"six": 1}, facts=[8, 8])
    asked = 0
    for _ in range(8):
        batch = next(source)
        for b in range(3):
            length, weight = batch["tail_length"][b, 0], batch["tail_weight"][b, 0]
            assert length <= S and not batch["tail"][b, 0, length:].any()
            if weight.any():
                assert batch["tail_places"][b, 0][weight > 0].max() == length - 2
                assert batch["tail_task"][b, 0] >= 0
                asked += 1
    assert asked


@pytest.mark.parametrize("world", ["open", "six", "needle", "event", "story"])
def test_an_open_segment_answers_the_question_about_itself(corpus, world):
    source = batches(corpus, worlds={world: 1}, open=1.0, cut=0.0)
    asked = 0
    for _ in range(12):
        batch = next(source)
        assert not batch["tail_open"][batch["tail_weight"].sum(-1) == 0].any()
        for b, j in np.argwhere(batch["tail_open"]):
            places = batch["tail_places"][b, j][batch["tail_weight"][b, j] > 0]
            row = batch["tail"][b, j][: batch["tail_length"][b, j]]
            decode = corpus.train.tokenizer.decode
            before, answer = decode(row[: places[0] + 1]), decode(row[places + 1])
            parts = answer.replace("<end>", "").strip().rstrip(".").split(", ")
            assert all(part.lower() in before.lower() for part in parts if len(part) > 3), (before, answer)
            asked += 1
    assert asked > 12


def test_facts_of_an_open_segment_leave_the_stream_as_it_was(corpus):
    source = batches(corpus, open=1.0, cut=0.0)
    for _ in range(3):
        out, stream = next(source), source.streams[0]
        live, buffer = [dict(world.live) for world in stream.worlds], list(stream.buffer)
        told = [stream.open_facts(out, 0, 0) for _ in range(8)]
        assert any(told)
        assert live == [world.live for world in stream.worlds] and buffer == stream.buffer


def test_first_tokens_weigh_more_and_long_answers_no_more_than_the_recipe_says(corpus):
    source = batches(corpus, worlds={"needle": 1}, first=2.0, most=3.0, cut=0.0)
    lengths = set()
    for _ in range(8):
        batch = next(source)
        for weights in batch["asked_weight"][batch["asked_task"] >= 0]:
            weights = weights[weights > 0]
            lengths.add(len(weights))
            assert weights[0] == 2.0
            assert weights[1:].sum() <= 3.001 and (weights[1:] <= 1).all()
            if 1 < len(weights) <= 4:
                assert (weights[1:] == 1).all()
    assert max(lengths) > 4 and min(lengths) <= 4


def test_a_share_of_the_streams_lives_long_with_draws_of_its_own(corpus):
    long = {"share": 0.5, "life": [20, 20], "density": [1.0, 1.0], "most_facts": 7, "asks": 40}
    source = batches(corpus, batch=24, life=[2, 2], density=[1.0, 1.0], cut=0.0, long=long)
    fresh = np.zeros(24, int)
    for _ in range(20):
        fresh += next(source)["fresh"]
    assert set(fresh) == {1, 10} and 6 <= (fresh == 1).sum() <= 18
    for stream, starts in zip(source.streams, fresh):
        assert len(stream.places) == 7 if starts == 1 else len(stream.places) > 7
    # a worker with one stream has a long one as often
    alone = [next(iter(batches(corpus, batch=1, seed=str(i), long=long).streams)).left == 20 for i in range(24)]
    assert 6 <= sum(alone) <= 18


def test_wrong_settings_are_named(corpus):
    with pytest.raises(ValueError, match='mix: unknown key "fact"'):
        batches(corpus, fact=[1, 2])
    with pytest.raises(ValueError, match='mix.worlds: unknown world "opne"'):
        batches(corpus, worlds={"opne": 1})
    with pytest.raises(ValueError, match='mix.long: unknown key "lives"'):
        batches(corpus, long={"share": 0.5, "lives": [2, 2]})
    for share in ({}, {"share": 0}, {"share": 2}):
        with pytest.raises(ValueError, match="mix.long: its share"):
            batches(corpus, long={"life": [2, 2], **share})
    with pytest.raises(ValueError, match="folder"):
        Corpus(WordTokenizer(), {"folder": "/nowhere"})


def write_lines(file, *records):
    file.write_text("".join(json.dumps(record) + "\n" for record in records))
    return file


def own_rows(corpus, file, **mix):
    corpus.own = read_own(file)
    try:
        source = batches(corpus, own=1.0, **mix)
        made = [next(source) for _ in range(3)]
        text = corpus.train.tokenizer.decode(np.concatenate([batch["text"].reshape(-1) for batch in made]))
        found = [row for batch in made for row in rows(corpus, batch)]
        return text, [(question, answer) for task, question, answer, *_ in found if task == "own"]
    finally:
        corpus.own = []


def test_own_facts_are_asked_for(tmp_path, corpus):
    fact = {"text": "The boiler is a Kessel 7.", "question": "Which boiler is it?", "answer": "Kessel 7"}
    file = write_lines(tmp_path / "own.jsonl", fact)
    _, asked = own_rows(corpus, file)
    assert any("Which boiler" in question and "Kessel 7" in answer for question, answer in asked)
    write_lines(file, {"text": 1})
    with pytest.raises(ValueError, match="own.jsonl, line 1"):
        read_own(file)


CHAT = [
    {"role": "user", "content": "Our boiler is a Kessel 7."},
    {"role": "assistant", "content": "Noted."},
    {"role": "user", "content": "Which boiler is it?"},
    {"role": "assistant", "content": "A Kessel 7"},
]


def test_own_chats_are_told_and_asked_for_in_the_template(tmp_path, corpus, monkeypatch):
    file = write_lines(tmp_path / "chats.jsonl", {"messages": CHAT})
    text, asked = own_rows(corpus, file, chat=0.0)
    assert "Our boiler is a Kessel 7.\nNoted." in text  # the base has no template
    assert any("Which boiler" in question and "Kessel" in answer for question, answer in asked)

    tokenizer = type(corpus.train.tokenizer)
    render = lambda self, messages, generation_prompt=True: (
        "".join(f"[{m['role']}] {m['content']} " for m in messages) + "[assistant] " * generation_prompt
    )
    monkeypatch.setattr(tokenizer, "chat_template", "…")
    monkeypatch.setattr(tokenizer, "chat", render, raising=False)
    text, asked = own_rows(corpus, file, chat=0.0)
    assert "[user] Our boiler is a Kessel 7. [assistant] Noted." in text
    assert asked and all("[user] Which boiler is it?" in question for question, _ in asked)


@pytest.mark.parametrize(
    "messages, reason",
    [(CHAT[:3], "end with"), (CHAT[2:], "there are none"), ([{"role": "user"}], "messages, is expected")],
)
def test_a_chat_that_asks_about_nothing_is_refused(tmp_path, messages, reason):
    with pytest.raises(ValueError, match=f"line 2: .*{reason}"):
        read_own(write_lines(tmp_path / "chats.jsonl", {"messages": CHAT}, {"messages": messages}))


def test_folders_of_text_are_prose_and_every_eighth_chapter_is_held_out(tmp_path, data_folder):
    for i in range(8):
        (tmp_path / f"{i}.md").write_text(
            f"Zoë wrote chapter {i} of the manual. It says little.\n\nThe end of chapter {i}.\n"
        )
    chapters = read_folder(tmp_path)
    assert chapters[3] == [["Zoë wrote chapter 3 of the manual.", "It says little."], ["The end of chapter 3."]]
    corpus = Corpus(WordTokenizer(), {"folder": str(data_folder), "own": [str(tmp_path)]})
    assert (corpus.train.own, corpus.heldOut.own) == (chapters[:7], chapters[7:])
    source = batches(corpus, facts=[1, 1], own_text=1.0)
    assert "Zoë wrote chapter" in corpus.train.tokenizer.decode(next(source)["text"].reshape(-1))
    (tmp_path / "empty").mkdir()
    with pytest.raises(ValueError, match="empty has no text"):
        read_folder(tmp_path / "empty")
    long = parts_of("word " * 200)
    assert all(0 < len(part) <= 301 for part in long) and " ".join(long).split() == ["word"] * 200


def test_long_answers_are_trained_in_parts_that_cover_them(corpus):
    source = batches(corpus, worlds={"needle": 1}, facts=[6, 12], several=0.0, cut=0.0, chat=0.0)
    uuids, given, several = 0, 0, 0
    whole = r"[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}"
    for _ in range(40):
        batch = next(source)
        text = corpus.train.tokenizer.decode(batch["text"].reshape(-1))
        uuids += len(re.findall(f"magic uuids for .{{1,40}} is: {whole}", text))
        for _, question, answer, *_ in rows(corpus, batch):
            several += " and " in question
            given += bool(re.search(r"Answer:.+", question))
            assert answer
    assert uuids and several and given
