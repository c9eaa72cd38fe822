"""Loss on held-out prose of a run's trained weights, as the trainer prints it at a run's end: of the base alone, without
memory, and with the memory of the segments before. Prints JSON, by place of the segment.

For weights that no run ended with, as those of `armt-train average`. On the CPU, some minutes:

    PYTHONPATH=train python bench/training/language.py runs/between --base BASE.gguf
"""

import argparse
import json
from pathlib import Path

import held_out
import torch

from armt_train.loop.distributed import World
from armt_train.loop.language import language_check
from armt_train.loop.setup import load_data
from armt_train.loop.step import Step
from armt_train.loop.workers import InProcess


def main():
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("run", type=Path, help="folder with recipe.json and trained weights")
    parser.add_argument("--base", type=Path, required=True)
    parser.add_argument("--data", default="train/data")
    parser.add_argument("--chunks", type=int, help="batches to read (default: as the recipe says)")
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    recipe, base, model = held_out.load_run(options)
    check = recipe.language_check
    if check is None:
        parser.error(f"{options.run}: its recipe has no language_check")
    batches = InProcess(load_data(recipe, base.tokenizer)[0], 0)
    batches.start(shape=check.shape, mix=check.mix, batch=check.batch, seed="language", split="heldOut", keep=False)
    step = Step(model, recipe.training, World(), torch.device("cpu"), compile=False)
    chunks = options.chunks or check.chunks
    found = language_check(step, (batches.next() for _ in range(chunks)))
    print(json.dumps(found))
    if options.json:
        options.json.write_text(json.dumps({"streams": check.batch, "chunks": chunks, "loss": found}, indent=1) + "\n")


if __name__ == "__main__":
    main()
