"""Bases out of Hugging Face folders and GGUF files."""

import json
import shutil

import pytest
import torch
from gguf_files import write_gguf
from helpers import write_base
from safetensors.torch import load_file, save_file

from armt_train.base import load_base
from armt_train.errors import TrainError

FAMILIES = ["llama", "mistral", "qwen2", "qwen3", "gemma3_text", "phi3"]


@pytest.fixture(scope="module")
def folders(tmp_path_factory):
    root = tmp_path_factory.mktemp("bases")
    made = {}
    for name in FAMILIES:
        made[name] = write_base(root / name, name)
    return made


@pytest.mark.parametrize("name", FAMILIES)
@torch.no_grad()
def test_gguf_gives_the_logits_of_its_folder(folders, tmp_path, name):
    folder, ids = load_base(folders[name]), torch.randint(0, 288, (2, 11))
    file = load_base(write_gguf(folders[name], tmp_path / "base.gguf", "F32"))
    assert (folder.model(ids).logits - file.model(ids).logits).abs().max() < 2e-5
    assert folder.model(ids).logits.std() > 0.3


@pytest.mark.parametrize("name", FAMILIES)
def test_every_quantization_has_the_fingerprint_of_the_folder(folders, tmp_path, name):
    expected = load_base(folders[name]).fingerprint
    for kind in ("F16", "Q8_0", "Q4_1"):
        assert load_base(write_gguf(folders[name], tmp_path / f"{kind}.gguf", kind)).fingerprint == expected, kind


def test_fingerprint_tells_a_fine_tune_and_another_vocabulary(folders, tmp_path):
    expected = load_base(folders["llama"]).fingerprint
    tuned = shutil.copytree(folders["llama"], tmp_path / "tuned")
    weights = load_file(tuned / "model.safetensors")
    weights["model.layers.1.input_layernorm.weight"][3] += 1e-6
    save_file(weights, tuned / "model.safetensors", metadata={"format": "pt"})
    other = load_base(tuned).fingerprint
    assert [key for key in expected if expected[key] != other[key]] == ["norms"]
    renamed = shutil.copytree(folders["llama"], tmp_path / "renamed")
    text = (renamed / "tokenizer.json").read_text().replace("<|unused3|>", "<|image|>")
    (renamed / "tokenizer.json").write_text(text)
    other = load_base(renamed).fingerprint
    assert [key for key in expected if expected[key] != other[key]] == ["vocabulary"]


def test_special_tokens_are_text_unless_asked_for(folders, tmp_path):
    for base in (load_base(folders["llama"]), load_base(write_gguf(folders["llama"], tmp_path / "base.gguf"))):
        tokenizer = base.tokenizer
        assert tokenizer.encode("a<|im_end|>", special=True)[-1] == tokenizer.id("<|im_end|>")
        plain = tokenizer.encode("a<|im_end|>")
        assert len(plain) == 11 and max(plain) < 256
        assert tokenizer.decode(plain) == "a<|im_end|>"
        assert tokenizer.encode_batch(["é 1 the", "b"]) == [tokenizer.encode("é 1 the"), tokenizer.encode("b")]
        assert len(tokenizer.encode(" the")) == 2


def test_chat_template_ends_answers_with_its_own_end_of_turn(folders):
    tokenizer = load_base(folders["llama"]).tokenizer
    assert tokenizer.token(tokenizer.end) == "<|im_end|>"
    assert (
        tokenizer.chat([{"role": "user", "content": "hi"}]) == "<|im_start|>user\nhi<|im_end|>\n<|im_start|>assistant\n"
    )


def change_config(folder, **values):
    file = folder / "config.json"
    file.write_text(json.dumps(json.loads(file.read_text()) | values))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda f: (f / "config.json").unlink(), "has a config.json"),
        (lambda f: (f / "tokenizer.json").unlink(), "no tokenizer.json"),
        (lambda f: (f / "model.safetensors").unlink(), "neither model.safetensors nor"),
        (lambda f: change_config(f, model_type="gpt2"), 'family "gpt2" is not known'),
        (lambda f: change_config(f, intermediate_size=64), r"mlp.*is \[48, 32\], expected \[64, 32\]"),
        (lambda f: change_config(f, num_hidden_layers=2), 'its tensor "model.layers.2'),
        (lambda f: change_config(f, num_hidden_layers=4), 'no tensor "model.layers.3'),
    ],
)
def test_wrong_folder_is_refused_by_name(folders, tmp_path, change, message):
    folder = shutil.copytree(folders["llama"], tmp_path / "base")
    change(folder)
    with pytest.raises(TrainError, match=message):
        load_base(folder)


def test_wrong_gguf_is_refused(folders, tmp_path):
    path = tmp_path / "broken.gguf"
    path.write_bytes(b"GGUF" + b"\0" * 100)
    with pytest.raises(TrainError, match="broken.gguf"):
        load_base(path)
    with pytest.raises(TrainError, match="no such base"):
        load_base(tmp_path / "missing.gguf")
    whole = write_gguf(folders["llama"], tmp_path / "whole.gguf")
    data = whole.read_bytes()
    path.write_bytes(data[: len(data) // 2])
    with pytest.raises(TrainError, match="broken.gguf"):
        load_base(path)
