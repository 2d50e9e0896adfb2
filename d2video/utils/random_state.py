"""The global random generators of python, numpy and torch: seed, save and restore them."""

import random
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch

State = dict[str, Any]


def random_state(device: torch.device | str = "cpu") -> State:
    """The state of all global generators, and of a GPU's if ``device`` is one.

    It consists of tensors and plain values, so that ``torch.load`` reads it with ``weights_only``.
    """
    version, words, gauss = random.getstate()
    twister: Any = np.random.get_state()
    _, key, position, has_gauss, cached = twister
    state: State = {
        "python": {"version": version, "words": torch.tensor(words), "gauss": gauss},
        "numpy": {
            "words": torch.from_numpy(key.astype(np.int64)),
            "position": position,
            "has_gauss": has_gauss,
            "cached": cached,
        },
        "torch": torch.get_rng_state(),
    }
    if torch.device(device).type == "cuda":
        state["cuda"] = torch.cuda.get_rng_state(device)
    elif torch.device(device).type == "mps":
        state["mps"] = torch.mps.get_rng_state()
    return state


def set_random_state(state: State, device: torch.device | str = "cpu") -> None:
    """Restore what :func:`random_state` gave; a GPU whose state is not in it keeps its own."""
    python, numpy_state = state["python"], state["numpy"]
    random.setstate((python["version"], tuple(python["words"].tolist()), python["gauss"]))
    words = numpy_state["words"].numpy().astype(np.uint32)
    place = numpy_state["position"], numpy_state["has_gauss"], numpy_state["cached"]
    np.random.set_state(("MT19937", words, *place))
    torch.set_rng_state(state["torch"])
    if torch.device(device).type == "cuda" and "cuda" in state:
        torch.cuda.set_rng_state(state["cuda"], device)
    elif torch.device(device).type == "mps" and "mps" in state:
        torch.mps.set_rng_state(state["mps"])


@contextmanager
def kept_random_state(device: torch.device | str = "cpu") -> Iterator[None]:
    """Restore all global generators at the end of the block."""
    # As they are: every training sample comes here, and :func:`random_state` takes ten times as long.
    python, numpy_state = random.getstate(), np.random.get_state()
    kind = torch.device(device).type
    devices = [] if kind == "cpu" else [device]
    try:
        with torch.random.fork_rng(devices, device_type=kind):
            yield
    finally:
        random.setstate(python)
        np.random.set_state(numpy_state)


@contextmanager
def seeded(*entropy: int) -> Iterator[None]:
    """In the block, seed the CPU's global generators by ``entropy`` (>= 0); then restore them."""
    words = np.random.SeedSequence(entropy).generate_state(6)
    with kept_random_state():
        random.seed(int(words[0]))
        np.random.seed(words[1:5])
        # Not torch.manual_seed, which would seed the GPUs as well.
        torch.default_generator.manual_seed(int(words[5]))
        yield
