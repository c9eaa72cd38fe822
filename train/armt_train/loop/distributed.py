"""Several GPUs by torchrun: every rank has streams of its own, gradients and counts are summed."""

import os
from dataclasses import dataclass

import torch
import torch.distributed as dist


@dataclass(frozen=True)
class World:
    rank: int = 0
    size: int = 1
    local_rank: int = 0

    @property
    def is_first(self):
        return self.rank == 0

    def sum_(self, tensor):
        """Sums a tensor over all ranks, in place; part of a captured graph on a GPU."""
        if self.size > 1:
            dist.all_reduce(tensor)
        return tensor

    def same_(self, tensors):
        """Gives all ranks the first one's values."""
        if self.size > 1:
            for tensor in tensors:
                dist.broadcast(tensor, 0)

    def any(self, flag, device):
        """Whether the flag is set on any rank."""
        if self.size == 1:
            return flag
        return self.sum_(torch.tensor(float(flag), device=device)).item() > 0

    def wait(self):
        if self.size > 1:
            dist.barrier()


def rank_of_environment():
    read = lambda name, default: int(os.environ.get(name, default))
    return World(read("RANK", 0), read("WORLD_SIZE", 1), read("LOCAL_RANK", 0))


def join(world, device):
    if world.size > 1:
        if device.type == "cuda":
            dist.init_process_group("nccl", device_id=device)
        else:
            dist.init_process_group("gloo")


def leave(world):
    if world.size > 1 and dist.is_initialized():
        dist.destroy_process_group()
