from dataclasses import dataclass, field
from pathlib import Path

import torch

from armt_train.base.families import Family
from armt_train.base.fingerprint import fingerprint
from armt_train.base.folder import FolderBase
from armt_train.base.gguf_file import GgufBase
from armt_train.base.tokenizer import BaseTokenizer
from armt_train.errors import TrainError


@dataclass
class Base:
    """A public base model, on the CPU, its weights frozen.

    `model` is transformers' own `…ForCausalLM`; `fingerprint` has three digests (docs/memory-file.md).
    """

    name: str
    license: str | None
    architecture: str
    family: Family
    config: object
    model: torch.nn.Module = field(repr=False)
    tokenizer: BaseTokenizer = field(repr=False)
    fingerprint: dict


def load_base(path, dtype=torch.float32):
    """Loads a Hugging Face folder or a GGUF file of any weight type.

    `dtype` of the matrices; vectors (norms, biases) stay float32. Raises TrainError for what is not there, unknown,
    or does not fit.
    """
    path = Path(path)
    if not path.exists():
        raise TrainError(f"{path}: there is no such base (a Hugging Face folder or a GGUF file)")
    source = FolderBase(path) if path.is_dir() else GgufBase(path)
    is_gguf = isinstance(source, GgufBase)
    tokenizer = (BaseTokenizer.from_gguf if is_gguf else BaseTokenizer.from_folder)(source)
    model = build_model(source.config)
    names = [name for name, _ in model.named_parameters(remove_duplicate=False)]
    if source.config.tie_word_embeddings:
        names = [name for name in names if name != "lm_head.weight"]
    shapes = dict(model.named_parameters(remove_duplicate=False))
    weights = source.state_dict(names, dtype)
    for name, weight in weights.items():
        if weight.shape != shapes[name].shape:
            raise TrainError(
                f'{path}: tensor "{name}" is {list(weight.shape)}, expected {list(shapes[name].shape)} by its config'
            )
    model.load_state_dict(weights, strict=False, assign=True)
    model.tie_weights()
    divisors = source.rope_divisors()
    if divisors is not None:
        rotary = model.model.rotary_emb
        rotary.inv_freq = rotary.inv_freq / divisors
    model.requires_grad_(False).eval()
    scale = getattr(model.model.embed_tokens, "embed_scale", None)
    if scale is not None:
        # the engine rounds it as the family's code does
        model.model.embed_tokens.embed_scale = scale.to(source.embedding_dtype).float()
    name, license = (_gguf_name if is_gguf else _folder_name)(source)
    return Base(
        name=name,
        license=license,
        architecture=source.architecture,
        family=source.family,
        config=source.config,
        model=model,
        tokenizer=tokenizer,
        fingerprint=fingerprint(source, tokenizer.texts),
    )


def build_model(config):
    import transformers
    from transformers.initialization import no_init_weights

    config._attn_implementation = "sdpa"
    with no_init_weights():
        return transformers.AutoModelForCausalLM.from_config(config, dtype=torch.float32)


def _gguf_name(source):
    keys = source.keys
    name = keys("general.name", None) or source.path.stem
    return name, keys("general.license", None)


def _folder_name(source):
    name = getattr(source.config, "_name_or_path", "") or ""
    license = None
    card = source.path / "README.md"
    if card.is_file():
        for line in card.read_text(errors="replace").split("\n---")[0].splitlines():
            if line.startswith("license:"):
                license = line.split(":", 1)[1].strip()
    return Path(name).name or source.path.resolve().name, license
