"""How much of a model runs at once at inference."""

import torch

# The largest tensor of one step stays below this many elements: 64 MB in float32 on a CPU, which
# gains nothing from more, 256 MB on a GPU. Batched where an input is small, bounded where not.
INFERENCE_ELEMENTS = {"cpu": 2**24, "gpu": 2**26}


def rows_at_once(elements: int, device: torch.device) -> int:
    """Rows (frames, queries, slots) of one step at inference, at least 1.

    Args:
        elements: of the largest tensor that one row needs.
        device: where the step runs.
    """
    kind = "cpu" if device.type == "cpu" else "gpu"
    return max(1, INFERENCE_ELEMENTS[kind] // elements)
