"""One small file with what was trained for a base: memory, LoRA, ARMT's numbers, how to ask, and the base's
fingerprint. Its format: docs/memory-file.md.
"""

import json
from dataclasses import asdict

import torch

from armt_train.errors import TrainError
from armt_train.loop.saving import replace
from armt_train.model.lora import lora_modules

FORMAT_VERSION = 1
TYPES = {"f32": torch.float32, "f16": torch.float16, "bf16": torch.bfloat16}
Q8_0_BLOCK = 32
PARTS = {
    "mem_q.weight": "W_mq.weight",
    "mem_k.weight": "W_mk.weight",
    "mem_v.weight": "W_mv.weight",
    "mem_b.weight": "W_mb.weight",
    "mem_b.bias": "W_mb.bias",
}


def memory_tensors(model):
    """The file's tensors by name, float32 on the CPU."""
    tensors = {"memory": model.memory}
    for i, cell in enumerate(model.cells):
        own = dict(cell.named_parameters())
        for ours, theirs in PARTS.items():
            tensors[f"layers.{i}.{theirs}"] = own[ours]
        for name, module in lora_modules(cell.layer):
            tensors[f"layers.{i}.layer.{name}.lora_A.weight"] = module.lora_A["default"].weight
            tensors[f"layers.{i}.layer.{name}.lora_B.weight"] = module.lora_B["default"].weight
    return {name: tensor.detach().float().cpu().contiguous() for name, tensor in tensors.items()}


def memory_texts(base, model, recipe, training):
    """The two JSON texts of the file."""
    tokenizer, config = base.tokenizer, base.config
    lora = recipe.training.lora
    ask = asdict(recipe.ask)
    if ask["chat"] is None:
        ask["chat"] = tokenizer.chat_template is not None
    ask["end"] = ask["end"] or [tokenizer.token(tokenizer.end)]
    about = {
        "format_version": FORMAT_VERSION,
        "base": {
            "name": base.name,
            "license": base.license,
            "architecture": base.architecture,
            "layers": config.num_hidden_layers,
            "width": config.hidden_size,
            "vocabulary_size": config.vocab_size,
            "fingerprint": base.fingerprint,
        },
        "lora": {"r": lora.r, "alpha": lora.alpha} if recipe.training.tune == "lora" else None,
        "ask": ask,
        "training": training,
    }
    compact = lambda value: json.dumps(value, ensure_ascii=False, separators=(",", ":"))
    return {"armt_config": compact(model.armt.to_json()), "armt_memory": compact(about)}


def export_memory(path, base, model, recipe, kind, training):
    """Writes `path` (.safetensors or .gguf); `kind` of the matrices: f32, f16, bf16, and in GGUF q8_0 too. Gives the
    path.
    """
    if recipe.training.tune == "all":
        raise TrainError(
            "with tune: all the base's own weights change, which a memory's file cannot hold; export --merged"
        )
    texts, tensors = memory_texts(base, model, recipe, training), memory_tensors(model)
    for name, tensor in tensors.items():
        if not tensor.isfinite().all():
            raise TrainError(f'the trained tensor "{name}" is not finite')
        if kind in ("f16", "q8_0") and tensor.abs().max() > 65504:
            raise TrainError(f'the trained tensor "{name}" is too large for f16; take bf16 or f32')
    if path.suffix == ".safetensors":
        if kind not in TYPES:
            raise TrainError(f"--type {kind}: a .safetensors file has {', '.join(TYPES)}")
        from safetensors.torch import save_file

        typed = {name: t if name.endswith("bias") else t.to(TYPES[kind]) for name, t in tensors.items()}
        replace(path, lambda p: save_file(typed, p, metadata={"format": "pt", **texts}))
    elif path.suffix == ".gguf":
        replace(path, lambda p: write_gguf(p, tensors, texts, kind, base, path.stem))
    else:
        raise TrainError(f"{path}: the name must end in .safetensors or .gguf")
    return path


def write_gguf(path, tensors, texts, kind, base, name):
    import gguf

    types = {"f32": "F32", "f16": "F16", "bf16": "BF16", "q8_0": "Q8_0"}
    if kind not in types:
        raise TrainError(f"--type {kind}: a .gguf file has {', '.join(types)}")
    writer = gguf.GGUFWriter(path, "armt-memory")
    writer.add_type("adapter")
    writer.add_name(f"{base.name} {name}")
    if base.license:
        writer.add_license(base.license)
    writer.add_base_model_count(1)
    writer.add_base_model_name(0, base.name)
    for key, text in texts.items():
        writer.add_string(key, text)
    for name, tensor in tensors.items():
        wanted = kind
        if name.endswith("bias"):
            wanted = "f32"
        elif kind == "q8_0":
            if name.endswith(".lora_B.weight") and tensor.shape[-1] % Q8_0_BLOCK:
                # rows as long as the rank are too short for a block
                tensor = tensor.flatten()
            if tensor.shape[-1] % Q8_0_BLOCK or name == "memory" or "W_mb" in name:
                wanted = "f16"
        type = gguf.GGMLQuantizationType[types[wanted]]
        array = tensor.numpy()
        if wanted == "f32":
            writer.add_tensor(name, array)
        elif wanted == "f16":
            writer.add_tensor(name, array.astype("float16"))
        else:
            writer.add_tensor(name, gguf.quantize(array, type), raw_dtype=type)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
