"""The masks of chosen queries, by the graph ``masks`` (see ``d2video/export/mask_graph.py``).

Shapes: N: queries chosen, h'×w': the mask logits, h×w: the network's input, H×W: the image.
"""

from collections.abc import Mapping

import numpy as np

from d2video.deploy.graphs import Graph
from d2video.deploy.pixels import upsample
from d2video.utils.nearest_sampling import resize_nearest

# Numbers in the largest tensor of the mask branch that runs at once.
_ELEMENTS = 2**24


def mask_logits(
    graph: Graph, encoded: Mapping[str, np.ndarray], queries: np.ndarray, size: tuple[int, int]
) -> np.ndarray:
    """(N, h, w), computed for a few queries at a time.

    Args:
        encoded: what the graph reads of one image.
        queries: (N,) int64.
        size: (h, w).
    """
    finest = encoded[graph.entry.inputs[-3].name]  # the last lateral
    parts = max(1, _ELEMENTS // (2 * finest[0].size))
    masks = [np.zeros((0, *finest.shape[-2:]), np.float32)]
    for start in range(0, len(queries), parts):
        part = queries[start : start + parts]
        found = graph(**encoded, images=np.zeros_like(part), queries=part)
        masks.append(found["mask_logits"])
    return upsample(np.concatenate(masks), size)


def masks_of(logits: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """Mask logits (N, h, w) to masks (N, H, W) bool, each by itself."""
    return resize_nearest(logits > 0, size)
