"""Pictures of image restoration on the page of `make demo`."""

from itertools import islice
from pathlib import Path

import numpy as np
import torch
from detectron2.config import CfgNode
from torch import Tensor, nn

from d2video.data import build_test_loader
from d2video.evaluation.restoration_baselines import INPUT, baselines
from d2video.evaluation.restoration_evaluator import measured_task
from d2video.evaluation.restoration_metrics import measure, quantize
from d2video.utils.image_writer import ImageFileWriter

_GAP = 4  # pixels between the pictures


@torch.no_grad()
def draw_restorations(
    name: str, cfg: CfgNode, model: nn.Module, folder: Path, count: int, scale: int
) -> list[tuple[str, Path]]:
    """Pictures of the first images of each test set: input, best baseline, restored, target.

    Args:
        name: of the training.
        model: on its device, in evaluation mode.
        folder: for the pictures.
        count: of all pictures together; at least one a test set.
        scale: whole number to enlarge by.

    Returns:
        (caption, file) pairs.
    """
    pictures = []
    for dataset in cfg.DATASETS.TEST:
        each = max(1, count // len(cfg.DATASETS.TEST))
        for batch in islice(build_test_loader(cfg, dataset), each):
            for item, answer in zip(batch, model(batch), strict=True):
                path = folder / f"{dataset}_{Path(item['file_name']).stem}.png"
                panels, caption = compare(item, answer["restored"])
                with ImageFileWriter(path) as writer:
                    writer.write(arrange(panels, scale))
                pictures.append((f"{name}: {measured_task(item)}: {caption}", path))
    return pictures


def compare(item: dict, restored: Tensor) -> tuple[list[Tensor], str]:
    """The panels (3,H,W) of one image, and what they are, with PSNR-Y of this image.

    The baseline is the best one on the image itself.

    Args:
        item: of the test loader.
    """
    target = item["target"].float()
    size = (target.shape[-2], target.shape[-1])
    factor = size[1] // item["image"].shape[-1]
    border = factor if factor > 1 else 0
    large = item["image"].repeat_interleave(factor, -2).repeat_interleave(factor, -1)
    found = baselines(item["image"], size, denoises=measured_task(item).startswith("denoise"))
    found = {method: image for method, image in found.items() if method != INPUT}
    panels, words = [large], ["input, enlarged" if factor > 1 else "input"]
    if found:
        psnr = {method: measure(image, target, border).psnr_y for method, image in found.items()}
        best = max(psnr, key=lambda method: psnr[method])
        panels.append(found[best])
        words.append(f"{best.split()[0]} {psnr[best]:.2f} dB")
    panels += [restored, target]
    words += [f"restored {measure(restored, target, border).psnr_y:.2f} dB", "target"]
    return panels, " | ".join(words)


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
        shown = quantize(panel).byte().permute(1, 2, 0)
        pixels[y : y + height, x : x + width] = shown.cpu().numpy()
    return pixels.repeat(scale, 0).repeat(scale, 1)
