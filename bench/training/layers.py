"""Which layers' memory answers come from.

Reads held-out streams and asks all their questions again and again: with the whole memory, with that of some layers
alone, and without that of some. Prints as JSON how many answers are right, how many first tokens, and the loss a token.
The end of an answer does not count.

On the CPU, some minutes:

    PYTHONPATH=train python bench/training/layers.py train/checkpoints/smollm2-135m --base BASE.gguf \
        --only 21,28 --without 28 --without 0-15
"""

import json

import held_out
import torch


def score(model, rows, batch):
    """(answer right, first token right, loss a token) of each question [B, Q], and which there are."""
    places, weight = batch["asked_places"].long(), batch["asked_weight"].float()
    told = rows.gather(2, places[..., None].expand(-1, -1, -1, rows.shape[-1]))
    targets = batch["asked"].long().gather(2, (places + 1).clamp_max(batch["asked"].shape[2] - 1))
    told = model.logits(told).float().log_softmax(-1)
    right = told.argmax(-1) == targets
    length = (weight > 0).sum(-1, keepdim=True)
    counts = torch.arange(weight.shape[-1]) < (length - 1).clamp_min(1)
    loss = -(told.gather(-1, targets[..., None])[..., 0] * counts).sum(-1) / counts.sum(-1)
    return (right | ~counts).all(-1), right[..., 0], loss, length[..., 0] > 0


@torch.no_grad()
def main():
    parser = held_out.arguments(__doc__.partition("\n")[0], streams=6, segments=36)
    parser.add_argument("--only", type=held_out.numbers, action="append", default=[], metavar="LAYERS")
    parser.add_argument("--without", type=held_out.numbers, action="append", default=[], metavar="LAYERS")
    options = parser.parse_args()
    model, stage, batches = held_out.load(options, "layers", life=8, density=0.5)
    whole = set(range(model.layers))
    kept = [whole, set(), *map(set, options.only), *(whole.difference(left_out) for left_out in options.without)]
    totals, asked, done = torch.zeros(len(kept), 3, dtype=torch.float64), 0, 0
    state = model.empty(options.streams)
    while done < options.segments:
        batch = {name: torch.from_numpy(value) for name, value in next(batches).items()}
        for state in held_out.read_chunk(model, batch, state):
            done += 1
        a, z = (torch.stack(part) for part in state)
        for layers, total in zip(kept, totals):
            there = torch.tensor([float(layer in layers) for layer in range(model.layers)])
            part = a * there[:, None, None, None], z * there[:, None, None]
            *found, valid = score(model, model.segment(batch["asked"].long(), part, write=False)[0], batch)
            total += torch.stack([one[valid].double().sum() for one in found])
        asked += valid.sum().item()
    layers = []
    for some, (right, first, loss) in zip(kept, totals.tolist()):
        numbers_told = {"right": round(right), "first token right": round(first), "loss": round(loss / asked, 3)}
        layers.append({"layers": sorted(some), **numbers_told})
        print(json.dumps(layers[-1]))
    print(f"{asked} questions")
    held_out.write(options, stage, layers, questions=asked)


if __name__ == "__main__":
    main()
