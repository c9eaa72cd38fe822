"""Makes the golden folders next to this file: small random models of base families, computed in float64.

    pip install torch transformers safetensors
    python test/golden/make.py [name ...]

Each folder has config.json as transformers saves it, armt_config.json, the checkpoint (float16) under the names of the
authors' code, and golden.safetensors with the outputs. transformers computes the layers, embeddings, positions and masks.
The memory is implemented here, after the paper (arXiv 2407.04841). In the folders with a sink or a window, the mask is
made here too, and transformers counts positions from the cached keys of the previous segment.
"""

import json
import sys
from pathlib import Path

import torch
import transformers
from safetensors.torch import save_file

SEGMENT, MEM, D_MEM, VOCAB, TOKENS = 12, 5, 16, 64, 4 * 12 + 7
EPS = 1e-5

common = dict(vocab_size=VOCAB, bos_token_id=None, eos_token_id=None, pad_token_id=None)
llama_like = dict(
    common, hidden_size=32, intermediate_size=48, num_hidden_layers=3, num_attention_heads=4, num_key_value_heads=2
)
families = {
    "gemma3_text": (
        transformers.Gemma3TextConfig(
            **llama_like,
            head_dim=12,
            query_pre_attn_scalar=20,
            sliding_window=20,
            layer_types=["sliding_attention", "full_attention", "sliding_attention"],
            rope_parameters={
                "full_attention": {"rope_type": "linear", "factor": 4.0, "rope_theta": 3000.0},
                "sliding_attention": {"rope_type": "default", "rope_theta": 50.0},
            },
        ),
        "model.layers",
    ),
    "gemma3_window": (
        transformers.Gemma3TextConfig(
            **llama_like,
            head_dim=12,
            query_pre_attn_scalar=20,
            sliding_window=6,
            layer_types=["sliding_attention", "full_attention", "sliding_attention"],
            rope_parameters={
                "full_attention": {"rope_type": "default", "rope_theta": 3000.0},
                "sliding_attention": {"rope_type": "default", "rope_theta": 50.0},
            },
        ),
        "model.layers",
    ),
    "gpt2": (transformers.GPT2Config(**common, n_embd=32, n_layer=3, n_head=4, n_positions=32), "transformer.h"),
    "gpt_neox": (
        transformers.GPTNeoXConfig(
            **common,
            hidden_size=32,
            intermediate_size=64,
            num_hidden_layers=3,
            num_attention_heads=2,
            rope_parameters={"rope_type": "default", "rope_theta": 500.0, "partial_rotary_factor": 0.25},
        ),
        "gpt_neox.layers",
    ),
    "phi3": (
        transformers.Phi3Config(
            **llama_like,
            rope_parameters={"rope_type": "default", "rope_theta": 500.0, "partial_rotary_factor": 0.5},
        ),
        "model.layers",
    ),
    "qwen3": (
        transformers.Qwen3Config(
            **llama_like,
            head_dim=12,
            attention_bias=True,
            tie_word_embeddings=True,
            rope_parameters={"rope_type": "default", "rope_theta": 500.0},
        ),
        "model.layers",
    ),
}
# whether there is a row before the text, and whether attention reaches the previous segment's text
variants = {"sink": (True, False), "window": (False, True), "window_sink": (True, True)}


def phi(x):
    y = torch.cat([x.relu(), (-x).relu()], -1)
    x = torch.cat([y * y.roll(j, -1) for j in (1, 2, 3)], -1)
    return x / x.norm(dim=-1, keepdim=True).clamp(min=1e-12)


class Associative(torch.nn.Module):
    """A layer with its memory, which it reads before the layer and writes after it."""

    def __init__(self, layer, width):
        super().__init__()
        self.layer = layer
        self.W_mq = torch.nn.Linear(width, D_MEM, bias=False)
        self.W_mk = torch.nn.Linear(width, D_MEM, bias=False)
        self.W_mv = torch.nn.Linear(width, width, bias=False)
        self.W_mb = torch.nn.Linear(width, 1)
        self.A = self.z = None

    def __getattr__(self, name):
        # transformers reads attributes of its layers, such as their type of attention
        try:
            return super().__getattr__(name)
        except AttributeError:
            return getattr(self.layer, name)

    def forward(self, hidden_states, *args, **kwargs):
        if self.A is not None:
            q = phi(self.W_mq(hidden_states))
            hidden_states = hidden_states + (q @ self.A) / (q @ self.z + EPS).unsqueeze(-1)
        result = self.layer(hidden_states, *args, **kwargs)
        rows = (result[0] if isinstance(result, tuple) else result)[0, -MEM:]
        k, v, beta = phi(self.W_mk(rows)), self.W_mv(rows), torch.sigmoid(self.W_mb(rows))
        if self.A is None:
            self.A, self.z = k.T @ (beta * v), k.sum(0)
        else:
            d = k @ self.z + EPS
            gamma = (1 - d / (k * k).sum(-1)).clamp(0, 1)
            self.A, self.z = (
                self.A + k.T @ (beta * (v - (k @ self.A) / d.unsqueeze(-1))),
                self.z + (gamma.unsqueeze(-1) * k).sum(0),
            )
        return result


def randomize(model, less_one):
    for name, p in model.named_parameters():
        if name.endswith("bias"):
            p.normal_(-1 if "W_mb" in name else 0, 0.2)
        elif p.dim() == 1:
            p.normal_(0 if less_one else 1, 0.1)
        elif "wte" in name or "embed" in name or "lm_head" in name:
            p.normal_(0, 0.3)
        else:
            p.normal_(0, 0.7 / max(p.shape) ** 0.5)
        p.copy_(p.half())


def window_mask(n, sink, previous):
    """
    Mask of the rows [sink, text, memory] of a segment of n tokens: 0 for visible keys, the least number for others. The
    keys of the previous segment come first.
    """
    rows = sink + n + MEM
    now = torch.ones(rows, rows).tril()
    now[-MEM:] = 1
    before = torch.zeros(rows, previous)
    before[sink : sink + n] = torch.ones(n, previous).triu()
    before[-MEM:] = 1
    seen = torch.cat([before, now], 1).double()
    return ((1 - seen) * torch.finfo(torch.float64).min)[None, None]


@torch.no_grad()
def make(name, config, path, sink=False, window=False):
    torch.manual_seed(len(name))
    config._attn_implementation = "eager"
    model = transformers.AutoModelForCausalLM.from_config(config).double().eval()
    width = config.hidden_size
    owner = model.get_submodule(path.rsplit(".", 1)[0])
    layers = torch.nn.ModuleList(Associative(layer, width) for layer in getattr(owner, path.rsplit(".", 1)[1])).double()
    setattr(owner, path.rsplit(".", 1)[1], layers)
    randomize(model, name.startswith("gemma3"))
    memory = torch.randn(MEM, width, dtype=torch.float64).mul(0.5).half().double()

    ids = torch.randint(0, VOCAB, (TOKENS,))
    first = torch.randn(1, width, dtype=torch.float64).mul(0.5).half().double() if sink else memory[:0]
    logits = []
    kept = None
    for part in ids.split(SEGMENT):
        n = len(part)
        rows = torch.cat([first, model.get_input_embeddings()(part), memory]).unsqueeze(0)
        if window:
            cache = transformers.DynamicCache()
            for i, (k, v) in enumerate(kept or []):
                cache.update(k, v, i)
            mask = window_mask(n, int(sink), 0 if kept is None else kept[0][0].shape[2])
            out = model(inputs_embeds=rows, attention_mask=mask, past_key_values=cache, use_cache=True)
            kept = [(layer.keys[:, :, -MEM - n : -MEM], layer.values[:, :, -MEM - n : -MEM]) for layer in cache.layers]
        else:
            out = model(inputs_embeds=rows, use_cache=False)
        logits.append(out.logits[0, len(first) : len(first) + n])

    folder = Path(__file__).parent / name
    folder.mkdir(exist_ok=True)
    config._attn_implementation = None
    (folder / "config.json").write_text(config.to_json_string(use_diff=False))
    armt = dict(segment_size=SEGMENT, num_mem_tokens=MEM, d_mem=D_MEM, layers_attr=path)
    armt |= dict(correction=True, segment_alignment="left")
    armt |= dict(wrap_pos=False, normalize_keys=True, n_heads=1, use_denom=True, gating=False)
    armt |= dict(use_sink=True) if sink else {}
    armt |= dict(sliding_window=True) if window else {}
    (folder / "armt_config.json").write_text(json.dumps(armt, indent=1) + "\n")
    tied = model.get_output_embeddings().weight is model.get_input_embeddings().weight
    output = next(n for n, m in model.named_modules() if m is model.get_output_embeddings())
    # Gemma rounds the scale of embeddings to their type
    weights = {
        f"memory_cell.model.{n}": (t.float() if "embed" in n else t.half()).contiguous()
        for n, t in model.state_dict().items()
        if not (tied and n == f"{output}.weight")
    }
    if sink:
        weights["memory_cell.sink"] = first.half()
    save_file({"memory_cell.memory": memory.half(), **weights}, folder / "model.safetensors", {"format": "pt"})
    outputs = {"input_ids": ids.int(), "logits": torch.cat(logits).float()}
    for i, layer in enumerate(layers):
        outputs |= {f"W_mem.{i}": layer.A.float().contiguous(), f"z.{i}": layer.z.float()}
    save_file(outputs, folder / "golden.safetensors", {"format": "pt"})
    print(name, "logits' deviation", torch.cat(logits).std().item())


wanted = sys.argv[1:]
for name, (config, path) in families.items():
    if not wanted or name in wanted:
        make(name, config, path)
for name, (sink, window) in variants.items():
    if not wanted or name in wanted:
        rope = {"rope_type": "default", "rope_theta": 500.0}
        make(name, transformers.LlamaConfig(**llama_like, rope_parameters=rope), "model.layers", sink, window)
