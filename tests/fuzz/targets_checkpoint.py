"""Checkpoints: torch's and detectron2's files, cut, stirred, and with content of other kinds."""

import pickle
import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors.torch import save_file
from torch import nn

from d2video.checkpoint import VideoCheckpointer
from tests.fuzz.mutators import extreme, mutate_bytes
from tests.fuzz.session import MakeInput, target


class Model(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.backbone = nn.Linear(3, 2)
        self.head = nn.Linear(2, 3)


def files(folder: Path) -> list[tuple[str, bytes]]:
    """Sound files: a zip of torch, its older format, detectron2's pickle, safetensors."""
    state = Model().state_dict()
    arrays = {name: value.numpy() for name, value in state.items()}
    torch.save({"model": state, "iteration": 3}, folder / "a.pth")
    torch.save({"model": state}, folder / "b.pth", _use_new_zipfile_serialization=False)
    (folder / "c.pkl").write_bytes(pickle.dumps({"model": arrays, "__author__": "me"}))
    save_file(state, folder / "d.safetensors")
    names = ("a.pth", "b.pth", "c.pkl", "d.safetensors")
    return [(Path(name).suffix, (folder / name).read_bytes()) for name in names]


@target("checkpoint_bytes", 2500)
def checkpoint_bytes(folder: Path) -> MakeInput:
    seeds = files(folder)

    def make_input(rng: random.Random) -> Callable[[], Any]:
        suffix, seed = rng.choice(seeds)
        path = folder / f"x{suffix}"
        path.write_bytes(mutate_bytes(rng, seed, header=300))
        return lambda: VideoCheckpointer(Model(), strict=rng.random() < 0.5).load(str(path))

    return make_input


@target("checkpoint_content", 1500)
def checkpoint_content(folder: Path) -> MakeInput:
    """Sound files of another content."""
    state = dict(Model().state_dict())

    def bend(rng: random.Random, content: dict[Any, Any]) -> None:
        key = rng.choice(list(content)) if content else "x"
        kind = rng.randrange(5)
        if kind == 0:
            content.pop(key, None)
        elif kind == 1:
            content[key] = extreme(rng)
        elif kind == 2:
            content[rng.choice([0, None, "x", "backbone", "__author__", 1.5])] = extreme(rng)
        elif kind == 3:
            shape = rng.choice([(), (0,), (1,), (2, 3), (3, 2), (2, 1, 3)])
            dtype = rng.choice(
                [torch.float16, torch.int64, torch.bool, torch.complex64, torch.float64]
            )
            content[key] = torch.ones(shape, dtype=dtype)
        else:
            content[key] = np.ones(2) if rng.random() < 0.5 else torch.zeros(2, 3).to_sparse()

    def make_input(rng: random.Random) -> Callable[[], Any]:
        content: Any = {"model": dict(state), "iteration": 3}
        for _ in range(rng.choice([1, 1, 2])):
            inner = content.get("model")
            bend(rng, inner if isinstance(inner, dict) and rng.random() < 0.6 else content)
        if rng.random() < 0.05:
            content = extreme(rng)
        if rng.random() < 0.3:
            path = folder / "x.pkl"
            if isinstance(content, dict):
                content["__author__"] = "me"
            path.write_bytes(pickle.dumps(content))
        else:
            path = folder / "x.pth"
            torch.save(content, path)
        return lambda: VideoCheckpointer(Model()).load(str(path))

    return make_input
