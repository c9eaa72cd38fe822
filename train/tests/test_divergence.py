"""What happens where a run diverges: memory without bounds, and losses that are not finite."""

import pytest
import torch
from helpers import tiny_recipe, write_base

from armt_train.errors import TrainError
from armt_train.loop import run as loop
from armt_train.loop.recipe import parse_recipe
from armt_train.loop.saving import read_position
from armt_train.loop.step import LARGEST_MEMORY, Step


def train(base, out, values):
    options = loop.Options(out=out, base=base, device="cpu", workers=0, save_every=0)
    return loop.run(parse_recipe(values), values, options)


def test_memory_that_runs_away_is_emptied_and_counted(tmp_path, random_data, monkeypatch, capsys):
    monkeypatch.setattr(loop, "SAMPLE_EVERY", 1)
    monkeypatch.setattr(loop, "REPORT_EVERY", 1)
    seen, original = [], Step.keep_state

    def keep_state(self, state):
        a, z = state
        a[1] = a[1].clone()
        a[1][2, 0, 0] = 2 * LARGEST_MEMORY
        z[0] = z[0].clone()
        z[0][3, 1] = torch.nan
        original(self, state)
        seen.append([part.clone() for part in self.state])

    monkeypatch.setattr(Step, "keep_state", keep_state)
    train(write_base(tmp_path / "base"), tmp_path / "out", tiny_recipe())
    for a, z in seen:
        assert a.isfinite().all() and z.isfinite().all()
        assert not a[:, 2:].any() and not z[:, 2:].any(), "of every layer"
        assert a[:, :2].abs().amax((0, 2, 3)).all() and z[:, :2].abs().amax((0, 2)).all(), "the others continue"
    told = capsys.readouterr().err
    assert told.count("2 memories grew beyond all bounds and were emptied") == 2


def test_weights_of_a_loss_that_is_not_finite_replace_none(tmp_path, random_data, monkeypatch):
    monkeypatch.setattr(loop, "SAMPLE_EVERY", 1)
    monkeypatch.setattr(loop, "REPORT_EVERY", 3)
    original, count = Step.step, 0

    def step(self, batch, rate):
        nonlocal count
        count += 1
        output = original(self, batch, rate)
        return {**output, "norm": output["norm"] * torch.nan} if count > 3 else output

    monkeypatch.setattr(Step, "step", step)
    base, out = write_base(tmp_path / "base"), tmp_path / "out"
    with pytest.raises(TrainError, match="no longer finite; .*out has the weights that were saved before"):
        train(base, out, tiny_recipe(stages__0__steps=9))
    assert read_position(out)["step"] == 3, "the last whose gradient was finite"
    assert not (out / "memory.gguf").exists()
    log = (out / "log.jsonl").read_text()
    assert "NaN" not in log and '"left_out": 3' in log
