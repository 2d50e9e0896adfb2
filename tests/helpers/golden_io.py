"""Reading the golden arrays (see tests/golden/README.md)."""

import json

import numpy as np
import torch

from tests.helpers import GOLDEN


def load(name: str, prefix: str = "") -> tuple[dict, dict, dict]:
    """Weights, arrays and config of a VisTR or DETR golden file, tensors throughout.

    Weights are stored as integers times a float32 scale (``q:``, ``s:``) or plainly (``f:``).
    """
    archive = np.load(GOLDEN / name, allow_pickle=False)
    weights, data, config = {}, {}, {}
    for key in archive.files:
        if key == "config":
            config = json.loads(str(archive[key]))
            continue
        if not key.startswith(prefix):
            continue
        short, value = key[len(prefix) :], archive[key]
        if short.startswith("q:"):
            scale = archive[f"{prefix}s:{short[2:]}"]
            weights[short[2:]] = torch.from_numpy(value.astype(np.float32) * scale)
        elif short.startswith("f:"):
            weights[short[2:]] = torch.from_numpy(value)
        elif not short.startswith("s:"):
            data[short] = value if value.dtype.kind == "U" else torch.as_tensor(value)
    return weights, data, config
