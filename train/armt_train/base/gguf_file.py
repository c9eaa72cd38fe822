"""A base model's weights out of a stock GGUF file, by PyPI's `gguf`."""

import re

import numpy as np
import torch

from armt_train.base.families import COMPUTED, FAMILIES, MODEL_TYPES, config_from_gguf
from armt_train.errors import TrainError


class GgufBase:
    """`keys`: the file's metadata. `read(name)` gives a tensor as float32 in PyTorch's shape, in the file's order of
    rows.
    """

    def __init__(self, path):
        import gguf

        self.path = path
        try:
            self.reader = gguf.GGUFReader(path)
        except (OSError, ValueError, IndexError) as error:
            raise TrainError(f"{path}: not a readable GGUF file ({error})") from error
        self.tensors = {tensor.name: tensor for tensor in self.reader.tensors}
        self.keys = _Keys(self.reader, path)
        self.architecture = self.keys("general.architecture")
        if "token_embd.weight" not in self.tensors:
            raise TrainError(f'{path}: it has no tensor "token_embd.weight"')
        vocab_size = self.shape("token_embd.weight")[0]
        self.config = config_from_gguf(self.keys, vocab_size, "output.weight" not in self.tensors, path)
        self.family = FAMILIES[MODEL_TYPES[self.architecture]]

    def shape(self, name):
        return tuple(int(n) for n in reversed(self.tensors[name].shape))

    def shapes(self):
        return {name: self.shape(name) for name in self.tensors}

    def read(self, name):
        from gguf import dequantize

        tensor = self.tensors[name]
        array = np.asarray(dequantize(tensor.data, tensor.tensor_type), np.float32)
        return torch.from_numpy(np.array(array)).reshape(self.shape(name))

    def state_dict(self, names, dtype):
        """The model's weights under transformers' `names`; vectors stay float32."""
        config, family, out = self.config, self.family, {}
        heads = {"self_attn.q_proj": config.num_attention_heads, "self_attn.k_proj": config.num_key_value_heads}
        used = set()
        for name in names:
            theirs = family.gguf_name(name)
            if theirs == "output.weight" and theirs not in self.tensors:
                theirs = "token_embd.weight"
            if theirs not in self.tensors:
                raise TrainError(f'{self.path}: it has no tensor "{theirs}", which a {self.architecture} model needs')
            used.add(theirs)
            weight = self.read(theirs)
            module = re.sub(r"^model\.layers\.\d+\.", "", name.rpartition(".")[0])
            if family.neighbours and module in heads:
                weight = halves(weight, heads[module])
            if family.norms_less_one and "norm" in module:
                weight = weight - 1
            out[name] = weight if weight.dim() == 1 else weight.to(dtype)
        others = [name for name in self.tensors if name not in used and not COMPUTED.match(name)]
        if others:
            raise TrainError(f'{self.path}: its tensor "{others[0]}" has no place in a {self.architecture} model')
        return out

    def rope_divisors(self):
        """Divisors of RoPE's frequencies (LLaMA 3's scaling), or None."""
        if any(name.startswith("rope_factors_") for name in self.tensors):
            raise TrainError(f"{self.path}: RoPE factors for long texts (longrope) are not supported")
        return self.read("rope_freqs.weight") if "rope_freqs.weight" in self.tensors else None

    @property
    def embedding_dtype(self):
        """The type in which the family's code would have the factor of its embeddings."""
        types = {"F32": torch.float32, "F16": torch.float16}
        return types.get(self.tensors["token_embd.weight"].tensor_type.name, torch.bfloat16)


class _Keys:
    def __init__(self, reader, path):
        self.reader, self.path = reader, path
        self.architecture = None
        self.architecture = self("general.architecture")

    def __call__(self, name, *default):
        for full in (f"{self.architecture}.{name}", name):
            if full in self.reader.fields:
                return self.reader.fields[full].contents()
        if default:
            return default[0]
        full = name if name.startswith(("general.", "tokenizer.")) else f"{self.architecture}.{name}"
        raise TrainError(f"{self.path}: it has no key `{full}`")


def halves(weight, heads):
    """Rows of Q or K of a `llama` GGUF, where RoPE turns neighbours, in transformers' order, where it turns halves."""
    return (
        weight.reshape(heads, weight.shape[0] // heads // 2, 2, *weight.shape[1:]).transpose(1, 2).reshape(weight.shape)
    )
