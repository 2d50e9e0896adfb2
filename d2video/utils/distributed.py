"""What all processes of a training decide together."""

import torch
import torch.distributed as dist
from detectron2.utils import comm


def highest(number: int) -> int:
    """The highest of all processes' numbers; every process calls this at the same place.

    Called in every step: one number in one reduction, over gloo, so that no process waits for its GPU.
    """
    if comm.get_world_size() == 1:
        return number
    shared = torch.tensor(int(number))
    dist.all_reduce(shared, dist.ReduceOp.MAX, group=comm._get_global_gloo_group())
    return int(shared)
