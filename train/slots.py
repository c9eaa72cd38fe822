"""A loss for training only: memory tokens are to hold facts, and questions the key that they ask for, where memory is written and read.

From random weights the answers alone bind no value to its key: a memory token holds so little of a key that a gradient hardly finds it, and to tell the
kinds of answers apart is a plateau of its own. So one memory token for each fact has to tell, by linear maps, the key's and the value's tokens, and a question's
rows the key's, by the same maps. The maps are not part of the model.
"""

import torch
import torch.nn.functional as F
from torch import nn

from task import KEY_PARTS, VALUE_PARTS

PARTS = KEY_PARTS + VALUE_PARTS
ENOUGH = 0.7


class Slots(nn.Module):
    """`tokens`: ids of the tokens that keys and values are made of; targets are their places in it."""

    def __init__(self, dim, tokens):
        super().__init__()
        self.register_buffer("tokens", torch.tensor(tokens))
        self.maps = nn.Linear(dim, PARTS * dim, bias=False)
        nn.init.normal_(self.maps.weight, std=dim**-0.5)

    def tell(self, rows, embed, first, last):
        """Log-probabilities of each part's token. rows [..., D] -> [..., last - first, tokens]."""
        d = rows.shape[-1]
        x = F.linear(rows, self.maps.weight[first * d : last * d]).unflatten(-1, (last - first, d))
        x = F.rms_norm(x, (d,)) if hasattr(F, "rms_norm") else x * torch.rsqrt(x.pow(2).mean(-1, keepdim=True) + 1e-6)
        return F.linear(x * 0.3, embed.index_select(0, self.tokens)).float().log_softmax(-1)

    def facts(self, rows, embed, facts):
        """Mean loss over the facts of a segment. rows [B, M, D] of memory tokens, facts [B, F, parts], -1 where there is nothing."""
        told = self.tell(rows, embed, 0, PARTS)
        b, m = rows.shape[:2]
        index = facts.clamp_min(0).transpose(1, 2)[:, None].expand(b, m, PARTS, facts.shape[1])
        picked = told.gather(-1, index) * (facts >= 0).transpose(1, 2)[:, None]
        by_token = picked.sum(2)
        there = (facts[..., 0] >= 0).float()
        # one memory token that surely holds a fact is enough; the others are free for other facts
        held = by_token.logsumexp(1).clamp_max(ENOUGH)
        return -(held * there).sum() / there.sum().clamp_min(1)

    def questions(self, rows, embed, keys, weight):
        """Mean loss over the rows that answer. rows [B, Q, N, D], keys [B, Q, parts], weight [B, Q, N]."""
        told = self.tell(rows, embed, 0, KEY_PARTS)
        picked = told.gather(-1, keys[:, :, None, :, None].expand(*told.shape[:-1], 1))[..., 0].sum(-1)
        return -(picked * weight).sum() / weight.sum().clamp_min(1)
