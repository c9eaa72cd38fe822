"""Where an answer goes wrong: by the token of the answer, and whether the question or the memory is the harder part.

    PYTHONPATH=train python bench/training/reading.py --base SmolLM2-135M-Instruct.gguf --run train/checkpoints/smollm2-135m \
        --data train/data --output reading.json

Held-out streams of the recipe's last stage, the answer's earlier tokens given. Three ways to answer the same questions:
from memory; with the text in front of the question (the fact's segment and the one before) and no memory; and so
with the base alone.
"""

import argparse
import json
from collections import defaultdict
from pathlib import Path

import held_out
import torch

from armt_train.loop import saving
from armt_train.loop.setup import load_data

PLACES = 6  # of an answer's tokens that are counted each; later ones together


class Counts:
    def __init__(self):
        self.answers = defaultdict(lambda: [0, 0])
        self.tokens = defaultdict(lambda: [0, 0, 0.0])

    def add(self, way, task, told, targets):
        """told: log-probabilities [n, V] of an answer's tokens; targets [n]."""
        right = told.argmax(-1) == targets
        loss = -told.gather(1, targets[:, None])[:, 0]
        for name in (task, "all"):
            count = self.answers[way, name]
            count[0] += 1
            count[1] += bool(right.all())
        for i in range(len(targets)):
            place = "end" if i == len(targets) - 1 and i > 0 else str(min(i, PLACES - 1))
            count = self.tokens[way, place]
            count[0] += 1
            count[1] += bool(right[i])
            count[2] += loss[i].item()

    def to_json(self):
        found = defaultdict(dict)
        for (way, task), (asked, right) in sorted(self.answers.items()):
            found[way].setdefault("answers", {})[task] = {"asked": asked, "right": right}
        for (way, place), (count, right, loss) in sorted(self.tokens.items()):
            found[way].setdefault("tokens", {})[place] = {
                "count": count,
                "right": right,
                "loss": round(loss / count, 3),
            }
        return found


@torch.no_grad()
def measure(model, batches, tasks, streams, contexts):
    """`contexts`: questions of each stream and chunk that are also answered with the text in front of them."""
    counts, state = Counts(), model.empty(streams)
    for arrays in batches:
        x = {name: torch.from_numpy(value) for name, value in arrays.items()}
        text, asked = x["text"].long(), x["asked"].long()
        *_, state = held_out.read_chunk(model, x, state)
        rows, _ = model.segment(asked, state, write=False)
        for b in range(streams):
            for q in range(asked.shape[1]):
                there = x["asked_weight"][b, q] > 0
                if not there.any():
                    continue
                places, task = x["asked_places"][b, q].long()[there], tasks[x["asked_task"][b, q]]
                targets = asked[b, q][places + 1]
                told = lambda found, places=places: model.logits(found[places]).log_softmax(-1)
                counts.add("memory", task, told(rows[b, q]), targets)
                last = text.shape[1] - 1 - int(x["asked_age"][b, q])
                if q >= contexts or last < 1:
                    continue
                before = text[b, last - 1 : last + 1].flatten()
                whole = torch.cat([before, asked[b, q]])[None]
                read, _ = model.segment(whole[:, None], model.empty(1), write=False, first=True)
                counts.add("text", task, told(read[0, 0, len(before) :]), targets)
                counts.add("text, base", task, told(model.base_rows(whole)[0, len(before) :]), targets)
    return counts.to_json()


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--base", type=Path, required=True)
    parser.add_argument("--run", type=Path, required=True, help="folder with recipe.json and trained weights")
    parser.add_argument("--data", required=True, help="what `armt-train corpus` wrote")
    parser.add_argument("--streams", type=int, default=16)
    parser.add_argument("--chunks", type=int, default=4)
    parser.add_argument("--contexts", type=int, default=4)
    parser.add_argument("--seed", default="reading")
    parser.add_argument("--output", type=Path, required=True)
    options = parser.parse_args()
    recipe, base, model = held_out.load_run(options)
    source, tasks = load_data(recipe, base.tokenizer)
    stage = recipe.stages[-1]
    job = dict(shape=stage.shape, mix=stage.mix, batch=options.streams, seed=options.seed, split="heldOut")
    made = source.make(job)
    batches = (next(made) for _ in range(options.chunks))
    found = measure(model, batches, tasks, options.streams, options.contexts)
    settings = {name: getattr(options, name) for name in ("streams", "chunks", "contexts", "seed")}
    result = {"base": base.name, "position": saving.read_position(options.run), "settings": settings, "ways": found}
    options.output.write_text(json.dumps(result, indent=1) + "\n")


if __name__ == "__main__":
    main()
