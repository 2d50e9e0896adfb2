"""Both tilings of a trained IPT on whole images: PSNR, seconds and patches."""

import statistics
from functools import partial
from itertools import islice
from typing import Any

import torch
from d2video.projects.ipt.official import OfficialTiling
from d2video.projects.ipt.tiling import Tiling
from detectron2.config import CfgNode
from tqdm import tqdm

from d2video.data import build_test_loader
from d2video.evaluation.restoration.evaluator import measured_task
from d2video.evaluation.restoration.metrics import measure
from d2video.utils.measuring import timed

TILINGS: dict[str, type[Tiling]] = {"official": OfficialTiling, "fast": Tiling}


@torch.no_grad()
def compare(cfg: CfgNode, model: Any, dataset: str, count: int | None) -> list[dict[str, Any]]:
    """A row for each tiling over the first ``count`` images of a test set, or all.

    PSNR-Y (in dB) and the patches of an image are means, its seconds the median.
    """
    found: dict[str, list[tuple[float, float, int]]] = {tiling: [] for tiling in TILINGS}
    task = ""
    patches: list[int] = []  # of each call of the network
    hook = model.network.register_forward_pre_hook(lambda _, given: patches.append(len(given[0])))
    for batch in tqdm(islice(build_test_loader(cfg, dataset), count), desc=dataset, unit="image"):
        (item,) = batch
        scale = item["target"].shape[-1] // item["image"].shape[-1]
        for name, tiling in TILINGS.items():
            model.tiling = tiling(model.network.patch_size)
            if not found[name]:
                model(batch)  # to warm up
            patches.clear()
            (answer,), seconds = timed(partial(model, batch), model.device)
            border = scale if scale > 1 else 0
            psnr = measure(answer["restored"], item["target"], border).psnr_y
            found[name].append((psnr, seconds, sum(patches)))
        task = measured_task(item)
    hook.remove()
    return [
        {
            **{"dataset": dataset, "task": task, "images": len(values), "tiling": name},
            "PSNR-Y": statistics.fmean(psnr for psnr, _, _ in values),
            "seconds": statistics.median(seconds for _, seconds, _ in values),
            "patches": statistics.fmean(number for _, _, number in values),
        }
        for name, values in found.items()
    ]
