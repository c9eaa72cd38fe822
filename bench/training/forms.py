"""Are held-out words or held-out forms of sentences harder for a trained memory?

Asks facts of the stage "one fact a segment, in prose" (or --stage) four times: words of training or held-out words, in
sentences and questions of forms of training or of held-out forms. On the CPU, from trained weights:

    PYTHONPATH=train python bench/training/forms.py train/checkpoints/smollm2-135m --base BASE.gguf --data train/data
"""

import json
from dataclasses import replace

import held_out
import torch

from armt_train.loop.distributed import World
from armt_train.loop.recipe import Losses
from armt_train.loop.step import Step
from armt_train.tasks import Corpus, streams
from armt_train.tasks.pairs import Pairs
from armt_train.tasks.worlds import Open

SPLITS = ("train", "heldOut")


class Forms:
    """A split's words, in sentences of the forms of another split."""

    def __init__(self, words, split):
        self.words, self.split = words, split

    def __getattr__(self, name):
        return getattr(self.words, name)


def main():
    parser = held_out.run_arguments(__doc__.partition("\n")[0])
    parser.add_argument("--stage", type=int, default=2, help="whose streams to take, from 1 (default: 2)")
    parser.add_argument("--streams", type=int, default=24, help="of each combination (default: 24)")
    parser.add_argument("--seed", default="gap")
    options = parser.parse_args()

    recipe, base, model = held_out.load_run(options)
    corpus = Corpus(base.tokenizer, recipe.data)
    stage = recipe.stages[options.stage - 1]
    step = Step(model, recipe.training, World(), torch.device("cpu"), compile=False)
    shape = {**stage.shape, "tail": 0}
    found = []
    for world, kind in (("open", Open), ("pair", Pairs)):
        for words in SPLITS:
            for forms in SPLITS:
                streams.WORLDS[world] = lambda w, *rest, kind=kind, forms=forms: kind(Forms(w, forms), *rest)
                mix = {**stage.mix, "worlds": {world: 1}}
                made = streams.Batches(base.tokenizer, corpus, shape, mix, options.streams, options.seed, words)
                batch = next(made)
                step.prepare(batch, replace(stage, losses=Losses(answers=1, tail=0)))
                step.load(batch)
                with torch.no_grad():
                    output = step.forward()[2]
                right = output["asked_right"].numpy()[batch["asked_task"] >= 0]
                counts = {"right": int(right.sum()), "asked": right.size, "loss": round(output["answers"].item(), 4)}
                found.append({"facts": world, "words": words, "forms": forms, **counts})
                print(f"{world}: words {words}, forms {forms}: {counts}", flush=True)
    if options.json:
        told = {"stage": stage.name, "seed": options.seed, "streams": options.streams, "results": found}
        options.json.write_text(json.dumps(told, indent=1) + "\n")


if __name__ == "__main__":
    main()
