"""Both tilings of a trained IPT on whole images: PSNR, seconds and patches."""

import statistics
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import islice
from typing import Any

import torch
from d2video.projects.ipt.official import OfficialTiling
from d2video.projects.ipt.tiling import Tiling
from detectron2.config import CfgNode
from tabulate import tabulate
from torch import Tensor, nn
from tqdm import tqdm

from d2video.data import build_test_loader
from d2video.evaluation.restoration.evaluator import measured_task
from d2video.evaluation.restoration.metrics import measure, quantize
from d2video.utils.measuring import timed

TILINGS: dict[str, type[Tiling]] = {"official": OfficialTiling, "fast": Tiling}

Row = dict[str, Any]


@contextmanager
def counted(network: nn.Module) -> Iterator[list[int]]:
    """The list gets the number of patches of every call of the network."""
    sizes: list[int] = []
    hook = network.register_forward_pre_hook(lambda _, given: sizes.append(len(given[0])))
    try:
        yield sizes
    finally:
        hook.remove()


def restore_once(model: Any, item: dict, tiling: str) -> tuple[Tensor, float, int]:
    """The answer to an image by one tiling, the seconds that it took and the patches of the model."""
    model.tiling = TILINGS[tiling](model.network.patch_size)
    answers: list[dict] = []
    with counted(model.network) as sizes:
        seconds = timed(lambda: answers.extend(model([item])), model.device)
    return answers[0]["restored"], seconds, sum(sizes)


@torch.no_grad()
def compare(cfg: CfgNode, model: Any, dataset: str, count: int | None) -> list[Row]:
    """A row for each tiling over the first ``count`` images of a test set, or all.

    PSNR is the mean over the images, in dB; seconds are the median and patches the mean of an image.
    "psnr_y_between" compares the answers of the two tilings, "psnr_y_difference" is the row's PSNR-Y
    less that of the official tiling.
    """
    found: dict[str, list[tuple]] = {tiling: [] for tiling in TILINGS}
    between, task = [], ""
    for batch in tqdm(islice(build_test_loader(cfg, dataset), count), desc=dataset, unit="image"):
        (item,) = batch
        if not task:
            task = measured_task(item)
            for tiling in TILINGS:
                restore_once(model, item, tiling)
        scale = item["target"].shape[-1] // item["image"].shape[-1]
        border = scale if scale > 1 else 0
        answers = {}
        for tiling in TILINGS:
            answers[tiling], seconds, patches = restore_once(model, item, tiling)
            measures = measure(answers[tiling], item["target"], border)
            found[tiling].append((measures.psnr_y, measures.psnr_rgb, seconds, patches))
        between.append(measure(answers["fast"], quantize(answers["official"]), border).psnr_y)
    rows: list[Row] = []
    for tiling, values in found.items():
        psnr_y, psnr_rgb, seconds, patches = torch.tensor(values, dtype=torch.float64).T.tolist()
        mean_y = statistics.fmean(psnr_y)
        row: Row = {"dataset": dataset, "task": task, "images": len(values), "tiling": tiling}
        row |= {"psnr_y": mean_y, "psnr_rgb": statistics.fmean(psnr_rgb)}
        row["psnr_y_difference"] = mean_y - (rows[0]["psnr_y"] if rows else mean_y)
        row["psnr_y_between"] = statistics.fmean(between)
        row |= {"seconds": statistics.median(seconds), "patches": statistics.fmean(patches)}
        rows.append(row)
    return rows


def table(rows: list[Row]) -> str:
    """Markdown."""
    formats = {"psnr_y": ".3f", "psnr_rgb": ".3f", "psnr_y_difference": "+.3f"} | {
        **{"psnr_y_between": ".2f", "seconds": ".3f", "patches": ".1f"},
    }
    lines = [[format(value, formats.get(key, "")) for key, value in row.items()] for row in rows]
    names = [key.replace("_", " ").replace("psnr", "PSNR") for key in rows[0]]
    return tabulate(lines, names, "pipe", disable_numparse=True)
