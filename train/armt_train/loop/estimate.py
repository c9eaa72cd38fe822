"""What a stage needs of a GPU's memory, computed before it starts."""

from armt_train.losses.vocabulary import LOGITS

GIB = 2**30


def stage_bytes(config, model, training, losses, shapes):
    """Bytes by what they are for. `shapes`: of the arrays of a batch. Activations are what the compiled layers keep for
    the backward pass, within about a fifth.
    """
    b, n, s = shapes["text"]
    d, f, layers = config.hidden_size, config.intermediate_size, config.num_hidden_layers
    heads, kv = config.num_attention_heads, config.num_key_value_heads
    head_dim = getattr(config, "head_dim", None) or d // heads
    rows = b * (n * (s + model.n_mem) + shapes["asked"][1] * shapes["asked"][2] + shapes["tail"][1] * shapes["tail"][2])
    if losses.keep:
        rows += training.keep.batch * training.keep.length
    # 4 bytes: the residual stream before, between and after; 2 bytes: normed rows, Q, K, V, attention's output, and the
    # MLP's
    a_row = 3 * 4 * d + 2 * (3 * d + 2 * (heads + kv) * head_dim + heads * head_dim + kv * head_dim + 3 * f)
    if training.checkpointing:
        activations = rows * layers * 4 * d + rows * a_row
    else:
        activations = rows * layers * a_row
    keys = 6 * model.d_mem
    memory = b * layers * keys * (d + 1) * 4
    base = sum(p for p in parameter_sizes(config)) * (4 if training.tune == "all" else 2)
    trained = trained_parameters(config, model, training)
    slots = shapes["slots"][-1] * d * d if losses.slots else 0
    slots += (s // model.n_mem) * d * d if losses.text_slots else 0
    logits = min(LOGITS, rows * config.vocab_size) * 4 * 3
    if losses.slots:
        logits += b * n * model.n_mem * shapes["slots"][-1] * d * 4 * 2
    return {
        "activations": activations,
        # of every segment for the backward pass, and the streams' own
        "memory": memory * (n + 2),
        "base": base,
        "trained": (trained + slots) * 4 * 4,
        "logits": logits,
    }


def parameter_sizes(config):
    d, f, layers = config.hidden_size, config.intermediate_size, config.num_hidden_layers
    heads, kv = config.num_attention_heads, config.num_key_value_heads
    head_dim = getattr(config, "head_dim", None) or d // heads
    yield config.vocab_size * d * (1 if config.tie_word_embeddings else 2)
    yield layers * (d * head_dim * (2 * heads + 2 * kv) + 3 * d * f)


def trained_parameters(config, model, training):
    d, layers = config.hidden_size, config.num_hidden_layers
    total = layers * (2 * model.d_mem * d + d * d + d + 1) + model.n_mem * d
    if training.tune == "all":
        total += sum(parameter_sizes(config))
    if training.tune == "lora":
        heads, kv, f = config.num_attention_heads, config.num_key_value_heads, config.intermediate_size
        head_dim = getattr(config, "head_dim", None) or d // heads
        q, k = heads * head_dim, kv * head_dim
        sizes = {
            "q_proj": d + q,
            "k_proj": d + k,
            "v_proj": d + k,
            "o_proj": q + d,
            "gate_proj": d + f,
            "up_proj": d + f,
            "down_proj": f + d,
            "qkv_proj": d + q + 2 * k,
            "gate_up_proj": d + 2 * f,
        }
        modules = training.lora.modules
        if modules in ("all", ["all"]):
            modules = (
                ["qkv_proj", "o_proj", "gate_up_proj", "down_proj"] if config.model_type == "phi3" else list(sizes)[:7]
            )
        total += layers * training.lora.r * sum(sizes.get(name, 0) for name in modules)
    return total


def describe(parts, available):
    total = sum(parts.values())
    text = f"about {total / GIB:.1f} GiB of GPU memory: " + ", ".join(
        f"{name} {size / GIB:.1f}" for name, size in parts.items()
    )
    if available:
        text += f"; there are {available / GIB:.1f}"
    return total, text
