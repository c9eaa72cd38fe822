"""The memory's file is what docs/memory-file.md says."""

import json

import gguf
import numpy as np
import pytest
import torch
from helpers import tiny_recipe, write_base
from safetensors import safe_open

from armt_train.errors import TrainError
from armt_train.export.memory_file import export_memory, memory_tensors
from armt_train.loop.recipe import parse_recipe
from armt_train.loop.setup import load_model

TRAINING = {"steps": 2, "seconds": 1}
LAYER = ["W_mq.weight", "W_mk.weight", "W_mv.weight", "W_mb.weight", "W_mb.bias"]
LORA = [f"layer.self_attn.{name}.lora_{part}.weight" for name in ("q_proj", "v_proj") for part in "AB"]


@pytest.fixture
def trained(tmp_path):
    recipe = parse_recipe(tiny_recipe())
    base, model = load_model(recipe, write_base(tmp_path / "base"), torch.device("cpu"))
    with torch.no_grad():
        for p in model.parameters():
            if p.requires_grad:
                p.normal_()
    return recipe, base, model


def expected_names(layers=3):
    return {"memory"} | {f"layers.{i}.{name}" for i in range(layers) for name in LAYER + LORA}


@pytest.mark.parametrize("kind", ["f32", "f16", "bf16"])
def test_safetensors_has_the_tensors_and_texts(tmp_path, trained, kind):
    recipe, base, model = trained
    path = export_memory(tmp_path / "memory.safetensors", base, model, recipe, kind, TRAINING)
    expected = memory_tensors(model)
    with safe_open(path, "pt") as file:
        assert set(file.keys()) == expected_names()
        for name in file.keys():
            tensor = file.get_tensor(name)
            assert tensor.dtype == (
                torch.float32
                if name.endswith("bias")
                else getattr(torch, {"f32": "float32", "f16": "float16", "bf16": "bfloat16"}[kind])
            )
            torch.testing.assert_close(
                tensor.float(), expected[name], atol=0, rtol={"f32": 0, "f16": 1e-3, "bf16": 1e-2}[kind]
            )
        about, numbers = (json.loads(file.metadata()[key]) for key in ("armt_memory", "armt_config"))
    assert numbers == {
        "segment_size": 8,
        "num_mem_tokens": 4,
        "d_mem": 6,
        "layers_attr": "model.layers",
        "correction": True,
        "segment_alignment": "left",
        "wrap_pos": False,
        "normalize_keys": True,
        "n_heads": 1,
        "use_denom": True,
        "gating": False,
    }
    assert about["format_version"] == 1 and about["lora"] == {"r": 4, "alpha": 8}
    assert about["ask"] == {
        "chat": True,
        "close": False,
        "greedy": True,
        "before": None,
        "after": None,
        "end": ["<|im_end|>"],
    }
    assert about["base"] == {
        "name": "base",
        "license": None,
        "architecture": "llama",
        "layers": 3,
        "width": 32,
        "vocabulary_size": 288,
        "fingerprint": base.fingerprint,
    }
    assert about["training"] == TRAINING
    assert not list(tmp_path.glob("*.tmp"))


@pytest.mark.parametrize("kind", ["f32", "f16", "bf16", "q8_0"])
def test_gguf_has_the_same_tensors_and_texts(tmp_path, trained, kind):
    recipe, base, model = trained
    path = export_memory(tmp_path / "memory.gguf", base, model, recipe, kind, TRAINING)
    with_texts = export_memory(tmp_path / "memory.safetensors", base, model, recipe, "f32", TRAINING)
    reader, expected = gguf.GGUFReader(path), memory_tensors(model)
    text = lambda key: reader.fields[key].contents()
    assert text("general.architecture") == "armt-memory" and text("general.type") == "adapter"
    with safe_open(with_texts, "pt") as file:
        assert {key: text(key) for key in ("armt_memory", "armt_config")} == {
            k: v for k, v in file.metadata().items() if k != "format"
        }
    assert {tensor.name for tensor in reader.tensors} == expected_names()
    kinds = {}
    for tensor in reader.tensors:
        values = gguf.dequantize(tensor.data, tensor.tensor_type).reshape(tuple(reversed(tensor.shape.tolist())))
        kinds[tensor.name.split(".", 2)[-1]] = tensor.tensor_type.name
        own = expected[tensor.name].numpy()
        if kind == "q8_0" and tensor.name.endswith(".lora_B.weight"):
            own = own.reshape(-1)
        assert values.shape == own.shape
        assert np.abs(values - own).max() <= {"f32": 0, "f16": 2e-3, "bf16": 2e-2, "q8_0": 0.02}[kind] * max(
            1, np.abs(own).max() / 3
        )
    if kind == "q8_0":
        lora = [kinds[f"layer.self_attn.q_proj.lora_{part}.weight"] for part in "AB"]
        assert [kinds["W_mv.weight"], *lora] == ["Q8_0"] * 3
        assert kinds["memory"] == kinds["W_mb.weight"] == "F16"
    assert kinds["W_mb.bias"] == "F32"


def test_what_a_file_cannot_hold_is_refused(tmp_path, trained):
    recipe, base, model = trained
    with pytest.raises(TrainError, match="must end in .safetensors or .gguf"):
        export_memory(tmp_path / "memory.bin", base, model, recipe, "f16", TRAINING)
    with pytest.raises(TrainError, match="a .safetensors file has f32, f16, bf16"):
        export_memory(tmp_path / "memory.safetensors", base, model, recipe, "q8_0", TRAINING)
    with torch.no_grad():
        model.cells[1].mem_v.weight[0, 0] = 1e6
    with pytest.raises(TrainError, match=r'"layers.1.W_mv.weight" is too large for f16'):
        export_memory(tmp_path / "memory.safetensors", base, model, recipe, "f16", TRAINING)
    with torch.no_grad():
        model.memory[0, 0] = float("nan")
    with pytest.raises(TrainError, match='"memory" is not finite'):
        export_memory(tmp_path / "memory.gguf", base, model, recipe, "q8_0", TRAINING)
    assert not list(tmp_path.glob("memory*"))
