"""How hard the losses pull at the memory's matrices and at LoRA: the norm of each weighted loss's gradient, by layer.

Reads some chunks of a few streams, then goes back through one more for each loss alone, with the weights of the
recipe's last stage or those of `--set`. Prints JSON.

On the CPU, some minutes:

    PYTHONPATH=train python bench/training/gradients.py train/checkpoints/smollm2-135m --base BASE.gguf --set addressing=4
"""

import argparse
import json
from dataclasses import asdict, replace

import held_out
import torch

from armt_train.loop.distributed import World
from armt_train.loop.recipe import Losses, TrainingPart
from armt_train.loop.step import Step

# whose gradient tells about memory; the others need maps, or the base's chats
NAMES = ("answers", "tail", "addressing", "filler_writes")
MATRICES = ("mem_q", "mem_k", "mem_v", "mem_b")
CHUNKS = 2  # read before


def weight(text):
    name, _, value = text.partition("=")
    if name not in NAMES:
        raise argparse.ArgumentTypeError(f'"{name}" is not known; known are {", ".join(NAMES)}')
    return name, float(value)


def main():
    parser = held_out.arguments(__doc__.partition("\n")[0], streams=3, segments=0)
    parser.add_argument("--set", type=weight, action="append", default=[], metavar="LOSS=WEIGHT")
    options = parser.parse_args()
    model, stage, batches = held_out.load(options, "gradients", life=8, density=0.5)
    weights = {name: value for name, value in {**asdict(stage.losses), **dict(options.set)}.items() if name in NAMES}
    nothing = {name: 0.0 for name in asdict(stage.losses)}
    step = Step(model, TrainingPart(), World(), torch.device("cpu"), compile=False)
    batch = next(batches)
    step.prepare(batch, replace(stage, losses=Losses(**{**nothing, **weights})))
    with torch.no_grad():
        for _ in range(CHUNKS):
            step.load(batch)
            step.look()
            batch = next(batches)
    step.load(batch)
    layers = [{name: {} for name in MATRICES} | {"lora": {}} for _ in model.cells]
    for loss in (name for name in NAMES if weights[name]):
        step.losses = Losses(**{**nothing, loss: weights[loss]})
        step.gradient.zero_()
        step.forward()[0].backward()
        for layer, cell in enumerate(model.cells):
            for name in MATRICES:
                layers[layer][name][loss] = getattr(cell, name).weight.grad.norm().item()
            lora = [p.grad.square().sum() for name, p in cell.layer.named_parameters() if ".lora_" in name]
            layers[layer]["lora"][loss] = torch.stack(lora).sum().sqrt().item()
    for layer, told in enumerate(layers):
        layers[layer] = {name: {loss: float(f"{v:.2g}") for loss, v in part.items()} for name, part in told.items()}
        print(json.dumps({"layer": layer, **layers[layer]}))
    held_out.write(options, stage, layers, weights=weights)


if __name__ == "__main__":
    main()
