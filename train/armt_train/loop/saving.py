"""What a run leaves in its folder, and how the next one goes on from it.

- `trained-1-of-2.safetensors` …: the trained weights in 16 bits, files of at most 16 MiB; metadata says stage and
  step. `slots.safetensors`: the maps of the slots loss.
- `state-0.pt` …: a rank's whole state: float32 weights, optimizer, the streams and their memory.
"""

import json
import os
import shutil

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import load_file, save_file

from armt_train.errors import TrainError

SLOTS = "slots.safetensors"
SHARD_BYTES = 16 * 2**20 - 2**16  # with room for the header
# of a recipe's model, what no weight's shape shows
WITHOUT_SHAPE = ("segment_size", "normalize_keys", "correction", "epsilon")
# PEFT puts the base's weight and its own below names of its own
LORA = ".default.weight"


def trained_weights(model):
    """Names and parameters that are trained, in a stable order."""
    return {name: p for name, p in model.named_parameters() if p.requires_grad}


def replace(path, write):
    """Writes a file under a temporary name, flushes it, and renames it."""
    temporary = path.with_name(path.name + ".tmp")
    write(temporary)
    # safetensors makes files that only their owner can read
    mask = os.umask(0)
    os.umask(mask)
    os.chmod(temporary, 0o666 & ~mask)
    with open(temporary, "rb+") as file:
        os.fsync(file.fileno())
    os.replace(temporary, path)


def half(tensor):
    """float16, which is finer than bfloat16 where weights are, unless a number is too large for it."""
    tensor = tensor.detach().cpu()
    return tensor.to(torch.float16 if tensor.abs().max() < 6e4 else torch.bfloat16).contiguous()


def save_trained(folder, model, slots, position):
    """Gives the count of files with weights."""
    count = save_tensors(folder, {name: half(p) for name, p in trained_weights(model).items()}, position)
    if slots is not None:
        maps = {name: half(p) for name, p in slots.named_parameters()}
        replace(folder / SLOTS, lambda p: save_file(maps, p, metadata={"key_parts": str(slots.key_parts)}))
    return count


def save_tensors(folder, tensors, position):
    """Trained weights by name in place of those that the folder has. Gives the count of files."""
    shards, size = [{}], 0
    for name, tensor in tensors.items():
        if size + tensor.nbytes > SHARD_BYTES and shards[-1]:
            shards.append({})
            size = 0
        shards[-1][name] = tensor
        size += tensor.nbytes
    metadata = {"position": json.dumps(position)}
    old = set(folder.glob("trained-*-of-*.safetensors"))
    for i, shard in enumerate(shards):
        path = folder / f"trained-{i + 1}-of-{len(shards)}.safetensors"
        replace(path, lambda p, shard=shard: save_file(shard, p, metadata=metadata))
        old.discard(path)
    for path in old:
        path.unlink()
    return len(shards)


def copy_settings(run, output):
    """Copies what a run's folder has beside its weights, so that another run can start from the folder `output`."""
    for name in ("recipe.json", SLOTS):
        if (run / name).is_file():
            replace(output / name, lambda path, name=name: shutil.copyfile(run / name, path))


def trained_files(folder):
    files = sorted(folder.glob("trained-*-of-*.safetensors"))
    if files:
        count = int(files[0].stem.rsplit("-", 1)[1])
        if len(files) != count:
            raise TrainError(
                f"{folder}: of {count} files of trained weights {len(files)} are there: "
                f"{', '.join(f.name for f in files)}"
            )
    return files


def trained_tensors(folder):
    """(file, name, tensor) of all trained weights of a folder, which must have some."""
    files = trained_files(folder)
    if not files:
        raise TrainError(f"{folder}: there are no trained weights (trained-1-of-….safetensors)")
    for path in files:
        try:
            tensors = load_file(path)
        except SafetensorError as error:
            raise TrainError(f"{path}: not a file of trained weights ({error})") from error
        for name, tensor in tensors.items():
            yield path, name, tensor


def read_position(folder):
    """Stage and step of saved trained weights; None where there are none."""
    files = trained_files(folder)
    if not files:
        return None
    with safe_open(files[0], "pt") as file:
        return json.loads((file.metadata() or {})["position"])


def other_numbers(folder, model):
    """What a run's recipe.json says otherwise than `model`: {key: (here, there)}. Empty without that file."""
    path = folder / "recipe.json"
    if not path.is_file():
        return {}
    try:
        saved = json.loads(path.read_text()).get("model", {})
        there = {key: saved.get(key, getattr(type(model), key)) for key in WITHOUT_SHAPE}
    except (ValueError, AttributeError) as error:
        raise TrainError(f"{path}: not a recipe ({error})") from error
    here = {key: getattr(model, key) for key in WITHOUT_SHAPE}
    return {key: (here[key], there[key]) for key in WITHOUT_SHAPE if here[key] != there[key]}


@torch.no_grad()
def load_trained(folder, model, *, new_lora=False):
    """`new_lora`: LoRA of matrices that had none may be missing, and starts anew. Gives the names that are."""
    own = trained_weights(model)
    missing = set(own)
    for path, name, tensor in trained_tensors(folder):
        if name not in own or own[name].shape != tensor.shape:
            expected = list(own[name].shape) if name in own else "none of that name"
            raise TrainError(
                f'{path}: tensor "{name}" is {list(tensor.shape)}, expected {expected}: '
                "the weights are of a run with other settings (model, tune, lora) or another base"
            )
        own[name].copy_(tensor)
        missing.discard(name)
    # both of a matrix's two, since half of them would be another model
    fresh = {name for name in missing if ".lora_" in name and other_half(name) in missing} if new_lora else set()
    if missing - fresh:
        raise TrainError(
            f'{folder}: the trained weights lack "{sorted(missing - fresh)[0]}": they are of a run with other settings'
        )
    return sorted(fresh)


def other_half(name):
    return name.replace(".lora_A.", ".lora_B.") if ".lora_A." in name else name.replace(".lora_B.", ".lora_A.")


@torch.no_grad()
def load_slots(folder, slots):
    """Takes saved maps that have the shapes of these."""
    path = folder / SLOTS
    if slots is None or not path.is_file():
        return
    saved = load_file(path)
    for name, p in slots.named_parameters():
        if name in saved and saved[name].shape == p.shape:
            p.copy_(saved[name])


def state_file(folder, rank):
    return folder / f"state-{rank}.pt"


def save_state(folder, world, step, position, streams):
    """A rank's whole state. `streams`: the workers' states."""
    data = {
        "position": position,
        "world_size": world.size,
        "names": step.names,
        "weights": [p.detach().cpu() for p in step.parameters],
        "key_parts": step.slots.key_parts if step.slots is not None else 0,
        "optimizer": step.optimizer.state_dict(),
        "memory": [part.cpu() for part in step.state] if step.state is not None else None,
        "streams": streams,
        "generator": step.generator.get_state(),
        "random": torch.get_rng_state(),
    }
    replace(state_file(folder, world.rank), lambda p: torch.save(data, p))


def load_state(folder, world):
    """A rank's state, or None where there is none that this run can go on from."""
    path = state_file(folder, world.rank)
    if not path.is_file():
        return None
    data = torch.load(path, map_location="cpu", weights_only=False)
    if data["world_size"] != world.size:
        raise TrainError(
            f"{path}: the run had {data['world_size']} GPUs and now has {world.size}; "
            "start with as many, or go on from the trained weights alone (--fresh-state)"
        )
    return data
