"""Loss on held-out prose of a run's trained weights, as the trainer prints it at a run's end: of the base alone, without
memory, and with the memory of the segments before. Prints JSON, by place of the segment.

For weights that no run ended with, as those of `armt-train average`. On the CPU, some minutes:

    PYTHONPATH=train python bench/training/language.py runs/between --base BASE.gguf
"""

import json

import held_out
import torch

from armt_train.loop.distributed import World
from armt_train.loop.language import language_batches, language_check
from armt_train.loop.setup import load_data
from armt_train.loop.step import Step
from armt_train.loop.workers import InProcess


def main():
    parser = held_out.run_arguments(__doc__.partition("\n")[0])
    options = parser.parse_args()
    recipe, base, model = held_out.load_run(options)
    check = recipe.language_check
    if check is None:
        parser.error(f"{options.run}: its recipe has no language_check")
    source, _ = load_data(recipe, base.tokenizer)
    step = Step(model, recipe.training, World(), torch.device("cpu"), compile=False)
    found = language_check(step, language_batches(InProcess(source), check))
    print(json.dumps(found))
    if options.json:
        told = {"streams": check.batch, "chunks": check.chunks, "loss": found}
        options.json.write_text(json.dumps(told, indent=1) + "\n")


if __name__ == "__main__":
    main()
