"""ARMT on a LLaMA decoder, as the engine computes it (arXiv 2407.04841), for training.

One call of `Armt.segment` runs one segment through all layers. Shapes: B sequences, Q questions a sequence (1 while reading), T rows (text tokens, then
the M memory tokens), D channels, K = 6 d_mem key features. The associative memory of a layer is A [B, K, D] and z [B, K], always float32.
"""

import math
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import nn

EPS = 1e-5  # of the memory's divisions


@dataclass(frozen=True)
class Config:
    vocab_size: int = 3072
    dim: int = 256
    layers: int = 4
    heads: int = 4
    kv_heads: int = 4
    ffn: int = 704
    n_mem: int = 16
    d_mem: int = 64
    segment_size: int = 256
    rope_theta: float = 10000.0
    norm_eps: float = 1e-5
    normalize_keys: bool = True
    correction: bool = True
    tied: bool = True
    out_scale: float = 1.0  # of the initial weights that write to the residual stream
    aligned: bool = True  # whether W_mq starts as W_mk, so that what a key is made of finds it from the first step

    @property
    def head_dim(self):
        return self.dim // self.heads

    @property
    def keys(self):
        return 6 * self.d_mem


def rms_norm(x, weight, eps):
    x32 = x.float()
    return x32 * torch.rsqrt(x32.pow(2).mean(-1, keepdim=True) + eps) * weight


def rope_table(rows, head_dim, theta, device):
    frequencies = theta ** (-torch.arange(0, head_dim, 2, device=device).float() / head_dim)
    angles = torch.arange(rows, device=device).float()[:, None] * frequencies
    angles = torch.cat([angles, angles], -1)
    return angles.cos(), angles.sin()


def rotate(x, cos, sin):
    first, second = x.chunk(2, -1)
    return x * cos + torch.cat([-second, first], -1) * sin


def dpfp(x, normalize):
    """φ: [..., d_mem] -> [..., 6 d_mem]."""
    y = torch.cat([x.relu(), (-x).relu()], -1)
    features = torch.cat([y * y.roll(j, -1) for j in (1, 2, 3)], -1)
    if normalize:
        features = features / features.norm(dim=-1, keepdim=True).clamp_min(1e-12)
    return features


def attend(q, k, v):
    if hasattr(F, "scaled_dot_product_attention"):
        return F.scaled_dot_product_attention(q, k, v, is_causal=True)
    rows = q.shape[-2]
    scores = q @ k.transpose(-1, -2) / math.sqrt(q.shape[-1])
    mask = torch.ones(rows, rows, dtype=torch.bool, device=q.device).tril()
    return scores.masked_fill(~mask, float("-inf")).softmax(-1) @ v


def recall(features, a, z):
    divisor = (features @ z[:, :, None]) + EPS
    return (features @ a) / divisor, divisor


def run_cell(w, c, x, a, z, cos, sin, n_mem: int, first: bool):
    """One layer: read memory, the decoder layer, write memory. A function of the layer's weights, so that one compilation serves all layers."""
    b, q, t, d = x.shape
    off = torch.autocast(x.device.type, enabled=False)
    if not first:
        query = F.linear(x, w["mem_q.weight"])
        with off:
            read, _ = recall(dpfp(query.float(), c.normalize_keys).reshape(b, q * t, -1), a, z)
        x = x + read.reshape(b, q, t, d)

    y = rms_norm(x, w["attn_norm"], c.norm_eps)
    heads = lambda name, n: F.linear(y, w[name]).reshape(b * q, t, n, c.head_dim).transpose(1, 2)
    qs, ks, vs = heads("q.weight", c.heads), heads("k.weight", c.kv_heads), heads("v.weight", c.kv_heads)
    qs, ks = rotate(qs, cos, sin).to(vs.dtype), rotate(ks, cos, sin).to(vs.dtype)
    if c.kv_heads < c.heads:
        ks, vs = (h.repeat_interleave(c.heads // c.kv_heads, 1) for h in (ks, vs))
    x = x + F.linear(attend(qs, ks, vs).transpose(1, 2).reshape(b, q, t, d), w["o.weight"])

    y = rms_norm(x, w["mlp_norm"], c.norm_eps)
    x = x + F.linear(F.silu(F.linear(y, w["gate.weight"])) * F.linear(y, w["up.weight"]), w["down.weight"])

    if n_mem:
        m = x[:, 0, t - n_mem :]
        keys, values, beta = F.linear(m, w["mem_k.weight"]), F.linear(m, w["mem_v.weight"]), F.linear(m, w["mem_b.weight"], w["mem_b.bias"])
        with off:
            keys, values, beta = dpfp(keys.float(), c.normalize_keys), values.float(), beta.float().sigmoid()
            gamma = torch.ones_like(beta)
            if not first:
                old, divisor = recall(keys, a, z)
                values = values - old
                if c.correction:
                    norm = keys.pow(2).sum(-1, keepdim=True) + (0 if c.normalize_keys else EPS)
                    gamma = (1 - divisor / norm).clamp(0, 1)
            # all M rows read the memory from before the write (arXiv 2407.04841)
            a = a + keys.transpose(1, 2) @ (beta * values)
            z = z + (gamma * keys).sum(1)
    return x, a, z


class Cell(nn.Module):
    """The weights of one layer."""

    def __init__(self, c):
        super().__init__()
        d, h, kv = c.dim, c.head_dim, c.kv_heads
        self.attn_norm = nn.Parameter(torch.ones(d))
        self.mlp_norm = nn.Parameter(torch.ones(d))

        def linear(n_in, n_out, bias=False, scale=1.0):
            layer = nn.Linear(n_in, n_out, bias=bias)
            # 0.02 as in large models leaves too little of a key in a memory token for a gradient to find
            nn.init.normal_(layer.weight, std=scale * n_in**-0.5)
            return layer

        self.q, self.k, self.v, self.o = linear(d, c.heads * h), linear(d, kv * h), linear(d, kv * h), linear(c.heads * h, d, scale=c.out_scale)
        self.gate, self.up, self.down = linear(d, c.ffn), linear(d, c.ffn), linear(c.ffn, d, scale=c.out_scale)
        self.mem_q, self.mem_k, self.mem_v, self.mem_b = linear(d, c.d_mem), linear(d, c.d_mem), linear(d, d), linear(d, 1, bias=True)
        nn.init.zeros_(self.mem_b.bias)
        if c.aligned:
            self.mem_q.weight.data.copy_(self.mem_k.weight)


class Armt(nn.Module):
    def __init__(self, c):
        super().__init__()
        self.c = c
        self.embed = nn.Parameter(torch.randn(c.vocab_size, c.dim) * 0.5)
        self.memory = nn.Parameter(torch.randn(c.n_mem, c.dim) * 0.5)
        self.cells = nn.ModuleList(Cell(c) for _ in range(c.layers))
        # small, since the embeddings that it meets are large
        self.norm = nn.Parameter(torch.full((c.dim,), 0.1 if c.tied else 1.0))
        self.head = None if c.tied else nn.Parameter(torch.randn(c.vocab_size, c.dim) * c.dim**-0.5)

        self.rope_tables = {}
        self.run = run_cell  # a trainer puts the compiled one here

    def rope(self, rows, device):
        if rows not in self.rope_tables:
            self.rope_tables[rows] = rope_table(rows, self.c.head_dim, self.c.rope_theta, device)
        return self.rope_tables[rows]

    @staticmethod
    def weights(cell):
        return dict(cell.named_parameters())

    def empty(self, batch, device=None):
        c = self.c
        shape = lambda *s: torch.zeros(c.layers, batch, *s, device=device)
        return shape(c.keys, c.dim), shape(c.keys)

    def segment(self, ids, state, write=True, first=False):
        """ids [B, Q, n]; gives the rows of the text [B, Q, n, D] and the state after it."""
        c = self.c
        a, z = state
        # unlike F.embedding, its gradient needs no sorting
        x = self.embed.index_select(0, ids.reshape(-1)).reshape(*ids.shape, -1)
        n_mem = c.n_mem if write else 0
        if write:
            x = torch.cat([x, self.memory.expand(*ids.shape[:2], -1, -1)], 2)
        cos, sin = self.rope(x.shape[2], x.device)
        after_a, after_z = [], []
        for i, cell in enumerate(self.cells):
            x, ai, zi = self.run(self.weights(cell), c, x, a[i], z[i], cos, sin, n_mem, first)
            after_a.append(ai)
            after_z.append(zi)
        return x[:, :, : ids.shape[2]], (after_a, after_z)

    def logits(self, rows):
        c = self.c
        return F.linear(rms_norm(rows, self.norm, c.norm_eps), self.embed if self.head is None else self.head)
