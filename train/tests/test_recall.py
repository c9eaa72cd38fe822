"""The package's own recall model: its recipe trains, and what it exports runs."""

import pytest
import torch
from engine import armt, engine_logits
from helpers import write_base

from armt_train.base import load_base
from armt_train.cli import main
from armt_train.loop import saving
from armt_train.loop.recipe import read_recipe
from armt_train.loop.setup import load_model
from armt_train.recall import Batches, Corpus
from armt_train.recall.task import Stream

PROSE = (
    "And the earth was without form, and void. And God said, Let there be light. "
    "And the evening and the morning were the first day. " * 12
)


@pytest.fixture
def prose(tmp_path):
    folder = tmp_path / "prose"
    folder.mkdir()
    for split in ("train", "heldout"):
        (folder / f"prose-{split}.txt").write_text((PROSE + "\n") * 3)
    return folder


def small(prose):
    """Options that make the recipe small enough for a test: its stages of two and one steps."""
    out = [
        "--set",
        f"data.prose={prose}",
        "--set",
        "model.scratch.layers=2",
        "--set",
        "model.scratch.width=64",
        "--set",
        "model.n_mem=4",
    ]
    out += [
        "--set",
        "model.scratch.ffn=96",
        "--set",
        "model.d_mem=8",
        "--batch",
        "2",
        "--device",
        "cpu",
        "--workers",
        "1",
    ]
    for i in range(5):
        out += ["--set", f"stages.{i}.steps={2 if i == 0 else 1}", "--set", f"stages.{i}.evaluate=null"]
    return out


def test_recall_recipe_trains_and_its_checkpoint_runs_in_the_engine(tmp_path, prose):
    main(["run", "--recipe", "recall", "--out", str(tmp_path / "run"), *small(prose)])
    main(["export", str(tmp_path / "run"), "--merged", str(tmp_path / "merged")])
    armt("convert", tmp_path / "merged", tmp_path / "recall.gguf", "--outtype", "f32")
    recipe, _ = read_recipe(tmp_path / "run" / "recipe.json")
    base, model = load_model(recipe, None, torch.device("cpu"))
    saving.load_trained(tmp_path / "run", model)
    ids = base.tokenizer.encode("Question: which job does Marina have? " * 20)[:200]
    found = engine_logits(tmp_path / "recall.gguf", ids, tmp_path)["logits"]
    with torch.no_grad():
        first, state = model.segment(torch.tensor(ids[:128])[None, None], model.empty(1), first=True)
        second, _ = model.segment(torch.tensor(ids[128:])[None, None], state)
        expected = torch.cat([model.logits(rows)[0, 0] for rows in (first, second)])
    assert (found - expected).abs().max() < 5e-4


def test_questions_of_the_recall_task_ask_for_facts_that_were_read(prose):
    tokenizer = load_model(read_recipe("recall")[0], None, torch.device("cpu"))[0].tokenizer
    corpus = Corpus(tokenizer, {"prose": str(prose)})
    shape = {"segment": 32, "n": 4, "asked": 4, "question": 32, "tail": 0}
    batches = Batches(
        tokenizer,
        corpus,
        shape,
        {"facts": [2, 4], "change": 0.0, "apart": 1, "kinds": [1, 1], "asks": 1},
        8,
        "1",
        "train",
    )
    asked = 0
    for _ in range(3):
        batch = next(batches)
        for i in range(8):
            text = tokenizer.decode(batch["text"][i].ravel().tolist())
            for q in range(4):
                if batch["asked_task"][i, q] < 0:
                    continue
                weight = batch["asked_weight"][i, q] > 0
                places = batch["asked_places"][i, q][weight] + 1
                answer = batch["asked"][i, q][places].tolist()
                assert answer[-1] == tokenizer.end
                assert tokenizer.decode(answer[:-1]) in text
                asked += 1
    assert asked > 30
    assert all(isinstance(stream, Stream) for stream in batches.streams)


def test_recall_task_works_with_another_tokenizer(tmp_path, prose):
    tokenizer = load_base(write_base(tmp_path / "base")).tokenizer
    corpus = Corpus(tokenizer, {"prose": str(prose)})
    shape = {"segment": 64, "n": 3, "asked": 2, "question": 128, "tail": 0}
    with pytest.raises(ValueError, match="unknown key"):
        Batches(tokenizer, corpus, shape | {"length": 3}, {}, 1, "1", "train")
    with pytest.raises(ValueError, match="prose-train.txt is missing"):
        Corpus(tokenizer, {"prose": str(tmp_path)})
