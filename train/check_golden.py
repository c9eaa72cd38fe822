"""Compares the training model with outputs of the authors' code, so that what is trained is what the engine runs.

    python3 train/check_golden.py [FOLDER with the golden folders]
"""

import json
import sys
from pathlib import Path

import torch

import tensors
from armt import Armt, Config

CASES = ["v1-normalized", "llama-gqa", "llama-mha-tied-nocorr"]
TOLERANCE = 5e-4


def load(folder):
    base = json.loads((folder / "config.json").read_text())
    armt = json.loads((folder / "armt_config.json").read_text())
    weights = folder / "model.safetensors"
    state = tensors.read(weights) if weights.exists() else torch.load(folder / "pytorch_model.bin", map_location="cpu")
    theta = base.get("rope_theta") or base.get("rope_parameters", {}).get("rope_theta")
    if (base.get("rope_scaling") or base.get("rope_parameters", {})).get("rope_type", "default") != "default":
        raise ValueError(f"{folder}: only plain RoPE is trained")
    model = Armt(Config(
        vocab_size=base["vocab_size"], dim=base["hidden_size"], layers=base["num_hidden_layers"], heads=base["num_attention_heads"],
        kv_heads=base["num_key_value_heads"], ffn=base["intermediate_size"], n_mem=armt["num_mem_tokens"], d_mem=armt["d_mem"],
        segment_size=armt["segment_size"], rope_theta=theta, norm_eps=base["rms_norm_eps"], normalize_keys=armt["normalize_keys"],
        correction=armt["correction"], tied=base["tie_word_embeddings"],
    ))
    tensors.from_checkpoint(model, state)
    return model


@torch.no_grad()
def difference(folder):
    model = load(folder)
    golden = tensors.read(folder / "golden.safetensors")
    ids, size = golden["input_ids"].long(), model.c.segment_size
    state, rows = model.empty(1), []
    for start in range(0, len(ids), size):
        out, state = model.segment(ids[None, None, start : start + size], state, first=start == 0)
        rows.append(model.logits(out)[0, 0])
    return (torch.cat(rows).double() - golden["logits"].double()).abs().max().item()


AUTHORS = Path(__file__).parents[1] / "test" / "golden" / "authors"


def main(golden=AUTHORS):
    for case in CASES:
        worst = difference(golden / case)
        print(f"{case}: largest difference of a logit {worst:.2e}")
        if not worst <= TOLERANCE:
            sys.exit(f"{case}: the training model does not compute what the authors' code does (more than {TOLERANCE})")


if __name__ == "__main__":
    main(*map(Path, sys.argv[1:2]))
