"""Questions that cannot read some layers' memory (`drop_reads`)."""

from types import SimpleNamespace

import pytest
import torch
from helpers import tiny_recipe, write_base

from armt_train.loop import run as loop
from armt_train.loop.recipe import parse_recipe
from armt_train.loop.step import Step
from armt_train.model.armt import Armt


def test_half_of_the_streams_read_every_layer_and_the_others_miss_their_share():
    step = SimpleNamespace(input={"reads": torch.ones(30, 400)}, generator=torch.Generator().manual_seed(1))
    reads = Step.draw_reads(step, 0.4)
    assert reads.unique().tolist() == [0, 1]
    whole = reads.all(0)
    assert whole.float().mean().item() == pytest.approx(0.5, abs=0.07)
    assert reads[:, ~whole].mean().item() == pytest.approx(0.6, abs=0.03)
    assert not torch.equal(reads, Step.draw_reads(step, 0.4)), "drawn anew"


def test_questions_find_nothing_in_layers_that_are_left_out_and_held_out_ones_find_everything(
    tmp_path, random_data, monkeypatch
):
    calls, found = [], []
    segment, forward, once = Armt.segment, Step.forward, Step.once
    training = []

    def watched_segment(self, ids, state, *, write=True, **more):
        rows, after = segment(self, ids, state, write=write, **more)
        calls.append((write, state, after))
        return rows, after

    def watched_forward(self):
        calls.clear()
        result = forward(self)
        written = [after for write, _, after in calls if write][-1]
        # the questions, the open segment, and chats behind an unrelated memory
        asked, tail, *chats = [state for write, state, _ in calls if not write]
        assert len(chats) == 1
        found.append((self.input["reads"].clone(), written, (asked, tail)))
        return result

    def watched_once(self):
        output = once(self)
        training.append(found[-1][0])
        return output

    monkeypatch.setattr(Armt, "segment", watched_segment)
    monkeypatch.setattr(Step, "forward", watched_forward)
    monkeypatch.setattr(Step, "once", watched_once)
    values = tiny_recipe(stages__0__steps=4, stages__0__drop_reads=0.5)
    values["stages"][0]["evaluate"] = {"every": 2, "chunks": 1}
    options = loop.Options(out=tmp_path / "out", base=write_base(tmp_path / "base"), device="cpu", workers=0)
    loop.run(parse_recipe(values), values, options)
    held_out = [reads for reads, *_ in found if not any(reads is one for one in training)]
    assert len(training) == 4 and len(held_out) >= 2
    assert not torch.stack(training).all() and torch.stack(held_out).all()
    for reads, written, questions in found:
        for state in questions:
            for before, seen in zip(written, state):
                for layer, kept in enumerate(reads):
                    torch.testing.assert_close(
                        seen[layer], before[layer] * kept.view(-1, *[1] * (seen[layer].dim() - 1))
                    )
