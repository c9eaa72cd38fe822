"""Losses over the whole vocabulary, some thousand rows at a time: their logits would be most of a step's memory
otherwise.
"""

import torch
import torch.nn.functional as F
from torch.utils.checkpoint import checkpoint

LOGITS = 2**28  # numbers of logits in memory at once
LOGITS_KEPT = 2**26  # up to here they are kept for the backward pass


def in_chunks(function, vocabulary, *rows):
    """Calls `function` on chunks of tensors' rows, each of which has logits of `vocabulary` tokens, and concatenates
    what it gives.

    Where there is much, the logits are computed again for the backward pass.
    """
    count = rows[0].shape[0]
    if count * vocabulary <= LOGITS_KEPT:
        return function(*rows)
    pieces = -(-count // max(1, LOGITS // vocabulary))
    length = -(-count // pieces)
    # equal chunks, so that one compilation serves all
    padded = [F.pad(r, (0, 0) * (r.dim() - 1) + (0, pieces * length - count)) for r in rows]
    parts = []
    for chunk in zip(*(p.split(length) for p in padded)):
        parts.append(checkpoint(function, *chunk, use_reentrant=False, preserve_rng_state=False))
    if isinstance(parts[0], tuple):
        return tuple(torch.cat(part)[:count] for part in zip(*parts))
    return torch.cat(parts)[:count]


def token_loss(rows, targets, head):
    """Cross entropy of each row [N], and whether the likeliest token is the target. rows [N, D] are normed."""
    logits = F.linear(rows, head).float()
    return F.cross_entropy(logits, targets, reduction="none"), logits.argmax(-1) == targets


def divergence(rows, base_rows, head):
    """KL(base ‖ model) of each row [N]. rows [N, D] are normed."""
    base = F.linear(base_rows, head).float().log_softmax(-1)
    own = F.linear(rows, head).float().log_softmax(-1)
    return (base.exp() * (base - own)).sum(-1)


def log_partition(rows, embeddings):
    """log Σ_v exp(row · embedding_v) of each row [N]."""
    return F.linear(rows, embeddings).float().logsumexp(-1)
