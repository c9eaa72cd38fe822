"""Why can a memory grow without bound? Looks at what reads and writes divide by.

A read is (q·A) / (q·z + 1e-5), and z grows by γ k with γ = max(0, 1 - k·z) (normalized keys, `correction`). Once k·z
reaches 1 for all keys, z stays as it is. A is still written under features that z lacks, and a read there divides by
almost nothing. Reads streams of prose with facts, and prints for each layer, as JSON:

- how much z grew after the first segment, and the share of features of which z has next to nothing (under 1e-3),
- the share of |A| under those features,
- the smallest divisor of a read, the share of reads with one under 1, and the largest read,
- the largest row sum of a segment's writes, β[j] k[i]·k[j] / k[i]·z: above 2, the same correction that several memory
  tokens add would grow from segment to segment.

On the CPU:

    PYTHONPATH=train python bench/training/divisors.py train/checkpoints/smollm2-135m --base BASE.gguf
"""

import argparse
import json
from pathlib import Path

import torch

from armt_train.loop import saving
from armt_train.loop.recipe import parse_recipe
from armt_train.loop.setup import load_model
from armt_train.model import memory
from armt_train.tasks import Batches, Corpus

LITTLE = 1e-3


class Watch:
    """What all calls of one layer showed."""

    def __init__(self):
        self.smallest, self.largest_read, self.largest_sum = float("inf"), 0.0, 0.0
        self.below_one = self.reads = 0

    def read(self, values, divisor):
        self.smallest = min(self.smallest, divisor.min().item())
        self.largest_read = max(self.largest_read, values.norm(dim=-1).max().item())
        self.below_one += (divisor < 1).sum().item()
        self.reads += divisor.numel()

    def write(self, keys, beta, z):
        near = keys @ keys.transpose(1, 2)  # [B, M, M]
        reach = (keys @ z[:, :, None]).clamp_min(memory.EPSILON)[..., 0]
        self.largest_sum = max(self.largest_sum, ((near * beta.transpose(1, 2)).sum(2) / reach).max().item())

    def told(self, a, z, first_z):
        lacking = z < LITTLE  # [B, K]
        size = a.square().sum(-1)
        return {
            "z after the first segment": round(((z - first_z).abs().sum() / first_z.sum()).item(), 4),
            "features without z": round(lacking.float().mean().item(), 3),
            "|A| there": round(((size * lacking).sum() / size.sum()).sqrt().item(), 4),
            "smallest divisor": float(f"{self.smallest:.3g}"),
            "divisors under 1": round(self.below_one / self.reads, 4),
            "largest read": float(f"{self.largest_read:.3g}"),
            "largest row sum": round(self.largest_sum, 3),
            "|A|": float(f"{size.sum(1).sqrt().max().item():.4g}"),
        }


def main():
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("run", type=Path, help="folder with recipe.json and trained weights")
    parser.add_argument("--base", type=Path, required=True)
    parser.add_argument("--data", default="train/data")
    parser.add_argument("--stage", type=int, default=4, help="whose streams to read, from 1 (default: 4)")
    parser.add_argument("--streams", type=int, default=1)
    parser.add_argument("--segments", type=int, default=120)
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()

    values = json.loads((options.run / "recipe.json").read_text())
    values["data"] = {"folder": options.data}
    recipe = parse_recipe(values)
    base, model = load_model(recipe, options.base, torch.device("cpu"))
    saving.load_trained(options.run, model)
    stage = recipe.stages[min(options.stage, len(recipe.stages)) - 1]
    mix = {**stage.mix, "life": [10_000, 10_000], "density": [0.2, 0.2]}
    corpus = Corpus(base.tokenizer, recipe.data)
    batches = Batches(base.tokenizer, corpus, stage.shape, mix, options.streams, "o", "heldOut")

    watches, calls = [Watch() for _ in range(model.layers)], {"read": 0, "write": 0}
    read, write = memory.read, memory.write

    def watched_read(keys, a, z, *rest):
        result = read(keys, a, z, *rest)
        # a write reads too, what its own rows replace
        if keys.shape[1] != model.armt.n_mem:
            if (z > 0).any():
                watches[calls["read"] % model.layers].read(*result)
            calls["read"] += 1
        return result

    def watched_write(keys, values, beta, a, z, **rest):
        after = write(keys, values, beta, a, z, **rest)
        watches[calls["write"] % model.layers].write(keys, beta, after[1])
        calls["write"] += 1
        return after

    memory.read, memory.write = watched_read, watched_write
    state, first_z, done = model.empty(options.streams), None, 0
    with torch.no_grad():
        while done < options.segments:
            text = torch.from_numpy(next(batches)["text"]).long()
            for i in range(min(text.shape[1], options.segments - done)):
                _, state = model.segment(text[:, i : i + 1], state)
                first_z = first_z or state[1]
                done += 1
    layers = [watch.told(a, z, first) for watch, a, z, first in zip(watches, *state, first_z)]
    for layer, told in enumerate(layers):
        print(json.dumps({"layer": layer, **told}))
    if options.json:
        told = {"stage": stage.name, "streams": options.streams, "segments": done, "layers": layers}
        options.json.write_text(json.dumps(told, indent=1) + "\n")


if __name__ == "__main__":
    main()
