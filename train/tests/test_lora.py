"""Rates of LoRA's and of W_mb's own, and prose among the texts of the distillation."""

import pytest
import torch
from helpers import tiny_recipe, write_base
from safetensors.torch import load_file

from armt_train.errors import TrainError
from armt_train.loop.chats import with_prose
from armt_train.loop.recipe import parse_recipe
from armt_train.loop.run import Options, run


def train(base, out, values, **options):
    run(parse_recipe(values), values, Options(out=out, base=base, device="cpu", workers=0, keep_state=False, **options))
    found = {}
    for file in sorted(out.glob("trained-*.safetensors")):
        found |= load_file(file)
    return found


def part(weights, name):
    found = {key: value for key, value in weights.items() if name in key}
    assert found
    return found


def test_lora_has_a_rate_of_its_own(tmp_path, random_data):
    base, sizes = write_base(tmp_path / "base"), {}
    for rate in (1.0, 0.1):
        # one step of Adam moves every weight by the rate
        values = tiny_recipe(stages__0__steps=1, stages__0__lora_rate=rate, training__decay=0.0, training__rate=1e-3)
        weights = train(base, tmp_path / str(rate), values)
        sizes[rate] = [part(weights, "lora_B"), part(weights, "mem_q")]
    for name, full in sizes[1.0][0].items():
        slow = sizes[0.1][0][name].float()
        assert slow.abs().max() > 0
        torch.testing.assert_close(slow, 0.1 * full.float(), rtol=0.02, atol=1e-6)
    for name, full in sizes[1.0][1].items():
        torch.testing.assert_close(sizes[0.1][1][name], full)


def test_strengths_have_a_rate_of_their_own(tmp_path, random_data):
    base, moved = write_base(tmp_path / "base"), {}
    for rate in (1.0, 0.1):
        values = tiny_recipe(
            stages__0__steps=1,
            training__strength_rate=rate,
            training__decay=0.0,
            training__rate=1e-3,
            training__optimizer="muon",
        )
        weights = train(base, tmp_path / str(rate), values)
        moved[rate] = [part(weights, "mem_b"), part(weights, "mem_k"), part(weights, "lora_B")]
    for name, full in moved[1.0][0].items():
        slow = moved[0.1][0][name].float()
        assert slow.abs().max() > 0
        torch.testing.assert_close(slow, 0.1 * full.float(), rtol=0.02, atol=1e-6)
    for kept in (1, 2):
        for name, full in moved[1.0][kept].items():
            torch.testing.assert_close(moved[0.1][kept][name], full)


class Texts:
    def passage(self, rng):
        return ["one two", f"three {rng.randrange(10)}"]


class Tokenizer:
    def encode(self, text):
        return [ord(c) for c in text]


def test_prose_is_the_share_of_the_texts_that_the_recipe_says():
    chats = torch.zeros(6, 20, dtype=torch.long)
    made = with_prose(chats, 0.4, Texts(), Tokenizer(), "seed")
    assert made.shape == (10, 20) and not made[:6].any()
    texts = ["".join(map(chr, row)) for row in made[6:].tolist()]
    assert all(text.startswith("one two three ") for text in texts) and len(set(texts)) > 1
    assert torch.equal(made, with_prose(chats, 0.4, Texts(), Tokenizer(), "seed"))


@pytest.mark.parametrize(
    "changes, message",
    [
        ({"training__keep__prose": 1.0}, "training.keep.prose is 1.0"),
        ({"training__keep__prose": 0.5, "tasks": "recall"}, 'the tasks "recall" have no prose'),
        ({"stages__0__lora_rate": 0.0}, "stages.0.lora_rate is 0.0"),
        ({"training__strength_rate": 0.0}, "training.strength_rate is 0.0"),
    ],
)
def test_wrong_numbers_are_named(changes, message):
    with pytest.raises(TrainError, match=message):
        parse_recipe(tiny_recipe(**changes))
