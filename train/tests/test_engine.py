"""For each family: a tiny random base, two steps of training, export, and the engine's logits are the trainer's."""

import pytest
import torch
from engine import armt, engine_logits
from gguf_files import write_gguf
from helpers import tiny_recipe, write_base

from armt_train.export.memory_file import export_memory
from armt_train.export.merged import export_merged
from armt_train.loop import saving
from armt_train.loop.recipe import parse_recipe
from armt_train.loop.run import Options, run
from armt_train.loop.setup import load_model

TOLERANCE = 5e-4
MODULES = {"phi3": ["qkv_proj", "o_proj", "gate_up_proj", "down_proj"]}


def train(tmp_path, family, **changes):
    values = tiny_recipe(
        training__lora__modules=MODULES.get(family, ["q_proj", "k_proj", "v_proj", "down_proj"]),
        training__rate=0.02,
        **changes,
    )
    base = write_base(tmp_path / "base", family)
    run(parse_recipe(values), values, Options(out=tmp_path / "run", base=base, device="cpu", workers=0))
    recipe = parse_recipe(values)
    base, model = load_model(recipe, base, torch.device("cpu"))
    saving.load_trained(tmp_path / "run", model)
    return recipe, base, model


@torch.no_grad()
def trainer_logits(model, ids):
    size, state, rows = model.armt.segment_size, model.empty(1), []
    for start in range(0, len(ids), size):
        out, state = model.segment(torch.tensor(ids[start : start + size])[None, None], state, first=start == 0)
        rows.append(model.logits(out)[0, 0])
    return torch.cat(rows), state


@pytest.mark.parametrize(
    ("family", "changes"),
    [
        *((family, {}) for family in ("llama", "mistral", "qwen2", "qwen3", "gemma3_text", "phi3")),
        ("llama", {"model__epsilon": 0.3}),
    ],
)
def test_engine_gives_the_trainers_logits_after_two_steps(tmp_path, random_data, family, changes):
    recipe, base, model = train(tmp_path, family, **changes)
    ids = torch.randint(0, 256, (43,), generator=torch.Generator().manual_seed(1)).tolist()
    expected, (a, z) = trainer_logits(model, ids)
    export_merged(tmp_path / "merged", base, model, recipe)
    armt("convert", tmp_path / "merged", tmp_path / "merged.gguf", "--outtype", "f32", "--no-tokenizer")
    found = engine_logits(tmp_path / "merged.gguf", ids, tmp_path)
    assert (found["logits"] - expected).abs().max() < TOLERANCE
    assert expected.std() > 0.3
    for i in range(model.layers):
        assert (found[f"W_mem.{i}"] - a[i][0]).abs().max() < TOLERANCE
    # and so does the base's stock file with the memory's file
    stock = write_gguf(tmp_path / "base", tmp_path / "stock.gguf", "F32")
    for memory in ("memory.safetensors", "memory.gguf"):
        export_memory(tmp_path / memory, base, model, recipe, "f32", {})
        armt("attach", stock, tmp_path / memory, tmp_path / "attached.gguf", "--memory-type", "f32", "--force")
        attached = engine_logits(tmp_path / "attached.gguf", ids, tmp_path)
        assert (attached["logits"] - expected).abs().max() < TOLERANCE
    # the memory takes part in it
    alone, _ = trainer_logits(model, ids[model.armt.segment_size :])
    assert (alone - expected[model.armt.segment_size :]).abs().max() > 20 * TOLERANCE
