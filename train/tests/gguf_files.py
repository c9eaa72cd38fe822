"""Writes a tiny base of a Hugging Face folder as a stock GGUF file, as llama.cpp's converter lays it out."""

import gguf
import numpy as np
import transformers
from safetensors.torch import load_file

from armt_train.base.families import FAMILIES


def neighbours(weight, heads):
    """llama.cpp's order of the rows of Q and K for the architecture llama."""
    return (
        weight.reshape(heads, 2, weight.shape[0] // heads // 2, *weight.shape[1:]).swapaxes(1, 2).reshape(weight.shape)
    )


def write_gguf(folder, path, kind="F16"):
    from tokenizers import Tokenizer

    config = transformers.AutoConfig.from_pretrained(folder)
    family = FAMILIES[config.model_type]
    writer = gguf.GGUFWriter(path, family.architecture)
    writer.add_name("tiny")
    writer.add_license("mit")
    writer.add_context_length(256)
    writer.add_embedding_length(config.hidden_size)
    writer.add_block_count(config.num_hidden_layers)
    writer.add_feed_forward_length(config.intermediate_size)
    writer.add_head_count(config.num_attention_heads)
    writer.add_head_count_kv(config.num_key_value_heads)
    head_dim = getattr(config, "head_dim", None) or config.hidden_size // config.num_attention_heads
    writer.add_key_length(head_dim)
    writer.add_value_length(head_dim)
    writer.add_layer_norm_rms_eps(config.rms_norm_eps)
    rope = config.rope_parameters
    if config.model_type == "gemma3_text":
        writer.add_sliding_window(config.sliding_window)
        rope = rope["full_attention"]
    writer.add_rope_freq_base(rope["rope_theta"])
    writer.add_rope_dimension_count(int(head_dim * rope.get("partial_rotary_factor", 1)))
    tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
    texts = [tokenizer.id_to_token(i) for i in range(config.vocab_size)]
    writer.add_tokenizer_model("gpt2")
    writer.add_tokenizer_pre("gpt-2")
    writer.add_token_list(texts)
    writer.add_token_types([3 if text.startswith("<|") else 1 for text in texts])
    writer.add_token_merges(["Ġ t", "h e"])
    writer.add_eos_token_id(256)
    heads = {"q_proj": config.num_attention_heads, "k_proj": config.num_key_value_heads}
    for name, tensor in load_file(folder / "model.safetensors").items():
        theirs = family.gguf_name(name)
        array = tensor.float().numpy()
        part = name.split(".")[-2]
        if family.neighbours and part in heads:
            array = neighbours(array, heads[part])
        if family.norms_less_one and "norm" in name:
            array = array + np.float32(1)
        if array.ndim == 1 or kind == "F32" or array.shape[-1] % 32 and kind != "F16":
            writer.add_tensor(theirs, array)
        elif kind == "F16":
            writer.add_tensor(theirs, array.astype(np.float16))
        else:
            type = gguf.GGMLQuantizationType[kind]
            writer.add_tensor(theirs, gguf.quantize(array, type), raw_dtype=type)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return path
