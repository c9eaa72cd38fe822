"""Families of base models: names of their tensors in transformers and in GGUF, and a GGUF's keys as a transformers
config.
"""

import re
from dataclasses import dataclass

from armt_train.errors import TrainError

MODEL = {"model.embed_tokens": "token_embd", "model.norm": "output_norm", "lm_head": "output"}
LAYER = {
    "input_layernorm": "attn_norm",
    "self_attn.q_proj": "attn_q",
    "self_attn.k_proj": "attn_k",
    "self_attn.v_proj": "attn_v",
    "self_attn.qkv_proj": "attn_qkv",
    "self_attn.o_proj": "attn_output",
    "self_attn.q_norm": "attn_q_norm",
    "self_attn.k_norm": "attn_k_norm",
    "post_attention_layernorm": "ffn_norm",
    "mlp.gate_proj": "ffn_gate",
    "mlp.up_proj": "ffn_up",
    "mlp.gate_up_proj": "ffn_up",
    "mlp.down_proj": "ffn_down",
}
GEMMA_LAYER = LAYER | {
    "post_attention_layernorm": "post_attention_norm",
    "pre_feedforward_layernorm": "ffn_norm",
    "post_feedforward_layernorm": "post_ffw_norm",
}
# both are rotary factors that a converter computes; neither is a weight
COMPUTED = re.compile(r"^rope_(freqs|factors_.*)\.")


@dataclass(frozen=True)
class Family:
    """`architecture` is GGUF's name of it. `matrices`: modules that LoRA may be put on."""

    architecture: str
    layer: dict
    matrices: tuple
    # RoPE of its GGUF turns neighbours, so that rows of Q and K stand in another order there
    neighbours: bool = False
    norms_less_one: bool = False

    def gguf_name(self, name):
        """GGUF's name of a tensor of transformers' model; None for one that GGUF does not have."""
        module, _, kind = name.rpartition(".")
        if module in MODEL:
            return f"{MODEL[module]}.{kind}"
        found = re.fullmatch(r"model\.layers\.(\d+)\.(.+)", module)
        if found and found[2] in self.layer:
            return f"blk.{found[1]}.{self.layer[found[2]]}.{kind}"
        return None


UNFUSED = ("self_attn.q_proj", "self_attn.k_proj", "self_attn.v_proj", "self_attn.o_proj")
GATED = ("mlp.gate_proj", "mlp.up_proj", "mlp.down_proj")
LLAMA = Family("llama", LAYER, UNFUSED + GATED, neighbours=True)
# by model_type of config.json
FAMILIES = {
    "llama": LLAMA,
    "mistral": LLAMA,
    "qwen2": Family("qwen2", LAYER, UNFUSED + GATED),
    "qwen3": Family("qwen3", LAYER, UNFUSED + GATED),
    "gemma3_text": Family("gemma3", GEMMA_LAYER, UNFUSED + GATED, norms_less_one=True),
    "phi3": Family("phi3", LAYER, ("self_attn.qkv_proj", "self_attn.o_proj", "mlp.gate_up_proj", "mlp.down_proj")),
}
# by GGUF's general.architecture
MODEL_TYPES = {"llama": "llama", "qwen2": "qwen2", "qwen3": "qwen3", "gemma3": "gemma3_text", "phi3": "phi3"}

GEMMA_PATTERN = 6  # every 6th layer attends to everything, as llama.cpp and transformers have it in their code
GEMMA_LOCAL_THETA = 10_000.0
GEMMA_27B_LAYERS = 62


def family_of(model_type, where):
    if model_type not in FAMILIES:
        raise TrainError(f'{where}: the family "{model_type}" is not known; known are {", ".join(FAMILIES)}')
    return FAMILIES[model_type]


def config_from_gguf(key, vocab_size, tied, where):
    """transformers' config of a stock GGUF file. `key(name, default)` reads a key below the file's architecture."""
    import transformers

    architecture = key("general.architecture")
    if architecture not in MODEL_TYPES:
        known = ", ".join(MODEL_TYPES)
        raise TrainError(f'{where}: the architecture "{architecture}" is not known; known are {known}')
    model_type = MODEL_TYPES[architecture]
    for name in ("expert_count", "attn_logit_softcapping", "final_logit_softcapping"):
        if key(name, 0):
            raise TrainError(f"{where}: `{architecture}.{name}` asks for what ARMT models don't compute")
    width, heads = key("embedding_length"), key("attention.head_count")
    head_dim = key("attention.key_length", width // heads)
    theta = float(key("rope.freq_base", 10_000.0))
    rope = {"rope_type": "default", "rope_theta": theta}
    scaling = key("rope.scaling.type", "none")
    if scaling == "linear":
        rope = {"rope_type": "linear", "factor": float(key("rope.scaling.factor")), "rope_theta": theta}
    elif scaling != "none" and not (scaling == "longrope" and architecture == "phi3"):
        raise TrainError(f'{where}: RoPE scaled as "{scaling}" is not supported (`{architecture}.rope.scaling.type`)')
    common = dict(
        vocab_size=vocab_size,
        hidden_size=width,
        intermediate_size=key("feed_forward_length"),
        num_hidden_layers=key("block_count"),
        num_attention_heads=heads,
        num_key_value_heads=key("attention.head_count_kv", heads),
        max_position_embeddings=key("context_length", 4096),
        rms_norm_eps=float(key("attention.layer_norm_rms_epsilon")),
        tie_word_embeddings=tied,
        bos_token_id=None,
        eos_token_id=None,
        pad_token_id=None,
    )
    window = key("attention.sliding_window", None)
    if model_type == "gemma3_text":
        local = float(key("rope.freq_base_swa", GEMMA_LOCAL_THETA))
        pattern = key("attention.sliding_window_pattern", GEMMA_PATTERN)
        count = common["num_hidden_layers"]
        if isinstance(pattern, int):
            pattern = [(i + 1) % pattern != 0 for i in range(count)]
        kinds = ["sliding_attention" if local_layer else "full_attention" for local_layer in pattern]
        scalar = width // heads if count == GEMMA_27B_LAYERS else head_dim
        ropes = {"full_attention": rope, "sliding_attention": {"rope_type": "default", "rope_theta": local}}
        return transformers.Gemma3TextConfig(
            **common,
            head_dim=head_dim,
            query_pre_attn_scalar=scalar,
            sliding_window=window or 4096,
            layer_types=kinds,
            rope_parameters=ropes,
        )
    if model_type == "phi3":
        if key("rope.dimension_count", head_dim) != head_dim:
            rope["partial_rotary_factor"] = key("rope.dimension_count") / head_dim
        return transformers.Phi3Config(**common, rope_parameters=rope, sliding_window=window or None)
    if key("rope.dimension_count", head_dim) != head_dim:
        raise TrainError(
            f"{where}: RoPE over a part of a head is not supported (`{architecture}.rope.dimension_count`)"
        )
    if model_type == "llama":
        return transformers.LlamaConfig(**common, head_dim=head_dim, rope_parameters=rope)
    if model_type == "qwen2":
        return transformers.Qwen2Config(**common, rope_parameters=rope)
    return transformers.Qwen3Config(**common, head_dim=head_dim, rope_parameters=rope)
