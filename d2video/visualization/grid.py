"""Pictures side by side in one picture."""

import numpy as np
from torch import Tensor

_GAP = 4  # pixels between the pictures


def arrange(panels: list[Tensor], scale: int) -> np.ndarray:
    """uint8 (H,W,3) of images (3,h,w) of one size, white between them: four in two rows, for a page
    shows pictures small, fewer in one."""
    height, width = panels[0].shape[-2:]
    columns = 2 if len(panels) == 4 else len(panels)
    rows = len(panels) // columns
    pixels = np.full(
        (rows * (height + _GAP) - _GAP, columns * (width + _GAP) - _GAP, 3), 255, np.uint8
    )
    for index, panel in enumerate(panels):
        y, x = (index // columns) * (height + _GAP), (index % columns) * (width + _GAP)
        shown = panel.float().clamp(0, 255).round().byte().permute(1, 2, 0)
        pixels[y : y + height, x : x + width] = shown.cpu().numpy()
    return pixels.repeat(scale, 0).repeat(scale, 1)
