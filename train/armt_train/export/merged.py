"""A whole ARMT checkpoint in the authors' form, LoRA merged, as `armt convert` reads it: to check what the trainer
computes against the engine.
"""

import json

import torch

from armt_train.errors import TrainError
from armt_train.export.memory_file import PARTS
from armt_train.loop.saving import replace
from armt_train.model.lora import lora_modules

PREFIX = "memory_cell.model.model."


@torch.no_grad()
def merged_tensors(model):
    inner = model.base_model.model
    out = {
        "memory_cell.memory": model.memory,
        PREFIX + "embed_tokens.weight": inner.embed_tokens.weight,
        PREFIX + "norm.weight": inner.norm.weight,
    }
    if not model.config.tie_word_embeddings:
        out["memory_cell.model.lm_head.weight"] = model.head
    for i, cell in enumerate(model.cells):
        below = f"{PREFIX}layers.{i}."
        own = dict(cell.named_parameters())
        for ours, theirs in PARTS.items():
            out[below + theirs] = own[ours]
        merged = {}
        for name, module in lora_modules(cell.layer):
            a, b = module.lora_A["default"].weight, module.lora_B["default"].weight
            merged[f"{name}.weight"] = module.base_layer.weight.float() + module.scaling["default"] * (b @ a)
        for name, p in cell.layer.named_parameters():
            if "lora_" in name:
                continue
            name = name.replace(".base_layer.", ".")
            out[f"{below}layer.{name}"] = merged.get(name, p)
    return {name: tensor.detach().float().cpu().contiguous() for name, tensor in out.items()}


def export_merged(folder, base, model, recipe):
    """Writes config.json, armt_config.json, model.safetensors (float32) and the tokenizer into a folder. Gives the
    folder.
    """
    from safetensors.torch import save_file

    if folder.exists() and any(folder.iterdir()):
        raise TrainError(f"{folder}: there is something in it; name another folder")
    folder.mkdir(parents=True, exist_ok=True)
    config = base.config.to_dict() | {"dtype": "float32"}
    config |= {"architectures": [type(base.model).__name__], "model_type": base.config.model_type}
    ends = base.tokenizer.end_ids
    config["eos_token_id"] = ends[0]
    config["bos_token_id"] = base.tokenizer.bos
    write = lambda name, value: (folder / name).write_text(json.dumps(value, indent=1, ensure_ascii=False) + "\n")
    write("config.json", config)
    write("armt_config.json", model.armt.to_json())
    base.tokenizer.tokenizer.encode_special_tokens = False
    base.tokenizer.tokenizer.save(str(folder / "tokenizer.json"))
    settings = {"eos_token": base.tokenizer.token(ends[0]), "add_bos_token": base.tokenizer.bos is not None}
    if base.tokenizer.bos is not None:
        settings["bos_token"] = base.tokenizer.bos_text
    if base.tokenizer.chat_template:
        settings["chat_template"] = base.tokenizer.chat_template
    write("tokenizer_config.json", settings)
    replace(folder / "model.safetensors", lambda p: save_file(merged_tensors(model), p, metadata={"format": "pt"}))
    return folder
