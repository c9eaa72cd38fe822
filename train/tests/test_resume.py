"""A run that was stopped and goes on is the run that was not stopped."""

import json

import pytest
import torch
from helpers import tiny_recipe, write_base
from safetensors.torch import load_file

from armt_train.errors import TrainError
from armt_train.loop.recipe import parse_recipe
from armt_train.loop.run import Options, run


def train(base, out, values, **options):
    return run(parse_recipe(values), values, Options(out=out, base=base, device="cpu", **({"workers": 0} | options)))


def weights(folder):
    return torch.load(folder / "state-0.pt", weights_only=False)


def assert_same(one, other):
    assert one["names"] == other["names"]
    for name, a, b in zip(one["names"], one["weights"], other["weights"]):
        assert torch.equal(a, b), name
    for a, b in zip(one["memory"], other["memory"]):
        assert torch.equal(a, b)


ALL = {"training__optimizer": "muon", "stages__0__losses__addressing": 0.2}


@pytest.mark.parametrize("changes", [{}, ALL])
def test_resumed_run_equals_the_run_that_was_not_interrupted(tmp_path, random_data, changes):
    base = write_base(tmp_path / "base")
    whole = tiny_recipe(stages__0__steps=6, **changes)
    train(base, tmp_path / "whole", whole, workers=2)
    stop_after(3, base, tmp_path / "stopped", whole)
    assert weights(tmp_path / "stopped")["position"]["step"] == 3
    train(base, tmp_path / "stopped", whole, workers=2)
    assert_same(weights(tmp_path / "whole"), weights(tmp_path / "stopped"))


def stop_after(steps, base, out, values):
    """Runs until a SIGTERM after so many steps."""
    import os
    import signal

    from armt_train.loop.step import Step

    original, count = Step.step, 0

    def step(self, batch, rate):
        nonlocal count
        count += 1
        if count == steps:
            os.kill(os.getpid(), signal.SIGTERM)
        return original(self, batch, rate)

    Step.step = step
    try:
        assert train(base, out, values, workers=2)["ended"] == "stopped"
    finally:
        Step.step = original


def test_run_goes_on_from_trained_weights_alone(tmp_path, random_data):
    base = write_base(tmp_path / "base")
    values = tiny_recipe(stages__0__steps=4)
    stop_after(2, base, tmp_path / "run", values)
    (tmp_path / "run" / "state-0.pt").unlink()
    saved = load_file(tmp_path / "run" / "trained-1-of-1.safetensors")
    result = train(base, tmp_path / "run", values)
    assert result["ended"] == "finished" and result["position"]["done"] == 4
    log = [json.loads(line) for line in (tmp_path / "run" / "log.jsonl").read_text().splitlines()]
    assert [line["position"]["step"] for line in log if "recipe" in line] == [0, 2]
    after = load_file(tmp_path / "run" / "trained-1-of-1.safetensors")
    assert any(not torch.equal(saved[name], after[name]) for name in saved)


def test_a_stage_that_was_stopped_has_so_much_less_time_left(tmp_path, random_data):
    base = write_base(tmp_path / "base")
    values = tiny_recipe(stages__0__steps=50, stages__0__seconds=10_000)
    stop_after(2, base, tmp_path / "run", values)
    state = weights(tmp_path / "run")
    assert 0 < state["position"]["in_stage"] < 10_000
    state["position"]["in_stage"] = 20_000
    torch.save(state, tmp_path / "run" / "state-0.pt")
    result = train(base, tmp_path / "run", values, workers=2)
    # one step, and the stage's time is over
    assert result["ended"] == "finished" and result["position"]["done"] == 3
    assert result["position"]["in_stage"] == 0


def test_weights_of_a_run_with_other_numbers_are_named(tmp_path, random_data, capsys):
    base, values = write_base(tmp_path / "base"), tiny_recipe(stages__0__steps=1)
    train(base, tmp_path / "first", values)
    capsys.readouterr()
    train(base, tmp_path / "same", values, weights=tmp_path / "first")
    assert "were trained with" not in capsys.readouterr().err
    train(base, tmp_path / "other", tiny_recipe(stages__0__steps=1, model__epsilon=0.1), weights=tmp_path / "first")
    assert "the weights were trained with model.epsilon 1e-05, and the recipe has 0.1" in capsys.readouterr().err
    (tmp_path / "first" / "recipe.json").write_text("[1]")
    with pytest.raises(TrainError, match="recipe.json: not a recipe"):
        train(base, tmp_path / "broken", values, weights=tmp_path / "first")
