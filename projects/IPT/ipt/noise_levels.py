"""How well a denoising model restores noise levels that it was not trained on."""

from collections.abc import Sequence
from itertools import product
from pathlib import Path
from typing import Any

import torch
from d2video.projects.ipt.restoration_mapper import RestorationMapper
from d2video.projects.ipt.tasks import Task, parse_tasks
from detectron2.config import CfgNode
from detectron2.modeling import build_model
from tabulate import tabulate
from torch import nn
from tqdm import tqdm

from d2video.checkpoint import VideoCheckpointer
from d2video.evaluation import RestorationEvaluator
from d2video.utils.errors import UserError

MEASURES = ("PSNR-Y", "PSNR-RGB", "SSIM")
METHODS = ("model", "input", "bilateral")

Row = dict[str, Any]


@torch.no_grad()
def measure_level(
    model: nn.Module,
    tasks: Sequence[Task],
    task: Task,
    records: Sequence[dict],
    sigma: int,
    clamp: bool,
    output_dir: Path,
) -> Row:
    """The figures of one task at one level of noise.

    Args:
        model: in evaluation mode, of these ``tasks``.
        task: the one that restores.
        records: of clean images.
        sigma: standard deviation of the noise, of 0..255.
        clamp: cut noisy images to 0..255.
        output_dir: folder for the figures of each image.

    Returns:
        "task", "sigma", "clamped", and "model", "input" and "bilateral", {measure: mean} each.
    """
    noise = f"denoise_{sigma}"
    mapper = RestorationMapper(False, tasks=tasks, clamp_noise=clamp, restore_as={noise: task.name})
    evaluator = RestorationEvaluator(str(output_dir), source=f"noise of sigma {sigma}")
    for record in tqdm(records, desc=f"{task.name}, sigma {sigma}", unit="image", leave=False):
        item = mapper({**record, "task": noise})
        evaluator.process([item], model([item]))
    found = evaluator.evaluate()["restoration"]
    row: Row = {"task": task.name, "sigma": sigma, "clamped": clamp}
    for method in METHODS:
        prefix = "" if method == "model" else f"{method}-"
        row[method] = {name: found[f"{prefix}{name}-{noise}"] for name in MEASURES}
    return row


def evaluate(
    cfg: CfgNode, records: Sequence[dict], sigmas: Sequence[int], names: Sequence[str] = ()
) -> list[Row]:
    """Figures of ``MODEL.WEIGHTS``: see :func:`measure_level`, clamped ones first.

    Args:
        records: of clean images.
        sigmas: levels of noise.
        names: of the tasks that restore; empty: all that denoise.

    Raises:
        UserError: the model has no such task, or its weights do not fit.
    """
    if cfg.MODEL.META_ARCHITECTURE != "IPT":
        raise UserError(f"{cfg.MODEL.META_ARCHITECTURE} does not denoise: give a config of IPT")
    tasks = parse_tasks(cfg.MODEL.IPT.TASKS)
    chosen = [t for t in tasks if (t.name in names if names else t.kind == "denoise")]
    if unknown := sorted(set(names) - {task.name for task in tasks}):
        raise UserError(f"MODEL.IPT.TASKS has no task {', '.join(unknown)}: correct --task")
    if not chosen or any(task.scale > 1 for task in chosen):
        raise UserError("give a model with a task denoise_<sigma>, or correct --task")
    model = build_model(cfg).eval()
    VideoCheckpointer(model, strict=True).load(cfg.MODEL.WEIGHTS)
    rows = []
    for clamp, task, sigma in product((True, False), chosen, sigmas):
        name = f"{task.name}_on_{sigma}_{'clamped' if clamp else 'unclamped'}"
        folder = Path(cfg.OUTPUT_DIR) / "noise" / name
        rows.append(measure_level(model, tasks, task, records, sigma, clamp, folder))
    return rows


def table(rows: Sequence[Row]) -> str:
    """Markdown: a line for each task, level and kind of noise."""
    columns = [f"{method} {name}" for method in METHODS for name in MEASURES]
    lines = [
        [row["task"], row["sigma"], "yes" if row["clamped"] else "no"]
        + [row[method][name] for method in METHODS for name in MEASURES]
        for row in rows
    ]
    # dB with two decimals, SSIM with four.
    formats = ("", "", "", *[".2f", ".2f", ".4f"] * len(METHODS))
    return tabulate(lines, ["task", "sigma", "clamped", *columns], "pipe", floatfmt=formats)
