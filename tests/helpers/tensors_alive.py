"""How many large tensors a computation holds at once."""

from collections.abc import Callable
from typing import Any

import torch
from torch.multiprocessing.reductions import StorageWeakRef
from torch.utils._python_dispatch import TorchDispatchMode


def most_alive(compute: Callable[[], Any], size: int) -> int:
    """The greatest number of float tensors of ``size`` elements or more, made in ``compute``, that
    are alive after any of its operations; views of one count once."""
    made: dict[int, StorageWeakRef] = {}
    most = 0

    class Watch(TorchDispatchMode):
        def __torch_dispatch__(self, func, types, args=(), kwargs=None):
            nonlocal made, most
            out = func(*args, **(kwargs or {}))
            made = {key: reference for key, reference in made.items() if not reference.expired()}
            if isinstance(out, torch.Tensor) and out.is_floating_point():
                storage = out.untyped_storage()
                if storage.nbytes() >= size * out.element_size():
                    reference = StorageWeakRef(storage)
                    made[reference.cdata] = reference
            most = max(most, len(made))
            return out

    with Watch():
        compute()
    return most
