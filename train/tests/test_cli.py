"""What is wrong is said before anything is trained."""

import json

import pytest
from helpers import tiny_recipe, write_base

from armt_train.cli import main


def said(arguments):
    with pytest.raises(SystemExit) as error:
        main([str(a) for a in arguments])
    return str(error.value)


@pytest.fixture
def base(tmp_path):
    return write_base(tmp_path / "base")


def run(tmp_path, base, recipe, *more):
    file = tmp_path / "recipe.json"
    file.write_text(json.dumps(recipe))
    return [
        "run",
        "--base",
        base,
        "--recipe",
        file,
        "--out",
        tmp_path / "run",
        "--device",
        "cpu",
        "--workers",
        "0",
        *more,
    ]


@pytest.mark.parametrize(
    ("changes", "more", "message"),
    [
        ({}, ["--set", "model.n_mm=3"], 'model: unknown key "n_mm"'),
        ({}, ["--set", "model.n_mem=1.5"], "model.n_mem: a whole number is expected"),
        ({}, ["--set", "model.n_mem=0"], "model.n_mem is 0"),
        ({}, ["--set", "nothing"], "KEY=JSON is expected"),
        ({}, ["--set", "stages.7.batch=3"], "there is no"),
        ({}, ["--until", "recall"], "KEY=X is expected"),
        ({}, ["--start-stage", "2"], "the recipe has 1 stages"),
        ({}, ["--lora-modules", "c_attn"], 'no matrix "c_attn"'),
        ({}, ["--lora-r", "0"], "r must be at least 1"),
        ({}, ["--set", "training.tap=3"], "layers 0 to 2"),
        ({"stages__0__losses__addressing": 0.1}, ["--set", "training.tap=2"], "2 is the last layer"),
        ({}, ["--set", 'training.tune="some"'], "expected one of memory, lora, all"),
        ({}, ["--tune", "all"], "needs a frozen base"),
        ({"stages": []}, [], "at least one stage"),
        ({"stages__0__shape": {"segments": 3}}, [], 'unknown key "segments"'),
        ({"stages__0__shape": {"segment": 12}}, [], "model.segment_size is 8"),
        ({"stages__0__losses": {"quiet": 1}}, [], 'stages.0.losses: unknown key "quiet"'),
        ({"stages__0__batch": 1}, [], "keep.batch is 2"),
        ({"stages__0__until": {"loss": 1}}, [], '"loss" is not known'),
        ({"stages__0__steps": None}, [], "steps or seconds is needed"),
        ({"model__n_mem": 3}, [], "multiple of model.n_mem"),
        ({"training__optimizer": "sgd"}, [], 'training.optimizer is "sgd", expected one of adamw, muon'),
        ({"ask": {"how": 1}}, [], 'ask: unknown key "how"'),
    ],
)
def test_wrong_options_end_before_training(tmp_path, base, random_data, changes, more, message):
    assert message in said(run(tmp_path, base, tiny_recipe(**changes), *more))
    assert not (tmp_path / "run" / "log.jsonl").exists()


def test_window_shorter_than_a_segment_is_refused(tmp_path, random_data):
    base = write_base(tmp_path / "base", "gemma3_text")
    recipe = tiny_recipe(model__segment_size=64)
    assert "attends to 64 rows" in said(run(tmp_path, base, recipe))


def test_missing_base_and_recipe_are_named(tmp_path, random_data):
    assert "no such base" in said(run(tmp_path, tmp_path / "none", tiny_recipe()))
    assert 'there is no recipe "nothing"' in said(["run", "--recipe", "nothing", "--out", tmp_path / "run"])
    assert "--base is missing" in said(["run", "--recipe", "facts", "--out", tmp_path / "run", "--device", "cpu"])


def test_empty_text_is_said_with_its_file(tmp_path, base):
    for split in ("train", "heldout"):
        (tmp_path / f"prose-{split}.txt").write_text("\n")
    arguments = [
        "run",
        "--base",
        base,
        "--recipe",
        "facts",
        "--out",
        tmp_path / "run",
        "--device",
        "cpu",
        "--set",
        f"data.prose={tmp_path}",
    ]
    assert "prose-train.txt is empty" in said([*arguments, "--seconds", "5"])


def test_dry_run_says_sizes_and_trains_nothing(tmp_path, base, random_data, capsys):
    main([str(a) for a in run(tmp_path, base, tiny_recipe(), "--dry-run")])
    assert "GiB of GPU memory" in capsys.readouterr().out
    assert not list((tmp_path / "run").iterdir())


def test_seconds_and_until_end_a_run_with_its_files(tmp_path, base, random_data):
    main([str(a) for a in run(tmp_path, base, tiny_recipe(stages__0__steps=100000), "--seconds", "3")])
    names = {p.name for p in (tmp_path / "run").iterdir()}
    assert {
        "trained-1-of-1.safetensors",
        "slots.safetensors",
        "state-0.pt",
        "memory.gguf",
        "log.jsonl",
        "log.png",
        "recipe.json",
    } <= names
    main([str(a) for a in run(tmp_path, base, tiny_recipe(stages__0__steps=100000), "--until", "recall=0")])
    last = json.loads((tmp_path / "run" / "log.jsonl").read_text().splitlines()[-1])
    assert last["ended"] == "stopped" and 50 <= last["position"]["step"] < 100000


def test_run_of_other_settings_is_not_continued(tmp_path, base, random_data):
    main([str(a) for a in run(tmp_path, base, tiny_recipe())])
    (tmp_path / "run" / "state-0.pt").unlink()
    again = run(tmp_path, base, tiny_recipe(stages__0__steps=5), "--lora-r", "8")
    assert "of a run with other settings" in said(again)
