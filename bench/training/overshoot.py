"""Why can a stream's memory grow without bounds? Measures how far a segment's writes overshoot.

All memory tokens of a segment read the memory from before the write, and each adds β (v - old). Where several have
about the same key, they add the same correction several times: what is read afterwards changes by G (v - old) with
G[i, j] = β[j] k[i]·k[j] / k[i]·z. If a row of G sums to more than 2, the error can grow with each
segment. Reads streams of prose with facts and prints each layer's largest row sum and the largest number in memory. On
the CPU:

    PYTHONPATH=train python bench/training/overshoot.py train/checkpoints/smollm2-135m --base BASE.gguf
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


def main():
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument(
        "run", type=Path, help="folder with recipe.json and trained weights"
    )
    parser.add_argument("--base", type=Path, required=True)
    parser.add_argument("--data", default="train/data")
    parser.add_argument(
        "--stage",
        type=int,
        default=4,
        help="whose streams to read, from 1 (default: 4)",
    )
    parser.add_argument("--streams", type=int, default=2)
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
    batches = Batches(
        base.tokenizer,
        Corpus(base.tokenizer, recipe.data),
        stage.shape,
        mix,
        options.streams,
        "o",
        "heldOut",
    )

    gains = []
    write = memory.write

    def watched(keys, values_, beta, a, z, **rest):
        after_a, after_z = write(keys, values_, beta, a, z, **rest)
        near = keys @ keys.transpose(1, 2)  # [B, M, M]
        reach = (keys @ after_z[:, :, None]).clamp_min(1e-5)
        gains.append(((near * beta.transpose(1, 2)).sum(2) / reach[..., 0]).amax(1))
        return after_a, after_z

    memory.write = watched
    state, found, worst = model.empty(options.streams), [], torch.zeros(model.layers)
    read = 0
    with torch.no_grad():
        while read < options.segments:
            text = torch.from_numpy(next(batches)["text"]).long()
            for i in range(text.shape[1]):
                gains.clear()
                tap = {}
                _, state = model.segment(text[:, i : i + 1], state, tap=tap)
                read += 1
                gain = torch.stack(gains)  # [L, B]
                worst = torch.maximum(worst, gain.amax(1))
                size = torch.stack([a.abs().amax((1, 2)) for a in state[0]])
                if (
                    read in (1, 2, 4, 8, 16, 32, 64, 128, 256, 512)
                    or read == options.segments
                ):
                    entry = {
                        "segment": read,
                        "largest row sum": round(gain.max().item(), 3),
                        "layer": int(gain.amax(1).argmax()),
                        "mean row sum": round(gain.mean().item(), 3),
                        "largest in memory": round(size.max().item(), 1),
                        "its layer": int(size.amax(1).argmax()),
                        "strength of writes": round(
                            sum(tap["strengths"]).mean().item(), 2
                        ),
                    }
                    found.append(entry)
                    print(json.dumps(entry), flush=True)
                if read >= options.segments:
                    break
    print("largest row sum of each layer:", [round(x, 2) for x in worst.tolist()])
    if options.json:
        told = {
            "stage": stage.name,
            "streams": options.streams,
            "segments": found,
            "layers": worst.tolist(),
        }
        options.json.write_text(json.dumps(told, indent=1) + "\n")


if __name__ == "__main__":
    main()
