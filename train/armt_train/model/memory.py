"""The associative memory of one layer (arXiv 2407.04841, section 3; the formulas are in docs/how-it-works.md).

Shapes: B sequences, N rows, D channels, K = 6 d_mem key features. A is [B, K, D] and z is [B, K], always float32.
"""

import torch

EPSILON = 1e-5  # added to q·z, k·z and ‖k‖² before they divide


def dpfp(x, normalize):
    """φ, the key feature map DPFP-3: [..., d_mem] -> [..., 6 d_mem]."""
    y = torch.cat([x.relu(), (-x).relu()], -1)
    features = torch.cat([y * y.roll(j, -1) for j in (1, 2, 3)], -1)
    if normalize:
        features = features / features.norm(dim=-1, keepdim=True).clamp_min(1e-12)
    return features


def read(features, a, z, epsilon=EPSILON):
    """What memory holds under keys. features [B, N, K] -> values [B, N, D] and the divisor q·z + ε [B, N, 1]."""
    divisor = features @ z[:, :, None] + epsilon
    return (features @ a) / divisor, divisor


def write(keys, values, beta, a, z, *, normalize, correction, first, epsilon=EPSILON):
    """Memory after the M memory tokens of a segment. keys [B, M, K] are features, values [B, M, D], beta [B, M, 1]."""
    gamma = torch.ones_like(beta)
    if not first:
        old, divisor = read(keys, a, z, epsilon)
        values = values - old
        if correction:
            norm = keys.pow(2).sum(-1, keepdim=True) + (0 if normalize else epsilon)
            gamma = (1 - divisor / norm).clamp(0, 1)
    # all M rows read the memory from before the write
    return a + keys.transpose(1, 2) @ (beta * values), z + (gamma * keys).sum(1)
