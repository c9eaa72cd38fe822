"""What is trained is what the authors' code computes (arXiv 2407.04841), and so what the engine runs."""

import json

import pytest
import torch
import transformers
from safetensors.torch import load_file

from armt_train.model import Armt, ArmtConfig

TOLERANCE = 5e-4  # the authors' own float32 runs differ by up to 3e-5 from their float64
AUTHORS = {"mem_q": "W_mq", "mem_k": "W_mk", "mem_v": "W_mv", "mem_b": "W_mb"}


def load_authors(folder):
    config = transformers.AutoConfig.from_pretrained(folder)
    numbers = json.loads((folder / "armt_config.json").read_text())
    weights = folder / "model.safetensors"
    state = load_file(weights) if weights.exists() else torch.load(folder / "pytorch_model.bin", weights_only=True)
    config._attn_implementation = "sdpa"
    base = transformers.AutoModelForCausalLM.from_config(config)
    armt = ArmtConfig(
        numbers["segment_size"],
        numbers["num_mem_tokens"],
        numbers["d_mem"],
        numbers["normalize_keys"],
        numbers["correction"],
    )
    model = Armt(base, armt)
    prefix = "memory_cell.model.model."
    with torch.no_grad():
        model.memory.copy_(state["memory_cell.memory"])
        base.model.norm.weight.copy_(state[prefix + "norm.weight"])
        embedding = state.get(prefix + "embed_tokens.weight", state.get("memory_cell.model.lm_head.weight"))
        base.model.embed_tokens.weight.copy_(embedding)
        if not config.tie_word_embeddings:
            base.lm_head.weight.copy_(state["memory_cell.model.lm_head.weight"])
        for i, cell in enumerate(model.cells):
            for name, p in cell.named_parameters():
                first, _, rest = name.partition(".")
                p.copy_(state[f"{prefix}layers.{i}.{AUTHORS.get(first, first)}.{rest}"])
    return model


@pytest.mark.parametrize("case", ["v1-normalized", "llama-gqa", "llama-mha-tied-nocorr", "qwen2-bias"])
@torch.no_grad()
def test_segment_loop_gives_the_logits_of_the_authors_code(golden_folder, case):
    folder = golden_folder / case
    model, golden = load_authors(folder), load_file(folder / "golden.safetensors")
    ids, size = golden["input_ids"].long(), model.armt.segment_size
    state, rows = model.empty(1), []
    for start in range(0, len(ids), size):
        out, state = model.segment(ids[None, None, start : start + size], state, first=start == 0)
        rows.append(model.logits(out)[0, 0])
    assert (torch.cat(rows).double() - golden["logits"].double()).abs().max() < TOLERANCE
    for i, (a, z) in enumerate(zip(*state)):
        assert (a[0].double() - golden[f"W_mem.{i}"].double()).abs().max() < TOLERANCE
        assert (z[0].double() - golden[f"z.{i}"].double()).abs().max() < TOLERANCE
