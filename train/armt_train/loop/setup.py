"""What comes before a run: base, model and data, with everything that can be wrong found out before the GPU starts."""

import os

import torch

from armt_train.base import load_base
from armt_train.errors import TrainError
from armt_train.loop.estimate import describe, stage_bytes
from armt_train.loop.workers import InProcess, Source, Workers
from armt_train.model import Armt, ArmtConfig, Start
from armt_train.model.lora import add_lora


def load_model(recipe, base_path, device):
    """Base and model on the CPU, with everything that can be wrong found out."""
    training = recipe.training
    torch.manual_seed(training.seed)
    if recipe.model.scratch is not None:
        from armt_train.loop.scratch import scratch_base

        base = scratch_base(recipe.model.scratch)
    else:
        if base_path is None:
            raise TrainError("--base is missing: a Hugging Face folder or a GGUF file")
        dtype = torch.bfloat16 if device.type == "cuda" and training.tune != "all" else torch.float32
        base = load_base(base_path, dtype)
    base.name = recipe.base_name or base.name
    base.license = recipe.base_license or base.license
    if training.tune == "lora":
        lora = training.lora
        add_lora(base.model, base.family, r=lora.r, alpha=lora.alpha, modules=lora.modules)
    armt = ArmtConfig(**{key: getattr(recipe.model, key) for key in ArmtConfig.__dataclass_fields__})
    model = Armt(base.model, armt, Start(recipe.model.value_scale, recipe.model.strength_scale))
    if training.tune == "all":
        model.requires_grad_(True)
    if training.tap is not None and not 0 <= training.tap < model.layers:
        raise TrainError(f"training.tap is {training.tap}, but the base has layers 0 to {model.layers - 1}")
    tap = training.tap_layer(model.layers)
    for i, stage in enumerate(recipe.stages):
        if stage.losses.addressing and tap == model.layers - 1:
            raise TrainError(
                f"stages.{i}: losses.addressing is about the layers after training.tap, and {tap} is the last layer; "
                "choose an earlier one"
            )
    model.checkpointing = training.checkpointing
    return base, model


def load_data(recipe, tokenizer):
    if recipe.tasks == "recall":
        from armt_train import recall as tasks
    else:
        from armt_train import tasks

    try:
        return Source(tasks.Batches, tokenizer, tasks.Corpus(tokenizer, recipe.data)), tasks.TASKS
    except (ValueError, OSError) as error:
        raise TrainError(f"data: {error}") from error


def stage_shapes(recipe, source):
    """Shapes of the arrays of every stage, out of a batch of one stream; finds wrong `shape` and `mix`."""
    found = []
    for i, stage in enumerate(recipe.stages):
        job = dict(shape=stage.shape, mix=stage.mix, batch=1, seed="shapes", split="train")
        try:
            batch = next(source.make(job))
        except (ValueError, TypeError, KeyError) as error:
            raise TrainError(f'stages.{i} ("{stage.name}"): {error}') from error
        if batch["text"].shape[2] > recipe.model.segment_size:
            raise TrainError(
                f'stages.{i} ("{stage.name}"): segments of {batch["text"].shape[2]} tokens, '
                f"but model.segment_size is {recipe.model.segment_size}"
            )
        if stage.losses.keep and recipe.training.keep.batch > stage.batch:
            raise TrainError(
                f"stages.{i}: training.keep.batch is {recipe.training.keep.batch}, more than the stage's batch"
            )
        if stage.losses.addressing and "asked_segment" not in batch:
            raise TrainError(
                f'stages.{i}: losses.addressing needs to know in which segment a fact stands, and the tasks "'
                f'{recipe.tasks}" do not say it; set it to 0'
            )
        if stage.losses.text_slots and batch["text"].shape[2] % recipe.model.n_mem:
            raise TrainError(f"stages.{i}: losses.text_slots needs segments that are a multiple of model.n_mem long")
        found.append({name: (stage.batch, *array.shape[1:]) for name, array in batch.items()})
    if (check := recipe.language_check) is not None:
        try:
            next(source.make(dict(shape=check.shape, mix=check.mix, batch=1, seed="shapes", split="heldOut")))
        except (ValueError, TypeError, KeyError) as error:
            raise TrainError(f"language_check: {error}") from error
    return found


def make_pools(source, count, world):
    """Workers for training and for held-out data."""
    if count is None:
        count = max(1, (os.cpu_count() or 2) // max(1, int(os.environ.get("LOCAL_WORLD_SIZE", 1))) - 2)
    return [Workers(source, count, world.rank * count) if count else InProcess(source, world.rank) for _ in range(2)]


def say_sizes(recipe, base, shapes, device, log):
    available = torch.cuda.get_device_properties(device).total_memory if device.type == "cuda" else 0
    for stage, shape in zip(recipe.stages, shapes):
        parts = stage_bytes(base.config, recipe.model, recipe.training, stage.losses, shape)
        total, text = describe(parts, available)
        log.say(f'stage "{stage.name}": batch {stage.batch}, {text}')
        if available and total > available:
            fits = int(stage.batch * available * 0.9 / total)
            log.warn(f'stage "{stage.name}" may not fit: take a batch of about {fits}, or training.checkpointing=true')
