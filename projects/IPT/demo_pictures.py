"""Pictures of image restoration on the page of `make demo`."""

from itertools import islice
from pathlib import Path

import torch
from detectron2.config import CfgNode
from torch import Tensor, nn

from d2video.data import build_test_loader
from d2video.evaluation.restoration.baselines import INPUT, baselines
from d2video.evaluation.restoration.evaluator import measured_task
from d2video.evaluation.restoration.metrics import measure
from d2video.video.image_writer import ImageFileWriter
from d2video.visualization.grid import arrange


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
