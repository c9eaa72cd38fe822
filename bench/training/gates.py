"""Do the memory tokens of a layer write softly, or is their β all but 0 or 1? Makes weights to start another run from.

W_mb sees what a layer puts out, whose numbers are large in most bases. A rate that suits the other weights moves
W_mb m + b by several units a step, and where it is far from 0, σ has no gradient and nothing can bring it back. Reads
streams of prose with facts, and prints quantiles of W_mb m + b over memory tokens for each layer, as JSON. `--output`
writes other weights to start from:

- W_mb and b are scaled so that the median is at most 8 from 0,
- a layer in which no token reaches σ⁻¹(0.001) starts again: W_mk as at a start, W_mq = W_mk, W_mv at a tenth of its
  usual start, W_mb = 0 and b = -4.

`--silence LAYERS` lowers b there instead, so far that those layers write nothing, and `--wake LAYERS` raises it again.

On the CPU, one minute:

    PYTHONPATH=train python bench/training/gates.py train/checkpoints/smollm2-135m --base BASE.gguf --output softer
"""

import json
from pathlib import Path

import held_out
import torch

from armt_train.loop import saving
from armt_train.model.armt import Cell

QUANTILES = (0, 0.1, 0.5, 0.9, 0.99, 1)
ALIVE = -6.9  # σ of it is 0.001
MEDIAN, RESTART = 8.0, -4.0
VALUES = 0.02  # of 1/√D
SILENCE = -30.0  # added to b


def logits(model, batches, options):
    """W_mb m + b of all memory tokens that were read, by layer: [L][tokens]."""
    found = [[] for _ in model.cells]
    layer = {id(cell): i for i, cell in enumerate(model.cells)}

    def watched(cell, x, a, z, cos, sin, n_mem, first, reads):
        result = Cell.forward(cell, x, a, z, cos, sin, n_mem, first, reads)
        if n_mem and not first:
            found[layer[id(cell)]].append(cell.mem_b(result[0][:, 0, -n_mem:]).flatten())
        return result

    model.run = watched
    for _ in held_out.states(model, batches, options):
        pass
    model.run = Cell.forward
    return [torch.cat(one) for one in found]


@torch.no_grad()
def soften(model, found, generator):
    """Changes the model's W_mb, and all of a layer whose tokens never write. Gives those layers."""
    restarted = []
    for layer, (cell, told) in enumerate(zip(model.cells, found)):
        if told.max() >= ALIVE:
            scale = min(1.0, MEDIAN / told.median().abs().item())
            cell.mem_b.weight *= scale
            cell.mem_b.bias *= scale
            continue
        restarted.append(layer)
        deviation = model.width**-0.5
        cell.mem_k.weight.normal_(std=deviation, generator=generator)
        cell.mem_q.weight.copy_(cell.mem_k.weight)
        cell.mem_v.weight.normal_(std=VALUES * deviation, generator=generator)
        cell.mem_b.weight.zero_()
        cell.mem_b.bias.fill_(RESTART)
    return restarted


def main():
    parser = held_out.arguments(__doc__.partition("\n")[0], streams=4, segments=30)
    parser.add_argument("--output", type=Path, help="folder for the changed weights")
    parser.add_argument(
        "--silence", type=held_out.numbers, default=[], help="layers that are to write nothing, as in 7,11"
    )
    parser.add_argument("--wake", type=held_out.numbers, default=[], help="layers that --silence silenced")
    options = parser.parse_args()
    if (options.silence or options.wake) and not options.output:
        parser.error("--silence and --wake change weights: --output is missing")
    model, stage, batches = held_out.load(options, "gates")
    for layer in options.wake:
        if model.cells[layer].mem_b.bias.item() > SILENCE / 2:
            parser.error(f"--wake: layer {layer} is not silenced")
    found = logits(model, batches, options)
    layers = []
    for layer, told in enumerate(found):
        quantiles = {str(q): round(told.quantile(q).item(), 1) for q in QUANTILES}
        soft = round((told.abs() < -ALIVE).float().mean().item(), 4)
        writing = round((told > ALIVE).float().mean().item(), 4)
        layers.append({"W_mb m + b": quantiles, "write": writing, "neither 0 nor 1": soft})
        print(json.dumps({"layer": layer, **layers[-1]}))
    more = {}
    if options.output:
        options.output.mkdir(parents=True, exist_ok=True)
        if options.silence or options.wake:
            more = {"silenced": options.silence, "woken": options.wake}
            for layer in options.silence:
                model.cells[layer].mem_b.bias.data += SILENCE
            for layer in options.wake:
                model.cells[layer].mem_b.bias.data -= SILENCE
        else:
            more["restarted"] = soften(model, found, torch.Generator().manual_seed(1))
            print(f"layers that start again: {more['restarted']}")
        saving.save_trained(options.output, model, None, saving.read_position(options.run))
        saving.copy_settings(options.run, options.output)
    held_out.write(options, stage, layers, **more)


if __name__ == "__main__":
    main()
