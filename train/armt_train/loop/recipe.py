"""Recipes: a run as data. docs/train.md explains the keys."""

import json
import math
from dataclasses import dataclass, field, fields
from importlib import resources
from pathlib import Path

from armt_train.errors import TrainError

TUNES = ("memory", "lora", "all")
OPTIMIZERS = ("adamw", "muon")


@dataclass
class ModelPart:
    segment_size: int = 128
    n_mem: int = 16
    d_mem: int = 64
    normalize_keys: bool = True
    correction: bool = True
    epsilon: float = 1e-5  # added to q·z, k·z and ‖k‖² before they divide
    # scales of the initial W_mv and W_mb, in units of 1/√D
    value_scale: float = 0.2
    strength_scale: float = 0.0
    # a base of random weights in the place of --base: LLaMA's sizes, see loop/scratch.py
    scratch: dict | None = None


@dataclass
class LoraPart:
    r: int = 8
    alpha: float = 16
    modules: list = field(default_factory=lambda: ["q_proj", "v_proj"])


@dataclass
class KeepPart:
    """Texts for distillation: chats that the base writes itself, and prose. `chats`: how many chats; `length`: tokens
    of each text, a chat's template included; `batch`: texts a step and GPU; `prose`: which share of them is prose.
    """

    chats: int = 4096
    length: int = 112
    batch: int = 24
    prose: float = 0.0


@dataclass
class TrainingPart:
    tune: str = "lora"
    lora: LoraPart = field(default_factory=LoraPart)
    seed: int = 1
    rate: float = 1e-3
    strength_rate: float = 1.0  # another factor, for W_mb and its bias alone
    optimizer: str = "adamw"  # "muon": for W_mq, W_mk and W_mv
    warm_up: int = 60  # steps
    decay: float = 0.01
    betas: list = field(default_factory=lambda: [0.9, 0.98])
    clip: float = 1.0
    tap: int | None = None  # layer of the slots loss; the middle one
    checkpointing: bool = False
    keep: KeepPart = field(default_factory=KeepPart)

    def tap_layer(self, layers):
        """`tap`, or its default in a model of so many layers."""
        return layers // 2 if self.tap is None else self.tap


@dataclass
class Losses:
    """Weights of the losses of a stage."""

    answers: float = 1.0
    tail: float = 0.5  # answers in the open segment
    language: float = 0.0  # text of the open segment
    slots: float = 0.0
    text_slots: float = 0.0
    addressing: float = 0.0  # whether a question's rows find the segment of their fact among all of the batch
    filler_writes: float = 0.0  # how strongly segments marked `quiet` write
    keep: float = 0.0  # KL(base ‖ model) on chats of the base


@dataclass
class Evaluation:
    every: int = 0  # steps; 0: at the stage's end only
    chunks: int = 16


@dataclass
class Stage:
    name: str
    batch: int  # streams a GPU
    shape: dict
    mix: dict
    steps: int | None = None
    seconds: float | None = None
    rate: float = 1.0  # factor
    lora_rate: float = 1.0  # another factor, for LoRA's matrices alone
    cool: bool = False  # the rate falls to nothing over the stage
    losses: Losses = field(default_factory=Losses)
    until: dict = field(default_factory=dict)  # {"recall": 0.95}, {"recall.TASK": …}: over the last 50 steps
    evaluate: Evaluation | None = None


@dataclass
class AskPart:
    """How to ask, as the memory's file says it (docs/memory-file.md). `chat` and `end`: by default the base's."""

    chat: bool | None = None
    close: bool = False
    greedy: bool = True
    before: str | None = None
    after: str | None = None
    end: list | None = None


@dataclass
class LanguageCheck:
    """Plain held-out text, on which the model is compared with its base in the end. The shape is that of a stage;
    `batch` streams a GPU.
    """

    shape: dict
    mix: dict
    batch: int = 16
    chunks: int = 4


@dataclass
class Recipe:
    stages: list
    model: ModelPart = field(default_factory=ModelPart)
    training: TrainingPart = field(default_factory=TrainingPart)
    tasks: str = "tasks"  # what makes the data: "tasks", or "recall", the package's own recall model's
    data: dict = field(default_factory=dict)
    ask: AskPart = field(default_factory=AskPart)
    language_check: LanguageCheck | None = None
    base_name: str | None = None
    base_license: str | None = None
    about: str = ""


NESTED = {
    (Recipe, "model"): ModelPart,
    (Recipe, "training"): TrainingPart,
    (Recipe, "ask"): AskPart,
    (TrainingPart, "lora"): LoraPart,
    (TrainingPart, "keep"): KeepPart,
    (Recipe, "language_check"): LanguageCheck,
    (Stage, "losses"): Losses,
    (Stage, "evaluate"): Evaluation,
}


def build(kind, values, where):
    if not isinstance(values, dict):
        raise TrainError(f"{where}: an object is expected, not {json.dumps(values)}")
    known = {f.name: f for f in fields(kind)}
    for key in values:
        if key not in known:
            raise TrainError(f'{where}: unknown key "{key}"; known are {", ".join(known)}')
    made = {}
    for key, value in values.items():
        place = f"{where}.{key}" if where else key
        if (kind, key) in NESTED and value is not None:
            value = build(NESTED[kind, key], value, place)
        elif (kind, key) == (Recipe, "stages"):
            if not isinstance(value, list) or not value:
                raise TrainError("stages: at least one stage is needed")
            value = [build(Stage, stage, f"stages.{i}") for i, stage in enumerate(value)]
        else:
            check_type(known[key].type, value, place)
        made[key] = value
    try:
        return kind(**made)
    except TypeError as error:
        missing = str(error).rpartition(": ")[2]
        raise TrainError(f"{where or 'recipe'}: missing {missing}") from error


KINDS = {
    int: "a whole number",
    float: "a number",
    bool: "true or false",
    str: "text",
    dict: "an object",
    list: "a list",
}


def check_type(kind, value, where):
    allowed = getattr(kind, "__args__", (kind,)) if not isinstance(kind, type) or hasattr(kind, "__args__") else (kind,)
    for one in allowed:
        if one is type(None) and value is None:
            return
        if one is float and isinstance(value, (int, float)) and not isinstance(value, bool) and math.isfinite(value):
            return
        if one in KINDS and type(value) is one:
            return
    names = " or ".join(KINDS[one] for one in allowed if one in KINDS)
    raise TrainError(f"{where}: {names} is expected, not {json.dumps(value)}")


def parse_recipe(values):
    recipe = build(Recipe, values, "")
    check(recipe)
    return recipe


def check(recipe):
    model, training = recipe.model, recipe.training
    bounds = [
        ("model.segment_size", model.segment_size, 2),
        ("model.n_mem", model.n_mem, 1),
        ("model.d_mem", model.d_mem, 2),
    ]
    for stage in recipe.stages:
        bounds.append((f'stage "{stage.name}": batch', stage.batch, 1))
        if stage.steps is None and stage.seconds is None and not stage.cool:
            raise TrainError(f'stage "{stage.name}": steps or seconds is needed')
        for key in stage.until:
            if not key.startswith("recall"):
                raise TrainError(f'stage "{stage.name}": until: "{key}" is not known; known are recall and recall.TASK')
    for name, value, least in bounds:
        if value < least:
            raise TrainError(f"{name} is {value}, expected at least {least}")
    if not 1e-12 <= model.epsilon <= 1000:
        raise TrainError(f"model.epsilon is {model.epsilon}, expected 1e-12 to 1000")
    if recipe.tasks not in ("tasks", "recall"):
        raise TrainError(f'tasks is "{recipe.tasks}", expected tasks or recall')
    if training.tune not in TUNES:
        raise TrainError(f'training.tune is "{training.tune}", expected one of {", ".join(TUNES)}')
    if training.optimizer not in OPTIMIZERS:
        raise TrainError(f'training.optimizer is "{training.optimizer}", expected one of {", ".join(OPTIMIZERS)}')
    if training.tune == "all" and recipe.language_check is not None:
        raise TrainError("language_check needs a frozen base: with training.tune: all there is none to compare with")
    if model.scratch is not None and training.tune != "all":
        raise TrainError("model.scratch: a base of random weights needs training.tune: all")
    if training.tune == "all" and any(stage.losses.keep for stage in recipe.stages):
        raise TrainError("losses.keep needs a frozen base: with training.tune: all there is none to compare with")
    if not 0 <= training.keep.prose < 1:
        raise TrainError(f"training.keep.prose is {training.keep.prose}, expected 0 or more and less than 1")
    if training.keep.prose and recipe.tasks == "recall":
        raise TrainError('training.keep.prose: the tasks "recall" have no prose')
    if training.strength_rate <= 0:
        raise TrainError(f"training.strength_rate is {training.strength_rate}, expected more than 0")
    for i, stage in enumerate(recipe.stages):
        if stage.lora_rate <= 0:
            raise TrainError(f"stages.{i}.lora_rate is {stage.lora_rate}, expected more than 0")


def recipe_names():
    return sorted(
        file.name.removesuffix(".json")
        for file in resources.files("armt_train.recipes").iterdir()
        if file.name.endswith(".json") and not file.name.endswith("-tokenizer.json")
    )


def read_recipe(name, overrides=()):
    """A recipe by name or path to a JSON file, with `KEY=JSON` overrides such as `model.n_mem=32` or
    `stages.0.batch=8`.
    """
    path = Path(name)
    if path.suffix == ".json" or path.exists():
        if not path.is_file():
            raise TrainError(f"{name}: there is no such recipe file")
        text = path.read_text()
    else:
        if name not in recipe_names():
            raise TrainError(
                f'there is no recipe "{name}"; there are {", ".join(recipe_names())}, and paths of JSON files'
            )
        text = (resources.files("armt_train.recipes") / f"{name}.json").read_text()
    try:
        values = json.loads(text)
    except json.JSONDecodeError as error:
        raise TrainError(f"{name}: not JSON ({error})") from error
    for override in overrides:
        apply(values, override)
    return parse_recipe(values), values


def recipe_of_run(folder, **changes):
    """The recipe that a run's folder holds. `changes`: keys to have other values."""
    file = folder / "recipe.json"
    if not file.is_file():
        raise TrainError(f"{folder}: it has no recipe.json; is it the folder of a run?")
    try:
        return parse_recipe({**json.loads(file.read_text()), **changes})
    except (ValueError, TypeError, TrainError) as error:
        raise TrainError(f"{file}: not a recipe ({error})") from error


def apply(values, override):
    key, sign, text = override.partition("=")
    if not sign:
        raise TrainError(f"--set {override}: KEY=JSON is expected, as in model.n_mem=32")
    try:
        value = json.loads(text)
    except json.JSONDecodeError:
        value = text
    at, path = values, key.split(".")
    for part in path[:-1]:
        try:
            at = at[int(part)] if isinstance(at, list) else at.setdefault(part, {})
        except (ValueError, IndexError) as error:
            raise TrainError(f'--set {key}: there is no "{part}"') from error
    try:
        if isinstance(at, list):
            at[int(path[-1])] = value
        else:
            at[path[-1]] = value
    except (ValueError, IndexError, TypeError) as error:
        raise TrainError(f"--set {key}: there is no such place") from error
