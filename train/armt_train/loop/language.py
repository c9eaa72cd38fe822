"""Whether it is still a language model: loss on plain text of the base alone, of the model without memory, and with the
memory of the segments before.
"""

import torch

from armt_train.losses.vocabulary import in_chunks, token_loss
from armt_train.model.armt import Cell


def language_batches(pool, check):
    """The held-out batches of a recipe's `language_check`, made by `pool`."""
    pool.start(shape=check.shape, mix=check.mix, batch=check.batch, seed="language", split="heldOut", keep=False)
    for _ in range(check.chunks):
        yield pool.next()


@torch.no_grad()
def language_check(step, batches):
    """Mean loss a token by place of the segment. `batches` have `text` [B, n, S] of streams that begin with it.

    Every segment is a text of its own for the base and for the model without memory. Gives {"base",
    "without_memory", "with_memory"}: lists of n numbers.
    """
    model, device = step.model, step.device
    compiled, model.run = model.run, Cell.forward
    loss_of = lambda rows, targets: token_loss(rows, targets, model.head)
    sums, count = None, 0
    try:
        for batch in batches:
            text = torch.from_numpy(batch["text"]).long().to(device)
            b, n, s = text.shape
            state = model.empty(b, device)
            rows = torch.zeros(3, n, dtype=torch.float64, device=device)
            with step.autocast():
                for i in range(n):
                    ids = text[:, i]
                    nothing = model.empty(b, device)
                    alone, _ = model.segment(ids[:, None], nothing, write=False, first=True)
                    with_memory, state = model.segment(ids[:, None], state, first=i == 0)
                    for k, out in enumerate((model.base_rows(ids), alone[:, 0], with_memory[:, 0])):
                        normed = model.final_norm(out[:, :-1]).flatten(0, 1)
                        loss, _ = in_chunks(loss_of, len(model.head), normed, ids[:, 1:].flatten())
                        rows[k, i] += loss.double().sum()
            sums = rows if sums is None else sums + rows
            count += b * (s - 1)
    finally:
        model.run = compiled
    total = torch.cat([sums.flatten(), torch.tensor([count], dtype=torch.float64, device=device)])
    step.world.sum_(total)
    means = (total[:-1] / total[-1]).reshape(3, -1).cpu()
    return {
        name: [round(v, 4) for v in values.tolist()]
        for name, values in zip(("base", "without_memory", "with_memory"), means)
    }
