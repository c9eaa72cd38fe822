"""Why can a memory grow without bound? Looks at what reads and writes divide by.

A read is (q·A) / (q·z + ε), and z grows by γ k with γ = max(0, 1 - k·z) (normalized keys, `correction`). Once k·z
reaches 1 for all keys, z stays as it is. A is still written under features that z lacks, and a read there divides by
almost nothing. Reads streams of prose with facts, and prints for each layer, as JSON:

- how much z grew after the first segment, and the share of features of which z has next to nothing (under 1e-3),
- the share of |A| under those features,
- the smallest divisor of a read, the share of reads with one under 1, and the largest read,
- the largest row sum of a segment's writes, β[j] k[i]·k[j] / (k[i]·z + ε): above 2, the same correction that several memory
  tokens add would grow from segment to segment.

On the CPU:

    PYTHONPATH=train python bench/training/divisors.py train/checkpoints/smollm2-135m --base BASE.gguf
"""

import json

import held_out

from armt_train.model import memory

LITTLE = 1e-3


class Watch:
    """What all calls of one layer showed."""

    def __init__(self, epsilon):
        self.epsilon = epsilon
        self.smallest, self.largest_read, self.largest_sum = float("inf"), 0.0, 0.0
        self.below_one = self.reads = 0

    def read(self, values, divisor):
        self.smallest = min(self.smallest, divisor.min().item())
        self.largest_read = max(self.largest_read, values.norm(dim=-1).max().item())
        self.below_one += (divisor < 1).sum().item()
        self.reads += divisor.numel()

    def write(self, keys, beta, z):
        near = keys @ keys.transpose(1, 2)  # [B, M, M]
        reach = (keys @ z[:, :, None])[..., 0] + self.epsilon
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
    options = held_out.arguments(__doc__.partition("\n")[0], streams=1, segments=120).parse_args()
    model, stage, batches = held_out.load(options, "o")

    watches, calls = [Watch(model.armt.epsilon) for _ in range(model.layers)], {"read": 0, "write": 0}
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
    first_z = None
    for state in held_out.states(model, batches, options):
        first_z = first_z or state[1]
    layers = [watch.told(a, z, first) for watch, a, z, first in zip(watches, *state, first_z)]
    for layer, told in enumerate(layers):
        print(json.dumps({"layer": layer, **told}))
    held_out.write(options, stage, layers)


if __name__ == "__main__":
    main()
