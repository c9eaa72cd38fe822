"""The segment loop: one call of `Armt.segment` runs one segment through all layers, as the engine computes it.

Shapes: B sequences, Q rows of text a sequence that read the same memory (1 while text is read, questions
afterwards), T tokens and then M memory tokens, D channels.
"""

from dataclasses import asdict, dataclass

import torch
import torch.nn.functional as F
from torch import nn
from torch.utils.checkpoint import checkpoint

from armt_train.errors import TrainError
from armt_train.model import memory as associative
from armt_train.model.lora import without_lora

# added to W_mb's output before softplus, for the loss on writes of filler: a slope where β is all but zero, down to
# 6e-6, of which 8,192 segments with 16 memory tokens write less than once
WRITE_OFFSET = 12.0


@dataclass(frozen=True)
class ArmtConfig:
    """ARMT's numbers. Units: tokens, but for d_mem (numbers of a key before its feature map)."""

    segment_size: int = 128
    n_mem: int = 16
    d_mem: int = 64
    normalize_keys: bool = True
    correction: bool = True
    epsilon: float = associative.EPSILON  # added to q·z, k·z and ‖k‖² before they divide

    @property
    def key_features(self):
        return 6 * self.d_mem

    def to_json(self):
        """The authors' armt_config.json, which `armt convert` and `armt attach` read."""
        return {
            "segment_size": self.segment_size,
            "num_mem_tokens": self.n_mem,
            "d_mem": self.d_mem,
            "layers_attr": "model.layers",
            "correction": self.correction,
            "segment_alignment": "left",
            "wrap_pos": False,
            "normalize_keys": self.normalize_keys,
            "n_heads": 1,
            "use_denom": True,
            "gating": False,
            **({} if self.epsilon == associative.EPSILON else {"memory_epsilon": self.epsilon}),
        }

    asdict = asdict


@dataclass(frozen=True)
class Start:
    """Scales of the initial W_mv and W_mb, in units of 1/√D.

    Values start small, so that the base's layers still work; not at zero, which leaves keys without a gradient.
    """

    values: float = 0.2
    strengths: float = 0.0


class Cell(nn.Module):
    """One layer: reads memory, runs the base's decoder layer, writes memory."""

    def __init__(self, layer, width, armt, start):
        super().__init__()
        self.layer, self.armt = layer, armt
        self.mem_q = nn.Linear(width, armt.d_mem, bias=False)
        self.mem_k = nn.Linear(width, armt.d_mem, bias=False)
        self.mem_v = nn.Linear(width, width, bias=False)
        self.mem_b = nn.Linear(width, 1)
        with torch.no_grad():
            nn.init.normal_(self.mem_k.weight, std=width**-0.5)
            # what a key is made of finds it from the first step on
            self.mem_q.weight.copy_(self.mem_k.weight)
            nn.init.normal_(self.mem_v.weight, std=start.values * width**-0.5)
            nn.init.normal_(self.mem_b.weight, std=start.strengths * width**-0.5)
            nn.init.zeros_(self.mem_b.bias)

    def forward(self, x, a, z, cos, sin, n_mem: int, first: bool, reads: bool):
        """x [B, Q, T, D]; gives x, A [B, K, D] and z [B, K] after it, how strongly it wrote [B], and where: the sum of
        its memory tokens' keys by β, without a gradient to β [B, K]. Where it did not write, that is what the rows ask
        for, before the feature map [B, Q, T, d_mem].
        """
        b, q, t, d = x.shape
        armt = self.armt
        off = torch.autocast(x.device.type, enabled=False)
        address = x.new_zeros(1)
        if reads and not first:
            address = self.mem_q(x)
            with off:
                features = associative.dpfp(address.float(), armt.normalize_keys).reshape(b, q * t, -1)
                value, _ = associative.read(features, a, z, armt.epsilon)
            x = x + value.reshape(b, q, t, d)
        y = self.layer(x.reshape(b * q, t, d), attention_mask=None, position_embeddings=(cos, sin))
        x = (y[0] if isinstance(y, tuple) else y).reshape(b, q, t, d)
        strength = x.new_zeros(b)
        if n_mem:
            rows = x[:, 0, t - n_mem :]
            keys, values, beta = self.mem_k(rows), self.mem_v(rows), self.mem_b(rows)
            with off:
                keys = associative.dpfp(keys.float(), armt.normalize_keys)
                values, beta = values.float(), beta.float()
                strength = F.softplus(beta + WRITE_OFFSET).mean((1, 2))
                address = (beta.sigmoid().detach() * keys).sum(1)
                a, z = associative.write(
                    keys,
                    values,
                    beta.sigmoid(),
                    a,
                    z,
                    normalize=armt.normalize_keys,
                    correction=armt.correction,
                    first=first,
                    epsilon=armt.epsilon,
                )
        return x, a, z, strength, address


class Armt(nn.Module):
    """A base model with memory. `base_model` is transformers' `…ForCausalLM`, whose parts it takes over."""

    def __init__(self, base_model, armt, start=Start()):
        super().__init__()
        self.base_model, self.armt, self.config = base_model, armt, base_model.config
        inner = base_model.model
        width = self.config.hidden_size
        self.check_window()
        self.cells = nn.ModuleList(Cell(layer, width, armt, start) for layer in inner.layers)
        with torch.no_grad():
            embeddings = inner.embed_tokens.weight.float() * self.embedding_scale
            mean, std = embeddings.mean(0), embeddings.std()
            self.memory = nn.Parameter(mean + std * torch.randn(armt.n_mem, width))
        self.positions = {}
        self.run = Cell.forward  # a trainer puts the compiled one here
        self.checkpointing = False

    def check_window(self):
        kinds = getattr(self.config, "layer_types", None) or []
        window = getattr(self.config, "sliding_window", None)
        is_local = any("sliding" in kind for kind in kinds) or (
            window and self.config.model_type in ("mistral", "phi3")
        )
        rows = self.armt.segment_size + self.armt.n_mem
        if is_local and window < rows:
            raise TrainError(
                f"the base attends to {window} rows (`sliding_window`), and a segment has {rows} with its memory "
                "tokens: take a smaller model.segment_size"
            )

    @property
    def embedding_scale(self):
        scale = getattr(self.base_model.model.embed_tokens, "embed_scale", None)
        return 1.0 if scale is None else float(scale)

    @property
    def layers(self):
        return len(self.cells)

    @property
    def width(self):
        return self.config.hidden_size

    @property
    def head(self):
        return self.base_model.lm_head.weight

    def final_norm(self, rows):
        return self.base_model.model.norm(rows)

    def rotary(self, rows, device):
        """cos and sin for positions 0 … rows - 1, for each layer."""
        key = (rows, device)
        if key not in self.positions:
            rotary = self.base_model.model.rotary_emb
            ids, like = torch.arange(rows, device=device)[None], torch.zeros(1, device=device)
            kinds = getattr(self.config, "layer_types", None) if self.config.model_type == "gemma3_text" else None
            with torch.no_grad(), torch.autocast(device.type, enabled=False):
                tables = {kind: rotary(like, ids, *([kind] if kind else [])) for kind in set(kinds or [None])}
            self.positions[key] = [tables[kind] for kind in kinds or [None] * self.layers]
        return self.positions[key]

    def empty(self, batch, device=None):
        """Memory in which nothing is written: A [L, B, K, D] and z [L, B, K]."""
        k = self.armt.key_features
        return (
            torch.zeros(self.layers, batch, k, self.width, device=device),
            torch.zeros(self.layers, batch, k, device=device),
        )

    def embed(self, ids):
        # unlike F.embedding, its gradient needs no sorting
        rows = self.base_model.model.embed_tokens.weight.index_select(0, ids.reshape(-1))
        return rows.reshape(*ids.shape, -1).float() * self.embedding_scale

    def segment(self, ids, state, *, write=True, first=False, tap=None, tap_layer=None):
        """ids [B, Q, n]; gives the rows of the text [B, Q, n, D] before the final norm, and the state after it.

        `state` is A and z by layer; `first` says that nothing was written, so that nothing is read (exactly; a state
        of zeros reads zeros too).
        `tap`, a dict, gets `before` and `after` the layer `tap_layer` (all rows), the layers' `strengths` of writing,
        and of the layers after it the `addresses` (`Cell.forward`).
        """
        a, z = state
        x = self.embed(ids)
        n_mem = self.armt.n_mem if write else 0
        if write:
            x = torch.cat([x, self.memory.expand(*ids.shape[:2], -1, -1)], 2)
        with_grad = torch.is_grad_enabled()
        if with_grad:
            # as in later segments and layers, so that one compilation serves all
            x, a, z = needing_grad(x), [needing_grad(ai) for ai in a], [needing_grad(zi) for zi in z]
        after_a, after_z = [], []
        for i, (cell, (cos, sin)) in enumerate(zip(self.cells, self.rotary(x.shape[2], x.device))):
            before = x
            arguments = (cell, x, a[i], z[i], cos, sin, n_mem, first, True)
            if self.checkpointing and with_grad:
                x, ai, zi, strength, address = checkpoint(
                    self.run, *arguments, use_reentrant=False, preserve_rng_state=False
                )
            else:
                x, ai, zi, strength, address = self.run(*arguments)
            if tap is not None:
                tap.setdefault("strengths", []).append(strength)
                if i == tap_layer:
                    tap.update(before=before, after=x)
                elif tap_layer is not None and i > tap_layer:
                    tap.setdefault("addresses", []).append(address)
            after_a.append(ai)
            after_z.append(zi)
        return x[:, :, : ids.shape[2]], (after_a, after_z)

    def base_rows(self, ids):
        """Rows of the base alone (no LoRA, no memory). ids [B, n] -> [B, n, D] before the final norm."""
        x = self.embed(ids)[:, None]
        nothing = x.new_zeros(1)
        with without_lora(self):
            for cell, (cos, sin) in zip(self.cells, self.rotary(x.shape[2], x.device)):
                x = self.run(cell, x, nothing, nothing, cos, sin, 0, True, False)[0]
        return x[:, 0]

    def logits(self, rows):
        return F.linear(self.final_norm(rows), self.head)


def needing_grad(tensor):
    return tensor if tensor.requires_grad else tensor.detach().requires_grad_()
