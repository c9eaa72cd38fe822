"""A loss for training only: memory tokens are to hold what a segment says, where memory is written, and questions
the key that they ask for.

Answers alone bind no value to its key: a memory token holds so little of a key at first that a gradient hardly finds
it. So a memory token has to tell, by linear maps and the base's own embeddings, the tokens of a fact's key and value
(`facts`), or those of its own part of the text (`text`). The maps are not part of the model.
"""

import torch
import torch.nn.functional as F
from torch import nn

from armt_train.losses.vocabulary import in_chunks, log_partition

ENOUGH = 0.7  # log-probability, summed over a fact's tokens and memory tokens, from which on more is not asked for
FIRST_SCALE = 0.3


class Maps(nn.Module):
    """`parts` linear maps of D x D, then RMS norm and a learned scale: logits of part p are `embeddings · x_p`."""

    def __init__(self, width, parts):
        super().__init__()
        self.parts = parts
        self.maps = nn.Linear(width, parts * width, bias=False)
        nn.init.normal_(self.maps.weight, std=width**-0.5)
        self.scale = nn.Parameter(torch.tensor(FIRST_SCALE))

    def forward(self, rows, first, last):
        """rows [..., D] -> [..., last - first, D]"""
        d = rows.shape[-1]
        x = F.linear(rows, self.maps.weight[first * d : last * d]).unflatten(-1, (last - first, d))
        return F.rms_norm(x.float(), (d,)) * self.scale


class Slots(nn.Module):
    """Maps for facts, and for text where `text_parts` (tokens of the text a memory token) is not 0."""

    def __init__(self, width, key_parts, value_parts, text_parts=0):
        super().__init__()
        self.key_parts = key_parts
        self.facts_maps = Maps(width, key_parts + value_parts) if key_parts + value_parts else None
        self.text_maps = Maps(width, text_parts) if text_parts else None

    def facts(self, rows, embeddings, facts, partition=log_partition):
        """Summed loss over facts. rows [G, M, D] of memory tokens after the tapped layer, facts [G, F, parts] (-1:
        nothing).
        """
        parts = facts.shape[-1]
        x = self.facts_maps(rows, 0, parts)
        total = in_chunks(lambda r: partition(r, embeddings), len(embeddings), x.flatten(0, 2)).reshape(x.shape[:-1])
        targets = embeddings.index_select(0, facts.clamp_min(0).flatten()).reshape(*facts.shape, -1)
        logits = torch.einsum("gmpd,gfpd->gmfp", x.to(targets.dtype), targets).float()
        there = (facts >= 0).float()
        told = ((logits - total[:, :, None]) * there[:, None]).sum(-1)
        # one memory token that surely holds a fact is enough; the others are free for other facts
        held = told.logsumexp(1).clamp_max(ENOUGH)
        return -(held * there.amax(-1)).sum()

    def questions(self, rows, embeddings, keys, weight, partition=log_partition):
        """Summed loss over rows that answer, before the tapped layer. rows [G, N, D], keys [G, KP] (-1: nothing),
        weight [G, N].
        """
        x = self.facts_maps(rows, 0, self.key_parts)
        total = in_chunks(lambda r: partition(r, embeddings), len(embeddings), x.flatten(0, 2)).reshape(x.shape[:-1])
        targets = embeddings.index_select(0, keys.clamp_min(0).flatten()).reshape(*keys.shape, -1)
        logits = torch.einsum("gnpd,gpd->gnp", x.to(targets.dtype), targets).float()
        told = ((logits - total) * (keys >= 0).float()[:, None]).sum(-1)
        return -(told * weight).sum()

    def text(self, rows, embeddings, text, partition=log_partition):
        """Summed loss over tokens of segments. rows [G, M, D], text [G, S]: memory token m tells tokens m S/M … of its
        segment.
        """
        x = self.text_maps(rows, 0, self.text_maps.parts)
        total = in_chunks(lambda r: partition(r, embeddings), len(embeddings), x.flatten(0, 2)).reshape(x.shape[:-1])
        targets = embeddings.index_select(0, text.flatten()).reshape(x.shape)
        logits = (x.to(targets.dtype) * targets).float().sum(-1)
        return -(logits - total).sum()
