"""Safetensors files, and an ARMT's weights under the names of the authors' checkpoints (so that `armt convert` reads them)."""

import json
import struct
from pathlib import Path

import numpy as np
import torch

TYPES = {"F32": np.float32, "F64": np.float64, "I64": np.int64, "I32": np.int32}

# ours -> theirs, within a layer
NAMES = {
    "attn_norm": "layer.input_layernorm.weight",
    "mlp_norm": "layer.post_attention_layernorm.weight",
    "q.weight": "layer.self_attn.q_proj.weight",
    "k.weight": "layer.self_attn.k_proj.weight",
    "v.weight": "layer.self_attn.v_proj.weight",
    "o.weight": "layer.self_attn.o_proj.weight",
    "gate.weight": "layer.mlp.gate_proj.weight",
    "up.weight": "layer.mlp.up_proj.weight",
    "down.weight": "layer.mlp.down_proj.weight",
    "mem_q.weight": "W_mq.weight",
    "mem_k.weight": "W_mk.weight",
    "mem_v.weight": "W_mv.weight",
    "mem_b.weight": "W_mb.weight",
    "mem_b.bias": "W_mb.bias",
}


def read(path):
    data = Path(path).read_bytes()
    (size,) = struct.unpack("<Q", data[:8])
    header = json.loads(data[8 : 8 + size])
    header.pop("__metadata__", None)
    tensors = {}
    for name, info in header.items():
        begin, end = (8 + size + o for o in info["data_offsets"])
        array = np.frombuffer(data[begin:end], TYPES[info["dtype"]]).reshape(info["shape"])
        tensors[name] = torch.from_numpy(array.copy())
    return tensors


def write(path, tensors):
    header, offset = {}, 0
    for name, t in tensors.items():
        size = t.numel() * 4
        header[name] = {"dtype": "F32", "shape": list(t.shape), "data_offsets": [offset, offset + size]}
        offset += size
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)
    with open(path, "wb") as file:
        file.write(struct.pack("<Q", len(text)) + text)
        for t in tensors.values():
            file.write(t.detach().float().cpu().contiguous().numpy().tobytes())


def to_checkpoint(model):
    base = "memory_cell.model.model."
    out = {"memory_cell.memory": model.memory, base + "embed_tokens.weight": model.embed, base + "norm.weight": model.norm}
    if model.head is not None:
        out["memory_cell.model.lm_head.weight"] = model.head
    for i, cell in enumerate(model.cells):
        own = dict(cell.named_parameters())
        for ours, theirs in NAMES.items():
            out[f"{base}layers.{i}.{theirs}"] = own[ours]
    return out


def from_checkpoint(model, tensors):
    for name, parameter in to_checkpoint(model).items():
        parameter.data.copy_(tensors[name])


def write_checkpoint(model, tokenizer_json, folder, end_id, chat_template):
    """A folder as the authors' training code leaves it, with a tokenizer."""
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    c = model.c
    save = lambda name, value: (folder / name).write_text(json.dumps(value, indent=1, ensure_ascii=False) + "\n")
    write(folder / "model.safetensors", to_checkpoint(model))
    save("config.json", {
        "architectures": ["LlamaForCausalLM"], "model_type": "llama", "hidden_act": "silu", "attention_bias": False, "mlp_bias": False,
        "vocab_size": c.vocab_size, "hidden_size": c.dim, "intermediate_size": c.ffn, "num_hidden_layers": c.layers,
        "num_attention_heads": c.heads, "num_key_value_heads": c.kv_heads, "head_dim": c.head_dim, "max_position_embeddings": 4096,
        "rms_norm_eps": c.norm_eps, "rope_theta": c.rope_theta, "tie_word_embeddings": c.tied, "bos_token_id": None, "eos_token_id": end_id,
    })
    save("armt_config.json", {
        "segment_size": c.segment_size, "num_mem_tokens": c.n_mem, "d_mem": c.d_mem, "layers_attr": "model.layers", "correction": c.correction,
        "segment_alignment": "left", "wrap_pos": False, "normalize_keys": c.normalize_keys, "n_heads": 1, "use_denom": True, "gating": False,
    })
    save("tokenizer.json", tokenizer_json)
    save("tokenizer_config.json", {"eos_token": tokenizer_json["added_tokens"][0]["content"], "add_bos_token": False, "chat_template": chat_template})
