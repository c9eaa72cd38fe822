"""Weights between those of runs."""

import json
import shutil

import pytest
from helpers import tiny_recipe, write_base
from safetensors import safe_open
from safetensors.torch import load_file, save_file

from armt_train.cli import main
from armt_train.loop import saving

FILE = "trained-1-of-1.safetensors"


def train(folder, base, recipe, *more):
    file = folder.with_suffix(".json")
    file.write_text(json.dumps(recipe))
    options = ["--base", base, "--recipe", file, "--out", folder, "--device", "cpu", "--workers", "0", *more]
    main([str(a) for a in ["run", *options]])
    return folder


def average(*arguments):
    main([str(a) for a in ["average", *arguments]])


def said(*arguments):
    with pytest.raises(SystemExit) as error:
        average(*arguments)
    return str(error.value)


@pytest.fixture
def base(tmp_path):
    return write_base(tmp_path / "base")


@pytest.fixture
def runs(tmp_path, base, random_data):
    first = train(tmp_path / "first", base, tiny_recipe())
    return first, train(tmp_path / "second", base, tiny_recipe(stages__0__steps=5), "--from", first)


def test_weights_lie_between_those_of_the_runs(tmp_path, base, runs):
    first, second = runs
    output = tmp_path / "between"
    average(first, second, "--output", output, "--weights", "1,3")
    a, b, found = (load_file(folder / FILE) for folder in (first, second, output))
    assert found.keys() == a.keys() and len(found) > 10
    moved = [name for name in a if not a[name].equal(b[name])]
    assert "memory" in moved
    for name in a:
        wanted = (a[name].double() + 3 * b[name].double()) / 4
        assert (found[name].double() - wanted).abs().max() <= 1e-3 * wanted.abs().max()
    assert saving.read_position(output) == {**saving.read_position(second), "average": [1, 3]}
    assert (output / "recipe.json").read_text() == (second / "recipe.json").read_text()
    # what it wrote is a run's folder: it exports, and a run starts from it
    memory = tmp_path / "memory.safetensors"
    main(["export", str(output), "--base", str(base), "--output", str(memory)])
    with safe_open(memory, "pt") as file:
        assert '"average":[1.0,3.0]' in " ".join(file.metadata().values())
    train(tmp_path / "third", base, tiny_recipe(), "--from", output)
    # what resumes there is no longer a mixture
    recipe = tiny_recipe()
    train(output, base, {**recipe, "stages": recipe["stages"] * 2})
    position = saving.read_position(output)
    assert position["stage"] == 2 and "average" not in position


def test_a_run_with_itself_is_that_run(tmp_path, runs):
    first, _ = runs
    average(first, first, first, "--output", tmp_path / "same")
    before, after = load_file(first / FILE), load_file(tmp_path / "same" / FILE)
    assert all(before[name].equal(after[name]) for name in before)


def test_what_does_not_fit_is_named(tmp_path, runs):
    first, second = runs
    out = ["--output", tmp_path / "out"]
    assert "two or more are needed" in said(first, *out)
    assert "--weights: 3 numbers for 2 runs" in said(first, second, *out, "--weights", "1,1,1")
    assert "numbers are expected" in said(first, second, *out, "--weights", "half")
    for weights in ("0,0", "nan,1", "inf,1", "-1,2"):
        assert "not all 0" in said(first, second, *out, f"--weights={weights}")
    before = (second / FILE).read_bytes()
    assert "it is the folder of a run" in said(first, first, "--output", second)
    assert (second / FILE).read_bytes() == before
    assert "is it the folder of a run?" in said(first, tmp_path / "none", *out)

    other = shutil.copytree(second, tmp_path / "other")
    recipe = json.loads((other / "recipe.json").read_text())
    recipe["model"]["epsilon"] = 0.5
    (other / "recipe.json").write_text(json.dumps(recipe))
    assert "model.epsilon" in said(first, other, *out)
    (other / "recipe.json").write_text("{")
    assert "not a recipe" in said(first, other, *out)
    (other / "recipe.json").write_text('{"stage": 1}')
    message = said(first, other, *out)
    assert str(other / "recipe.json") in message and 'unknown key "stage"' in message
    shutil.copyfile(second / "recipe.json", other / "recipe.json")
    tensors = load_file(other / FILE)
    tensors["memory"] = tensors["memory"][:-1].clone()
    position = json.dumps(saving.read_position(second))
    save_file(tensors, other / FILE, metadata={"position": position})
    assert 'tensor "memory" is' in said(first, other, *out)
    del tensors["memory"]
    save_file(tensors, other / FILE, metadata={"position": position})
    assert 'tensor "memory" is none' in said(first, other, *out)
    (other / FILE).write_bytes(b"nothing")
    assert "not a file of trained weights" in said(first, other, *out)
    (other / FILE).unlink()
    assert "there are no trained weights" in said(first, other, *out)
    assert not (tmp_path / "out").exists()
