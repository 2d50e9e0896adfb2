"""DETERMINISTIC: the same config on the same machine gives the same numbers, or an error."""

import os
from collections.abc import Iterator
from contextlib import contextmanager

import torch
from detectron2.config import CfgNode

from d2video.utils.errors import UserError


def set_determinism(cfg: CfgNode) -> None:
    """Apply DETERMINISTIC to this process, before it computes on a GPU; False changes nothing.

    Raises:
        UserError: there is no SEED, or CUDNN_BENCHMARK is on.
    """
    if not cfg.DETERMINISTIC:
        return
    if cfg.SEED < 0:
        raise UserError(f"DETERMINISTIC needs a seed, and SEED is {cfg.SEED}: set 0 or more")
    if cfg.CUDNN_BENCHMARK:
        raise UserError(
            "CUDNN_BENCHMARK chooses kernels by their speed, which DETERMINISTIC forbids: set one of "
            "them to False"
        )
    # cuBLAS reads it when it is first used; of the two values allowed this one is faster.
    os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
    torch.backends.cudnn.benchmark = False
    torch.backends.cudnn.deterministic = True
    torch.use_deterministic_algorithms(True)


@contextmanager
def deterministic_errors() -> Iterator[None]:
    """torch's error at an operation that has no deterministic kernel, as a user's mistake.

    Raises:
        UserError: naming the operation.
    """
    try:
        yield
    except RuntimeError as error:
        operation, found, _ = str(error).partition(" does not have a deterministic implementation")
        if not found:
            raise
        raise UserError(
            f"DETERMINISTIC: {operation} has no deterministic kernel on this device; train on the CPU, "
            "or set DETERMINISTIC False"
        ) from error
