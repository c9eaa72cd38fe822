"""Held-out streams of prose with facts, read on the CPU with a run's trained weights, for the scripts beside it."""

import argparse
import json
from itertools import islice
from pathlib import Path

import torch

from armt_train.loop import saving
from armt_train.loop.recipe import recipe_of_run
from armt_train.loop.setup import load_model
from armt_train.tasks import Batches, Corpus


def run_arguments(description):
    """A parser of what `load_run` needs, and of the result's file."""
    parser = argparse.ArgumentParser(description=description)
    parser.add_argument("run", type=Path, help="folder with recipe.json and trained weights")
    parser.add_argument("--base", type=Path, required=True, help="the base's GGUF file or folder")
    parser.add_argument("--data", default="train/data", help="what `armt-train corpus` wrote")
    parser.add_argument("--json", type=Path, help="file to write the result to")
    return parser


def arguments(description, *, streams, segments):
    """The same, and what `load` needs. `streams`, `segments`: defaults; 0 segments: no such option."""
    parser = run_arguments(description)
    parser.add_argument("--stage", type=int, default=4, help="whose streams to read, from 1 (default: 4)")
    parser.add_argument("--streams", type=int, default=streams)
    if segments:
        parser.add_argument("--segments", type=int, default=segments)
    return parser


def numbers(text):
    """The layers of `16-20,28`."""
    ranges = [part.split("-") for part in text.split(",")]
    return [layer for first, *last in ranges for layer in range(int(first), int(last[0] if last else first) + 1)]


def load_run(options):
    """The recipe of the folder `options.run`, its base, and the model with its trained weights."""
    recipe = recipe_of_run(options.run, data={"folder": options.data})
    base, model = load_model(recipe, options.base, torch.device("cpu"))
    saving.load_trained(options.run, model)
    return recipe, base, model


def load(options, seed, life=10_000, density=0.2):
    """The model, a stage, and batches of its streams. `seed`: of the text; `life` in chunks, `density` in facts a
    segment.
    """
    recipe, base, model = load_run(options)
    stage = recipe.stages[min(options.stage, len(recipe.stages)) - 1]
    mix = {**stage.mix, "life": [life, life], "density": [density, density], "long": {}}
    corpus = Corpus(base.tokenizer, recipe.data)
    return model, stage, Batches(base.tokenizer, corpus, stage.shape, mix, options.streams, seed, "heldOut")


@torch.no_grad()
def read_chunk(model, batch, state, **tap):
    """Reads a chunk of every stream, of which some are fresh: gives the memory after each segment, as `states` does.
    `tap`: passed on to `Armt.segment`.
    """
    keep = 1 - batch["fresh"].float()
    state = [a * keep[:, None, None] for a in state[0]], [z * keep[:, None] for z in state[1]]
    for i in range(batch["text"].shape[1]):
        _, state = model.segment(batch["text"][:, i : i + 1].long(), state, **tap)
        yield state


@torch.no_grad()
def states(model, batches, options):
    """The memory after each segment: (A of each layer, z of each layer)."""
    state, done = model.empty(options.streams), 0
    while done < options.segments:
        batch = {name: torch.from_numpy(value) for name, value in next(batches).items()}
        for state in islice(read_chunk(model, batch, state), options.segments - done):
            yield state
            done += 1


def write(options, stage, layers, **more):
    """The result's file, if one is wanted."""
    sizes = {name: getattr(options, name) for name in ("streams", "segments") if name in options}
    told = {"stage": stage.name, **sizes, "layers": layers, **more}
    if options.json:
        options.json.write_text(json.dumps(told, indent=1) + "\n")
