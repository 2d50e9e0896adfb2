#!/usr/bin/env python3
"""Compare the two tilings of a trained IPT on whole images: PSNR, seconds and patches; table and JSON.

The test sets of a config, each of one task, are restored twice: as the official code does, with its
corner, and fast, the default. Nothing else differs::

    projects/IPT/tools/benchmark_tiling.py --config-file configs/IPT/ipt_finetune_sr_x2.yaml --count 20 \\
        --json tiling.json --opts MODEL.WEIGHTS model.pth

Seconds are the median of an image, from the image on the CPU to the answer there; each tiling restores
the first image once before, to warm up.
"""

import statistics
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import islice
from typing import Any

import torch
from detectron2.config import CfgNode
from tabulate import tabulate
from torch import Tensor, nn
from tqdm import tqdm

from d2video.checkpoint import VideoCheckpointer
from d2video.cli.comparison import comparison_parser, given_cfg, write_json
from d2video.data import build_test_loader
from d2video.evaluation.restoration.evaluator import measured_task
from d2video.evaluation.restoration.metrics import measure, quantize
from d2video.modeling.build import build_model
from d2video.utils.errors import UserError, exit_on_user_error
from d2video.utils.measuring import environment, timed
from projects.IPT.tools.evaluate_noise import finite

TILINGS: dict[str, dict[str, Any]] = {
    "official": {"mode": "official", "official_corner": True},
    "fast": {"mode": "fast", "official_corner": False},
}

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
    model.tiling_options |= TILINGS[tiling]
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


@exit_on_user_error
def main(argv: list[str] | None = None) -> None:
    parser = comparison_parser(__doc__)
    parser.add_argument("--count", type=int, help="images of each test set (default: all)")
    args = parser.parse_args(argv)
    if args.count is not None and args.count < 1:
        parser.error("--count must be at least 1")
    cfg = given_cfg(args)
    if cfg.MODEL.META_ARCHITECTURE != "IPT":
        raise UserError(f"{cfg.MODEL.META_ARCHITECTURE} has no tiling: give a config of IPT")
    if not cfg.DATASETS.TEST:
        raise UserError("DATASETS.TEST is empty: name the data sets to restore")
    if not cfg.MODEL.WEIGHTS:
        raise UserError("MODEL.WEIGHTS is empty: PSNR needs a trained model")
    model = build_model(cfg).eval()
    VideoCheckpointer(model, strict=True).load(cfg.MODEL.WEIGHTS)
    rows = [row for name in cfg.DATASETS.TEST for row in compare(cfg, model, name, args.count)]
    about = environment(torch.device(cfg.MODEL.DEVICE))
    print(", ".join(f"{key} {value}" for key, value in about.items()))
    print(table(rows))
    content = {"command": " ".join(sys.argv), "environment": about, "results": finite(rows)}
    write_json(args.json, content)


if __name__ == "__main__":
    main()
