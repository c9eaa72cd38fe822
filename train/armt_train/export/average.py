"""Weights between those of several runs, of which each started from another or from the same weights.

They often keep what one run had learned and have what another learned since, and remember more than either. Weights of
runs that started apart do not fit together.
"""

import math

from armt_train.errors import TrainError
from armt_train.loop import saving
from armt_train.loop.recipe import recipe_of_run


def average(runs, output, weights=None):
    """Writes trained weights, recipe and slots maps to the folder `output`.

    `runs`: two folders or more. `weights`: of each run, in any unit (default: all the same). Recipe, slots maps, stage
    and step are those of the last run, and the position says the weights. Raises a TrainError if the runs did not train
    the same.
    """
    weights = [1.0] * len(runs) if weights is None else weights
    if len(runs) < 2:
        raise TrainError(f"average: {len(runs)} run is given, and two or more are needed")
    if len(weights) != len(runs):
        raise TrainError(f"--weights: {len(weights)} numbers for {len(runs)} runs")
    if not 0 < sum(weights) < math.inf or min(weights) < 0:
        raise TrainError(f"--weights {','.join(f'{w:g}' for w in weights)}: 0 or more are expected, and not all 0")
    if (output / "recipe.json").exists():
        raise TrainError(f"--output {output}: it is the folder of a run; choose another one")
    last = runs[-1]
    settings = [read_settings(run) for run in runs]
    for run, told in zip(runs, settings):
        for key, value in told.items():
            if value != settings[-1][key]:
                raise TrainError(f"{run}: its recipe has {key} {value}, and that of {last} has {settings[-1][key]}")
    total = None
    for run, weight in zip(runs, weights):
        tensors = {name: tensor for _, name, tensor in saving.trained_tensors(run)}
        if total is None:
            total = {name: tensor.double() * 0 for name, tensor in tensors.items()}
        for name in sorted(total.keys() | tensors.keys()):
            here, there = (list(some[name].shape) if name in some else "none" for some in (tensors, total))
            if here != there:
                raise TrainError(f'{run}: tensor "{name}" is {here}, and that of {runs[0]} is {there}')
            total[name] += tensors[name].double() * (weight / sum(weights))
    output.mkdir(parents=True, exist_ok=True)
    position = {**saving.read_position(last), "average": weights}
    saving.save_tensors(output, {name: saving.half(t) for name, t in total.items()}, position)
    saving.copy_settings(last, output)


def read_settings(run):
    """What the weights' shapes do not show and their meaning depends on."""
    recipe = recipe_of_run(run)
    found = {f"model.{key}": getattr(recipe.model, key) for key in saving.WITHOUT_SHAPE}
    found["training.tune"] = recipe.training.tune
    if recipe.training.tune == "lora":
        found["training.lora.alpha"] = recipe.training.lora.alpha
    return found
