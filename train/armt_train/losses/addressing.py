"""A loss for training only: what a question's rows look for in memory is to be what the segment with its fact was
written under, and nothing that another segment was.

Answers alone leave this open: a read that gets the values of all facts at once is right often enough, as later layers
pick the one whose kind fits. So keys hardly tell facts apart, and the more facts a text has, the more are mixed up.
Segments of the other streams in the batch stand for all the facts that a long text has.
"""

import torch

from armt_train.model import memory as associative

# what others must be found by to count; a query that finds nothing anywhere is no way out
LITTLE = 1e-3
LEAST = 1e-6  # that the right one is found by, as far as the logarithm sees
WRITES = 0.05  # of Σβk's norm: a layer counts by how far the fact's segment wrote more than this there


def segments(segment, asked_key, slots):
    """Which segments of the batch a question is told from: (counted, own), each [B, Q, B, n].

    `segment` [B, Q] is the one with the question's fact, -1 without. Others with a fact of the same key, by `asked_key`
    [B, Q, KP] and `slots` [B, n, F, parts], do not count: an older value, or a name that another stream has too.
    """
    b, n = slots.shape[:2]
    key_parts = asked_key.shape[-1]
    stream = torch.arange(b, device=segment.device)
    place = torch.arange(n, device=segment.device)
    own = (stream[:, None] == stream)[:, None, :, None] & (segment[:, :, None, None] == place)
    keys = slots[..., :key_parts].flatten(1, 2)  # [B, n F, KP]
    same = (asked_key[:, :, None, None] == keys).all(-1) & (asked_key >= 0).any(-1)[:, :, None, None]
    same = same.unflatten(-1, (n, -1)).any(-1)
    return own | ~same, own


def loss(rows, written, weight, counted, own, normalize):
    """Summed over rows by `weight` [B, Q, A]. rows [B, Q, A, d_mem], written [B, n, K] (`Cell.forward`)."""
    with torch.autocast(rows.device.type, enabled=False):
        features, written = associative.dpfp(rows.float(), normalize), written.float()
        found = torch.einsum("bqak,cnk->bqacn", features, written)
        right = (found * own[:, :, None]).sum((-2, -1))
        all_found = (found * counted[:, :, None]).sum((-2, -1))
        size = (written.detach().norm(dim=-1) * own).sum((-2, -1))[..., None]  # [B, Q, 1]
        each = (all_found + LITTLE).log() - (right + LEAST).log()
        return (each * weight * size / (size + WRITES)).sum()
