"""Do a question's rows look for its fact where the fact was written, or do they get all facts at once?

Reads held-out streams and asks the questions about facts of the last segments. For each layer, prints as JSON which
share of what the answer's first row finds in these segments is in the fact's own: `found`, the mean of q·Σβk of that
segment by the sum over all segments of the chunk. `written` is the same share of Σβk alone, which a query that tells
keys apart in no way would find.

On the CPU, some minutes:

    PYTHONPATH=train python bench/training/addresses.py train/checkpoints/smollm2-135m --base BASE.gguf
"""

import json

import held_out
import torch

from armt_train.losses import addressing
from armt_train.model import memory


@torch.no_grad()
def chunks(model, batches, options):
    """(batch, what each layer wrote by segment [L][B, n, K], what rows ask for [L][B, Q, T, d_mem]) of each chunk."""
    state, done = model.empty(options.streams), 0
    while done < options.segments:
        batch = {name: torch.from_numpy(value) for name, value in next(batches).items()}
        tap, written = {}, []
        for state in held_out.read_chunk(model, batch, state, tap=tap, tap_layer=-1):
            written.append(tap["addresses"])
            tap.clear()
            done += 1
        model.segment(batch["asked"].long(), state, write=False, tap=tap, tap_layer=-1)
        yield (
            batch,
            [torch.stack(layer, 1) for layer in zip(*written)],
            tap["addresses"],
        )


def main():
    options = held_out.arguments(__doc__.partition("\n")[0], streams=8, segments=30).parse_args()
    model, stage, batches = held_out.load(options, "addresses", life=6, density=0.4)
    normalize = model.armt.normalize_keys
    found, alone, questions = [0.0] * model.layers, [0.0] * model.layers, 0
    for batch, written, asking in chunks(model, batches, options):
        segment = batch["asked_segment"].long()
        counted, own = addressing.segments(segment, batch["asked_key"].long(), batch["slots"].long())
        # of the own stream alone
        stream = torch.eye(len(segment), dtype=torch.bool)[:, None, :, None]
        counted, there = counted & stream, segment >= 0
        questions += there.sum().item()
        first = batch["asked_places"][..., :1, None].long()
        for layer, (keys, rows) in enumerate(zip(written, asking)):
            query = memory.dpfp(rows.gather(2, first.expand(-1, -1, -1, rows.shape[-1])).float(), normalize)[:, :, 0]
            for total, sizes in (
                (found, torch.einsum("bqk,cnk->bqcn", query, keys)),
                (alone, keys.norm(dim=-1).expand(*query.shape[:2], -1, -1)),
            ):
                share = (sizes * own).sum((-2, -1)) / (sizes * counted).sum((-2, -1)).clamp_min(1e-9)
                total[layer] += share[there].sum().item()
    share = lambda total: round(total / max(1, questions), 3)
    layers = [{"found": share(f), "written": share(a)} for f, a in zip(found, alone)]
    for layer, told in enumerate(layers):
        print(json.dumps({"layer": layer, **told}))
    print(f"{questions} questions")
    held_out.write(options, stage, layers, questions=questions)


if __name__ == "__main__":
    main()
