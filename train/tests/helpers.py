"""Tiny random bases in Hugging Face folders."""

import json

import torch

SMALL = dict(
    vocab_size=288,
    hidden_size=32,
    intermediate_size=48,
    num_hidden_layers=3,
    num_attention_heads=4,
    num_key_value_heads=2,
    max_position_embeddings=256,
    bos_token_id=None,
    eos_token_id=256,
    pad_token_id=None,
)
TEMPLATE = (
    "{% for message in messages %}<|im_start|>{{ message['role'] }}\n{{ message['content'] }}<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)


def family_config(name):
    import transformers

    rope = {"rope_type": "default", "rope_theta": 500.0}
    if name == "llama":
        return transformers.LlamaConfig(**SMALL, rope_parameters=rope, tie_word_embeddings=True)
    if name == "mistral":
        return transformers.MistralConfig(**SMALL, rope_parameters=rope, tie_word_embeddings=False, sliding_window=None)
    if name == "qwen2":
        return transformers.Qwen2Config(**SMALL, rope_parameters=rope, tie_word_embeddings=True)
    if name == "qwen3":
        return transformers.Qwen3Config(**SMALL, rope_parameters=rope, head_dim=12, tie_word_embeddings=True)
    if name == "phi3":
        return transformers.Phi3Config(
            **SMALL, rope_parameters=rope | {"partial_rotary_factor": 0.5}, tie_word_embeddings=False
        )
    assert name == "gemma3_text"
    # every 6th layer is global, and the others have this RoPE base: llama.cpp has both in its code
    kinds = ["sliding_attention" if (i + 1) % 6 else "full_attention" for i in range(7)]
    return transformers.Gemma3TextConfig(
        **SMALL | {"num_hidden_layers": 7},
        head_dim=12,
        query_pre_attn_scalar=12,
        sliding_window=64,
        tie_word_embeddings=True,
        layer_types=kinds,
        rope_parameters={
            "full_attention": rope | {"rope_theta": 3000.0},
            "sliding_attention": {"rope_type": "default", "rope_theta": 10_000.0},
        },
    )


def byte_tokenizer(size=288):
    """Byte-level BPE with two merges: 256 bytes, special tokens, and last the merged tokens."""
    from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers

    names = ["<|endoftext|>", "<|im_start|>", "<|im_end|>"] + [f"<|unused{i}|>" for i in range(size - 261)]
    texts = [*sorted(pre_tokenizers.ByteLevel.alphabet()), *names, "Ġt", "he"]
    vocabulary = {text: i for i, text in enumerate(texts)}
    tokenizer = Tokenizer(models.BPE(vocab=vocabulary, merges=[("Ġ", "t"), ("h", "e")]))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    tokenizer.add_special_tokens([AddedToken(name, special=True, normalized=False) for name in names])
    return tokenizer


def write_base(folder, name="llama", seed=0):
    """A Hugging Face folder with random weights of a scale at which logits differ."""
    import transformers

    torch.manual_seed(seed)
    config = family_config(name)
    model = transformers.AutoModelForCausalLM.from_config(config)
    with torch.no_grad():
        for key, p in model.named_parameters():
            if p.dim() == 1:
                p.normal_(0 if name == "gemma3_text" or key.endswith("bias") else 1, 0.1)
            else:
                p.normal_(0, 0.3 if "embed" in key or "lm_head" in key else 0.7 * p.shape[1] ** -0.5)
    model.save_pretrained(folder)
    byte_tokenizer().save(str(folder / "tokenizer.json"))
    settings = {"eos_token": "<|endoftext|>", "add_bos_token": False, "chat_template": TEMPLATE}
    (folder / "tokenizer_config.json").write_text(json.dumps(settings))
    return folder


def tiny_recipe(**changes):
    """A recipe of two steps with all losses."""
    losses = {"slots": 0.5, "text_slots": 0.1, "language": 0.1, "filler_writes": 0.01, "keep": 1.0}
    recipe = {
        "model": {"segment_size": 8, "n_mem": 4, "d_mem": 6},
        "training": {
            "tune": "lora",
            "lora": {"r": 4, "alpha": 8, "modules": ["q_proj", "v_proj"]},
            "warm_up": 1,
            "keep": {"chats": 4, "length": 48, "batch": 2},
        },
        "stages": [{"name": "one", "batch": 4, "steps": 2, "shape": {}, "mix": {"life": 3}, "losses": losses}],
        "language_check": {"shape": {}, "mix": {"life": 1}, "batch": 2, "chunks": 1},
    }
    for key, value in changes.items():
        at = recipe
        *path, last = key.split("__")
        for part in path:
            at = at[int(part)] if isinstance(at, list) else at[part]
        at[last] = value
    return recipe
