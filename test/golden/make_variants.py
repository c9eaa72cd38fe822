"""Makes the golden folders of variants in the authors' newer code: small random LLaMAs, computed in float64 with NumPy.

    pip install numpy safetensors
    python test/golden/make_variants.py [name ...]

No other code computes anything here: the layers are written after transformers' LLaMA and GPT-2, the memory after the paper (arXiv
2407.04841), and positions and masks after the tables in docs/convert.md. A mask is written row by row, as text says it.
"""

import json
import sys
from pathlib import Path

import numpy as np
from safetensors.numpy import save_file

SEGMENT, MEM, D_MEM, VOCAB, TOKENS = 12, 5, 16, 64, 4 * 12 + 7
WIDTH, INNER, LAYERS, HEADS, KV_HEADS, THETA, NORM_EPS, EPS = 32, 48, 3, 4, 2, 500.0, 1e-6, 1e-5
HEAD = WIDTH // HEADS

cases = {
    "inner": dict(dialect="inner"),
    "inner_window": dict(dialect="inner", window=True),
    "inner_window_sink": dict(dialect="inner", window=True, sink=True),
    "causal_window": dict(dialect="inner-causal", window=True),
    "causal_window_sink": dict(dialect="inner-causal", window=True, sink=True),
    "disjoint": dict(dialect="disjoint"),
    "wrap_layers": dict(wrap_layers=[False, True, False]),
    "gpt2_continued": dict(base="gpt2"),
    "reread": dict(reread=True),
    "reread_gpt2": dict(base="gpt2", reread=True),
    "rmt": dict(recurrent=True),
    "rmt_gpt2": dict(recurrent=True, base="gpt2"),
}
POSITIONS = 96


def phi(x):
    y = np.concatenate([np.maximum(x, 0), np.maximum(-x, 0)], -1)
    y = np.concatenate([y * np.roll(y, j, -1) for j in (1, 2, 3)], -1)
    return y / np.maximum(np.linalg.norm(y, axis=-1, keepdims=True), 1e-12)


def rms(x, weight):
    return x / np.sqrt((x * x).mean(-1, keepdims=True) + NORM_EPS) * weight


def rotate(x, positions):
    """x: [rows, heads, head]"""
    angles = np.outer(positions, THETA ** (-np.arange(0, HEAD, 2) / HEAD))[:, None, :]
    a, b = x[..., : HEAD // 2], x[..., HEAD // 2 :]
    return np.concatenate([a * np.cos(angles) - b * np.sin(angles), b * np.cos(angles) + a * np.sin(angles)], -1)


def own_keys(row, n, sink, dialect):
    """Keys of its own segment [sink, n text rows, memory rows] that a row sees."""
    rows = sink + n + MEM
    if row < sink + n or dialect in ("outer", "inner-causal"):
        return range(row + 1)
    return range(rows)


def previous_keys(row, n, sink, dialect, previous):
    """Keys of the previous segment's text that a row sees in a window."""
    if row < sink:
        return range(0)
    if dialect == "inner":  # triu over the rows, sink and memory rows included
        return range(min(row, previous), previous)
    return range(0 if row >= sink + n else min(row - sink, previous), previous)


class Llama:
    at = "model.model.layers"
    embedding, output = "model.model.embed_tokens.weight", "model.lm_head.weight"
    config = dict(model_type="llama", hidden_size=WIDTH, intermediate_size=INNER, num_hidden_layers=LAYERS)
    config |= dict(num_attention_heads=HEADS, num_key_value_heads=KV_HEADS, vocab_size=VOCAB, rms_norm_eps=NORM_EPS)
    config |= dict(hidden_act="silu", rope_theta=THETA, tie_word_embeddings=False)
    kv_heads = KV_HEADS

    def __init__(self, get, layer):
        self.get, self.layer = get, layer

    @staticmethod
    def draw(draw):
        w = {"model.model.embed_tokens.weight": draw(VOCAB, WIDTH, scale=0.3)}
        w["model.model.norm.weight"] = draw(WIDTH, scale=0.1, mean=1)
        w["model.lm_head.weight"] = draw(VOCAB, WIDTH, scale=0.3)
        return w

    @staticmethod
    def draw_layer(draw):
        w = {f"{name}.weight": draw(WIDTH, scale=0.1, mean=1) for name in ("input_layernorm", "post_attention_layernorm")}
        for name, rows in (("q", HEADS * HEAD), ("k", KV_HEADS * HEAD), ("v", KV_HEADS * HEAD), ("o", WIDTH)):
            w[f"self_attn.{name}_proj.weight"] = draw(rows, WIDTH, scale=1.5 / WIDTH**0.5)
        for name, shape in (("gate", (INNER, WIDTH)), ("up", (INNER, WIDTH)), ("down", (WIDTH, INNER))):
            w[f"mlp.{name}_proj.weight"] = draw(*shape)
        return w

    def positions(self, x, positions):
        return x

    def qkv(self, il, x, positions):
        x = rms(x, self.layer(il, "layer.input_layernorm.weight"))
        heads = lambda kind: (x @ self.layer(il, f"layer.self_attn.{kind}_proj.weight").T).reshape(len(x), -1, HEAD)
        return rotate(heads("q"), positions), rotate(heads("k"), positions), heads("v")

    def attention_output(self, il, x):
        return x @ self.layer(il, "layer.self_attn.o_proj.weight").T

    def feed_forward(self, il, x):
        x = rms(x, self.layer(il, "layer.post_attention_layernorm.weight"))
        gate, up = (x @ self.layer(il, f"layer.mlp.{kind}_proj.weight").T for kind in ("gate", "up"))
        return (gate / (1 + np.exp(-gate)) * up) @ self.layer(il, "layer.mlp.down_proj.weight").T

    def norm(self, x):
        return rms(x, self.get("model.model.norm.weight"))


class Gpt2:
    at = "model.transformer.h"
    embedding = output = "model.transformer.wte.weight"
    config = dict(model_type="gpt2", n_embd=WIDTH, n_layer=LAYERS, n_head=HEADS, n_positions=POSITIONS, vocab_size=VOCAB)
    config |= dict(layer_norm_epsilon=NORM_EPS, activation_function="gelu_new", tie_word_embeddings=True)
    kv_heads = HEADS

    def __init__(self, get, layer):
        self.get, self.layer = get, layer

    @staticmethod
    def draw(draw):
        w = {"model.transformer.wte.weight": draw(VOCAB, WIDTH, scale=0.3)}
        w["model.transformer.wpe.weight"] = draw(POSITIONS, WIDTH, scale=0.2)
        w |= {"model.transformer.ln_f.weight": draw(WIDTH, scale=0.1, mean=1)}
        return w | {"model.transformer.ln_f.bias": draw(WIDTH, scale=0.1)}

    @staticmethod
    def draw_layer(draw):
        w = {}
        for name in ("ln_1", "ln_2"):
            w |= {f"{name}.weight": draw(WIDTH, scale=0.1, mean=1), f"{name}.bias": draw(WIDTH, scale=0.1)}
        shapes = {"attn.c_attn": (WIDTH, 3 * WIDTH), "attn.c_proj": (WIDTH, WIDTH)}
        shapes |= {"mlp.c_fc": (WIDTH, 4 * WIDTH), "mlp.c_proj": (4 * WIDTH, WIDTH)}
        for name, (inputs, outputs) in shapes.items():
            w |= {f"{name}.weight": draw(inputs, outputs, scale=inputs**-0.5), f"{name}.bias": draw(outputs, scale=0.1)}
        return w

    def layer_norm(self, x, weight, bias):
        x = x - x.mean(-1, keepdims=True)
        return x / np.sqrt((x * x).mean(-1, keepdims=True) + NORM_EPS) * weight + bias

    def linear(self, il, name, x):
        return x @ self.layer(il, f"layer.{name}.weight") + self.layer(il, f"layer.{name}.bias")

    def normed(self, il, name, x):
        return self.layer_norm(x, self.layer(il, f"layer.{name}.weight"), self.layer(il, f"layer.{name}.bias"))

    def positions(self, x, positions):
        return x + self.get("model.transformer.wpe.weight")[positions]

    def qkv(self, il, x, positions):
        parts = np.split(self.linear(il, "attn.c_attn", self.normed(il, "ln_1", x)), 3, axis=-1)
        return [part.reshape(len(x), HEADS, HEAD) for part in parts]

    def attention_output(self, il, x):
        return self.linear(il, "attn.c_proj", x)

    def feed_forward(self, il, x):
        x = self.linear(il, "mlp.c_fc", self.normed(il, "ln_2", x))
        x = x * 0.5 * (1 + np.tanh((2 / np.pi) ** 0.5 * (x + 0.044715 * x**3)))
        return self.linear(il, "mlp.c_proj", x)

    def norm(self, x):
        return self.layer_norm(x, self.get("model.transformer.ln_f.weight"), self.get("model.transformer.ln_f.bias"))


class Model:
    def __init__(self, rng, sink, wrap_layers, base, recurrent):
        draw = lambda *shape, scale=None, mean=0.0: (
            (rng.standard_normal(shape) * (scale or 0.7 / max(shape) ** 0.5) + mean).astype(np.float16)
        )
        w = {"memory_cell.memory": draw(MEM, WIDTH, scale=0.5)}
        if sink:
            w["memory_cell.sink"] = draw(1, WIDTH, scale=0.5)
        w |= {f"memory_cell.{name}": value for name, value in base.draw(draw).items()}
        for il in range(LAYERS):
            at = f"memory_cell.{base.at}.{il}."
            inner = "layer." if wrap_layers[il] and not recurrent else ""
            w |= {f"{at}{inner}{name}": value for name, value in base.draw_layer(draw).items()}
            if wrap_layers[il] and not recurrent:
                w[at + "W_mq.weight"] = draw(D_MEM, WIDTH)
                w[at + "W_mk.weight"] = draw(D_MEM, WIDTH)
                w[at + "W_mv.weight"] = draw(WIDTH, WIDTH)
                w[at + "W_mb.weight"] = draw(1, WIDTH)
                w[at + "W_mb.bias"] = draw(1, scale=0.2, mean=-1)
        self.tensors = w
        self.wrap_layers = wrap_layers
        self.recurrent = recurrent
        self.at = base.at
        self.base = base(self, self.layer)

    def __call__(self, name):
        return self.tensors[f"memory_cell.{name}"].astype(np.float64)

    def layer(self, il, name):
        is_wrapped = self.wrap_layers[il] and not self.recurrent
        return self(f"{self.at}.{il}.{name if is_wrapped else name.removeprefix('layer.')}")


def run(model, ids, dialect="outer", window=False, sink=False, reread=False):
    base = model.base
    learned = model("memory")
    first = model("sink") if sink else learned[:0]
    parts = [ids[i : i + SEGMENT] for i in range(0, len(ids), SEGMENT)]
    memories = [(np.zeros((6 * D_MEM, WIDTH)), np.zeros(6 * D_MEM)) for _ in range(LAYERS)]
    kept = [None] * LAYERS
    # absolute positions of the inner loop: of all rows, sink and memory rows included
    absolute = 0
    logits = []
    for number, part in enumerate(parts):
        if reread and number > 0:  # the previous segment's text again, as rows like any others
            part = np.concatenate([parts[number - 1], part])
        n = len(part)
        x = np.concatenate([first, model(base.embedding)[part], learned])
        rows = len(x)
        previous = SEGMENT if window and number > 0 else 0
        start = {"outer": previous, "inner": absolute, "inner-causal": 0, "disjoint": absolute}[dialect]
        positions = start + np.arange(rows)
        # the newest class adds learned positions to all rows at once
        x = base.positions(x, absolute + np.arange(rows))
        for il in range(LAYERS):
            if dialect == "disjoint":
                x[-MEM:] = learned
            a, z = memories[il]
            if number > 0 and model.wrap_layers[il]:
                q = phi(x @ model.layer(il, "W_mq.weight").T)
                x = x + (q @ a) / (q @ z + EPS)[:, None]
            q, k, v = base.qkv(il, x, positions)
            mixed = np.zeros((rows, HEADS, HEAD))
            for row in range(rows):
                keys, values = k[list(own_keys(row, n, len(first), dialect))], v[list(own_keys(row, n, len(first), dialect))]
                if previous:
                    seen = list(previous_keys(row, n, len(first), dialect, previous))
                    keys, values = np.concatenate([kept[il][0][seen], keys]), np.concatenate([kept[il][1][seen], values])
                for head in range(HEADS):
                    kv = head * base.kv_heads // HEADS
                    scores = keys[:, kv] @ q[row, head] / HEAD**0.5
                    weights = np.exp(scores - scores.max())
                    mixed[row, head] = weights / weights.sum() @ values[:, kv]
            kept[il] = k[len(first) : len(first) + n], v[len(first) : len(first) + n]
            x = x + base.attention_output(il, mixed.reshape(rows, WIDTH))
            x = x + base.feed_forward(il, x)
            if not model.wrap_layers[il]:
                continue
            m = x[-MEM:]
            k, v = phi(m @ model.layer(il, "W_mk.weight").T), m @ model.layer(il, "W_mv.weight").T
            beta = 1 / (1 + np.exp(-(m @ model.layer(il, "W_mb.weight").T + model.layer(il, "W_mb.bias"))))
            old, gamma = np.zeros_like(v), np.ones(MEM)
            if number > 0:
                d = k @ z + EPS
                old, gamma = (k @ a) / d[:, None], np.clip(1 - d / (k * k).sum(-1), 0, 1)
            memories[il] = a + k.T @ (beta * (v - old)), z + (gamma[:, None] * k).sum(0)
        absolute += 0 if reread else rows
        own = len(parts[number])
        logits.append(base.norm(x[len(first) + n - own : len(first) + n]) @ model(base.output).T)
    return np.concatenate(logits), memories


def run_recurrent(model, ids):
    """Plain RMT (arXiv 2207.06881): [state, text, state], whose last rows' final norm is the next state."""
    base, state, logits = model.base, model("memory"), []
    for start in range(0, len(ids), SEGMENT):
        part = ids[start : start + SEGMENT]
        positions = np.arange(2 * MEM + len(part))
        x = base.positions(np.concatenate([state, model(base.embedding)[part], state]), positions)
        hidden = np.triu(np.full((len(x), len(x)), -np.inf), 1)
        for il in range(LAYERS):
            q, k, v = base.qkv(il, x, positions)
            k, v = (np.repeat(t, HEADS // base.kv_heads, 1) for t in (k, v))
            scores = np.einsum("ihd,jhd->hij", q, k) / HEAD**0.5 + hidden
            weights = np.exp(scores - scores.max(-1, keepdims=True))
            mixed = np.einsum("hij,jhd->ihd", weights / weights.sum(-1, keepdims=True), v)
            x = x + base.attention_output(il, mixed.reshape(len(x), WIDTH))
            x = x + base.feed_forward(il, x)
        normed = base.norm(x)
        state = normed[-MEM:]
        logits.append(normed[MEM:-MEM] @ model(base.output).T)
    return np.concatenate(logits), [(state, np.zeros(0))]


def make(name, wrap_layers=None, base="llama", recurrent=False, **variant):
    rng = np.random.default_rng(sum(name.encode()))
    sink = variant.get("sink", False)
    model = Model(rng, sink, wrap_layers or [True] * LAYERS, {"llama": Llama, "gpt2": Gpt2}[base], recurrent)
    ids = rng.integers(0, VOCAB, TOKENS)
    logits, memories = run_recurrent(model, ids) if recurrent else run(model, ids, **variant)
    folder = Path(__file__).parent / name
    folder.mkdir(exist_ok=True)
    armt = dict(segment_size=SEGMENT, num_mem_tokens=MEM, segment_alignment="left")
    associative = dict(d_mem=D_MEM, correction=True, normalize_keys=True, n_heads=1, use_denom=True, gating=False)
    armt |= {} if recurrent else associative
    armt |= dict(dialect=variant["dialect"]) if "dialect" in variant else {}
    armt |= dict(use_sink=True) if sink else {}
    armt |= dict(sliding_window=True) if variant.get("window") else {}
    armt |= dict(attend_to_previous_input=True) if variant.get("reread") else {}
    armt |= dict(continue_pos=True) if base == "gpt2" and not recurrent and not variant.get("reread") else {}
    armt |= dict(wrap_layers=wrap_layers) if wrap_layers else {}
    for file, value in (("config", model.base.config), ("armt_config", armt)):
        (folder / f"{file}.json").write_text(json.dumps(value, indent=4) + "\n")
    save_file(model.tensors, folder / "model.safetensors", {"format": "pt"})
    outputs = {"input_ids": ids.astype(np.int32), "logits": logits.astype(np.float32)}
    for il, (a, z) in enumerate(memories):
        outputs |= {f"W_mem.{il}": a.astype(np.float32), f"z.{il}": z.astype(np.float32)}
    save_file(outputs, folder / "golden.safetensors", {"format": "pt"})
    print(name, "logits' deviation", logits.std())


if __name__ == "__main__":
    for name, variant in cases.items():
        if len(sys.argv) == 1 or name in sys.argv[1:]:
            make(name, **variant)
